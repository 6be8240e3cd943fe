//! OpenAI embeddings: `embeddings`. JSON only.
//!
//! An answer is complete iff it has exactly as many items as were asked for, their indices are
//! `0..n` without repeats, and every embedding is a non-empty array of numbers or base64 of such: of
//! finite 32-bit floats, unless the request asks for other numbers.

use std::fmt;

use base64::Engine;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
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

/// Fields that ask for other numbers than 32-bit floats: Voyage's, Jina's, vLLM's.
const OF_OTHER_NUMBERS: &[&str] = &[
    "output_dtype",
    "embedding_type",
    "embed_dtype",
    "endianness",
];

fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    let mut request = Request::new(body, place);
    request.read_stream();
    // Objects are pictures and texts for models that know both, each with a vector of its own.
    request.set_items(request.texts("input").or_else(|| request.objects("input")));
    let floats = OF_OTHER_NUMBERS.iter().all(|key| request.is_absent(key));
    request.set_floats(floats);
    request.facts()
}

/// Whatever the content type says: an event stream does not read as JSON and is not kept.
fn judge(facts: &Facts, _: Form, worth: Worth) -> Option<Box<dyn Judge>> {
    let asked = Asked {
        items: facts.items,
        floats: facts.floats,
    };
    Some(JsonJudge::boxed(move |body| read(body, asked, worth)))
}

#[derive(Clone, Copy)]
struct Asked {
    items: Option<u32>,
    floats: bool,
}

fn read(body: &str, asked: Asked, worth: Worth) -> Result<Reading, serde_json::Error> {
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
    /// As 32-bit floats, all of its numbers are finite.
    floats: bool,
}

fn check(answer: &Answer<'_>, asked: Asked, worth: Worth) -> Result<(), Fault> {
    if answer.error.is_some() || text(&answer.object) == "error" {
        return Err(Fault::ErrorObject);
    }
    let items = answer.data.as_deref().unwrap_or_default();
    let wanted = asked.items.map(u64::from).filter(|wanted| *wanted > 0);
    if wanted != Some(items.len() as u64) {
        worth.check(Fault::WrongCount)?;
    }
    let mut indices = IndexSet::default();
    for (position, item) in items.iter().enumerate() {
        let Some(Object(item)) = item else {
            worth.check(Fault::NullItem)?;
            continue;
        };
        let whole = |one: &Embedding| one.whole && (one.floats || !asked.floats);
        if !item.embedding.as_ref().is_some_and(whole) {
            worth.check(Fault::NullItem)?;
        }
        let index = item.index.unwrap_or(position as u64);
        if index >= items.len() as u64 || !indices.insert(index) {
            worth.check(Fault::WrongCount)?;
        }
    }
    Ok(())
}

/// True if this is base64, in either alphabet, of finite 32-bit floats.
fn is_of_floats(base64: &str) -> bool {
    const fn engine(alphabet: &Alphabet) -> GeneralPurpose {
        let padding = DecodePaddingMode::Indifferent;
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(padding);
        GeneralPurpose::new(alphabet, config)
    }
    const PLAIN: GeneralPurpose = engine(&STANDARD);
    const IN_URLS: GeneralPurpose = engine(&URL_SAFE);
    let bytes = match base64.contains(['-', '_']) {
        true => IN_URLS.decode(base64),
        false => PLAIN.decode(base64),
    };
    let Ok(bytes) = bytes else {
        return false;
    };
    let (floats, rest) = bytes.as_chunks::<4>();
    rest.is_empty()
        && floats
            .iter()
            .all(|one| f32::from_le_bytes(*one).is_finite())
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
                    floats: is_of_floats(base64),
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
                    floats: true,
                })
            }
        }
        deserializer.deserialize_any(EmbeddingVisitor)
    }
}
