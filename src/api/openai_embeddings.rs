//! OpenAI embeddings: `embeddings`. JSON only.
//!
//! An answer is complete iff it has exactly as many items as were asked for, their indices are
//! `0..n` without repeats, and every embedding is a non-empty array of numbers or a non-empty
//! base64 string.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

use super::index_set::IndexSet;
use super::json_body::{JsonJudge, Reading};
use super::place::openai_paths;
use super::question::Reader;
use super::request::Request;
use super::wire::{Counts, Object, PromptUsage, Text, text};
use super::{Facts, Fault, Form, Grammar, Judge, Place, Worth};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "embeddings",
    operation: "embeddings",
    paths: openai_paths!("embeddings"),
    ignored: &["user"],
    framing: &[],
    sorted: &[],
    read: Reader::Json(facts),
    judge,
};

fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    let mut request = Request::new(body, place);
    request.read_stream();
    request.set_items(request.texts("input"));
    request.facts()
}

/// Whatever the content type says: an event stream does not read as JSON and is not kept.
fn judge(facts: &Facts, _: Form, worth: Worth) -> Option<Box<dyn Judge>> {
    let asked = facts.items;
    Some(JsonJudge::boxed(move |body| read(body, asked, worth)))
}

fn read(body: &str, asked: Option<u32>, worth: Worth) -> Result<Reading, serde_json::Error> {
    let Object(answer) = serde_json::from_str::<Object<Answer<'_>>>(body)?;
    let keep = check(&answer, asked, worth);
    Ok((keep, answer.usage.and_then(|usage| usage.0?.usage())))
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    object: Option<Text<'a>>,
    error: Option<IgnoredAny>,
    data: Option<Vec<Option<Object<Item>>>>,
    usage: Option<Counts<PromptUsage>>,
}

#[derive(Deserialize)]
struct Item {
    index: Option<u64>,
    embedding: Option<Embedding>,
}

/// An embedding that was looked through and not kept.
struct Embedding {
    whole: bool,
}

fn check(answer: &Answer<'_>, asked: Option<u32>, worth: Worth) -> Result<(), Fault> {
    if answer.error.is_some() || text(&answer.object) == "error" {
        return Err(Fault::ErrorObject);
    }
    let items = answer.data.as_deref().unwrap_or_default();
    if asked.is_none_or(|asked| asked == 0 || items.len() as u64 != u64::from(asked)) {
        worth.check(Fault::WrongCount)?;
    }
    let mut indices = IndexSet::default();
    for (position, item) in items.iter().enumerate() {
        let Some(Object(item)) = item else {
            worth.check(Fault::NullItem)?;
            continue;
        };
        if !item
            .embedding
            .as_ref()
            .is_some_and(|embedding| embedding.whole)
        {
            worth.check(Fault::NullItem)?;
        }
        let index = item.index.unwrap_or(position as u64);
        if index >= items.len() as u64 || !indices.insert(index) {
            worth.check(Fault::WrongCount)?;
        }
    }
    Ok(())
}

impl<'de> Deserialize<'de> for Embedding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EmbeddingVisitor;
        impl<'de> Visitor<'de> for EmbeddingVisitor {
            type Value = Embedding;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of numbers or a base64 string")
            }
            fn visit_str<E: Error>(self, base64: &str) -> Result<Embedding, E> {
                let alphabet = |b: u8| b.is_ascii_alphanumeric() || b"+/-_=".contains(&b);
                if !base64.bytes().all(alphabet) {
                    return Err(E::custom("an embedding is not base64"));
                }
                Ok(Embedding {
                    whole: !base64.is_empty(),
                })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Embedding, A::Error> {
                let (mut len, mut nulls) = (0usize, 0usize);
                while let Some(number) = seq.next_element::<Option<f64>>()? {
                    len += 1;
                    nulls += usize::from(number.is_none());
                }
                Ok(Embedding {
                    whole: len > 0 && nulls == 0,
                })
            }
        }
        deserializer.deserialize_any(EmbeddingVisitor)
    }
}
