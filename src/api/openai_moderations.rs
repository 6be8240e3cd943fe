//! OpenAI moderations: `moderations`. JSON only; a request need not name a model.
//!
//! An answer is complete iff it has a result for every input, each with its categories and their
//! scores, none of them null. Several texts are several inputs; several parts of one mixed input
//! (text and pictures) are one.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::json_body::{JsonJudge, Reading};
use super::question::Reader;
use super::request::Request;
use super::wire::{Counts, Object, PromptUsage, Text, text};
use super::{Facts, Fault, Form, Grammar, Judge, Place, Worth};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "moderations",
    operation: "generate_content",
    // Azure has none.
    paths: &["moderations"],
    ignored: &[],
    framing: &[],
    sorted: &["input"],
    read: Reader::Json(facts),
    judge,
};

fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    let mut request = Request::with_optional_model(body, place);
    // Parts of a mixed input together are one.
    let parts = || request.objects("input").map(|_| 1);
    let inputs = request.texts("input").or_else(parts);
    request.set_items(inputs);
    request.facts()
}

fn judge(facts: &Facts, form: Form, worth: Worth) -> Option<Box<dyn Judge>> {
    let asked = facts.items;
    (form == Form::Json).then(|| JsonJudge::boxed(move |body| read(body, asked, worth)))
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
    results: Option<Vec<Option<Object<Outcome>>>>,
    /// Mistral's; OpenAI counts nothing.
    usage: Option<Counts<PromptUsage>>,
}

/// What was found in one input.
#[derive(Deserialize)]
struct Outcome {
    categories: Option<Categories<IgnoredAny>>,
    category_scores: Option<Categories<f64>>,
}

impl Outcome {
    /// A category may be null where a model does not know it, a score may not.
    fn whole(&self) -> bool {
        let named = self.categories.as_ref().is_some_and(|c| c.named);
        let scored = self.category_scores.as_ref();
        named && scored.is_some_and(|scores| scores.named && !scores.null)
    }
}

/// An object of values per category, looked through and not kept.
struct Categories<T> {
    named: bool,
    null: bool,
    kind: std::marker::PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Categories<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CategoriesVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for CategoriesVisitor<T> {
            type Value = Categories<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of categories")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut named, mut null) = (false, false);
                while let Some((IgnoredAny, value)) = map.next_entry::<_, Option<T>>()? {
                    named = true;
                    null |= value.is_none();
                }
                Ok(Categories {
                    named,
                    null,
                    kind: self.0,
                })
            }
        }
        deserializer.deserialize_map(CategoriesVisitor(std::marker::PhantomData))
    }
}

fn check(answer: &Answer<'_>, asked: Option<u32>, worth: Worth) -> Result<(), Fault> {
    if answer.error.is_some() || text(&answer.object) == "error" {
        return Err(Fault::ErrorObject);
    }
    let results = answer.results.as_deref().unwrap_or_default();
    if asked.is_none_or(|asked| asked == 0 || results.len() as u64 != u64::from(asked)) {
        worth.check(Fault::WrongCount)?;
    }
    let whole = |result: &Option<Object<Outcome>>| {
        let Some(Object(outcome)) = result else {
            return false;
        };
        outcome.whole()
    };
    match results.iter().all(whole) {
        true => Ok(()),
        false => worth.check(Fault::NullItem),
    }
}
