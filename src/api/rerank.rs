//! Rerank, as Cohere, Jina and Voyage have it: `rerank` and `v2/rerank`. JSON only.
//!
//! An answer is complete iff it has as many results as were asked for (`top_n`, Voyage's
//! `top_k`, or one for every document), each with a score and an index of its own that is below the number of documents.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::index_set::IndexSet;
use super::json_body::{JsonJudge, Reading};
use super::question::Reader;
use super::request::Request;
use super::wire::{Count, Counts, Object, Text, text, tokens};
use super::{Facts, Fault, Form, Grammar, Judge, Place, Usage, Worth};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "rerank",
    operation: "retrieval",
    paths: &["rerank", "v2/rerank"],
    ignored: &["user"],
    framing: &[],
    // Not `documents`: those that are objects are read in the order of their fields.
    sorted: &[],
    read: Reader::Json(facts),
    judge,
};

fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    let mut request = Request::new(body, place);
    let documents = request.entries("documents");
    let limits = ["top_n", "top_k"].map(|key| body.get(key).filter(|n| *n != b"null"));
    let wanted = match limits {
        [None, None] => documents,
        // Servers differ in what none at all means.
        [Some(n), None] | [None, Some(n)] => {
            let n = serde_json::from_slice::<u32>(n).ok().filter(|n| *n > 0);
            n.zip(documents).map(|(n, documents)| n.min(documents))
        }
        // And in which of the two they know.
        [Some(_), Some(_)] => None,
    };
    request.set_items(wanted);
    request.set_among(documents);
    request.facts()
}

fn judge(facts: &Facts, form: Form, worth: Worth) -> Option<Box<dyn Judge>> {
    let asked = facts.items.zip(facts.among);
    (form == Form::Json).then(|| JsonJudge::boxed(move |body| read(body, asked, worth)))
}

fn read(body: &str, asked: Option<(u32, u32)>, worth: Worth) -> Result<Reading, serde_json::Error> {
    let Object(answer) = serde_json::from_str::<Object<Answer<'_>>>(body)?;
    let keep = check(&answer, asked, worth);
    Ok((keep, answer.usage()))
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    object: Option<Text<'a>>,
    error: Option<IgnoredAny>,
    /// Voyage calls them `data`.
    #[serde(alias = "data")]
    results: Option<Vec<Option<Object<Ranked>>>>,
    /// Jina's, vLLM's.
    usage: Option<Counts<Tokens>>,
    /// Cohere's.
    meta: Option<Counts<Meta>>,
}

#[derive(Deserialize)]
struct Ranked {
    index: Option<u64>,
    relevance_score: Option<f64>,
}

#[derive(Deserialize)]
struct Meta {
    billed_units: Option<Counts<Tokens>>,
    tokens: Option<Counts<Tokens>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Tokens {
    prompt_tokens: Count,
    input_tokens: Count,
    output_tokens: Count,
    total_tokens: Count,
}

impl Tokens {
    fn usage(self) -> Option<Usage> {
        let total = self.total_tokens;
        tokens(
            self.prompt_tokens.or(self.input_tokens).or(total),
            self.output_tokens,
        )
    }
}

impl Answer<'_> {
    /// What was billed, where it is counted in tokens.
    fn usage(&self) -> Option<Usage> {
        let meta = self.meta.as_ref().and_then(|Counts(meta)| meta.as_ref());
        let billed = meta.and_then(|meta| meta.billed_units.as_ref());
        let spent = meta.and_then(|meta| meta.tokens.as_ref());
        let mut said = [self.usage.as_ref(), billed, spent].into_iter().flatten();
        said.find_map(|Counts(tokens)| tokens.as_ref()?.usage())
    }
}

fn check(answer: &Answer<'_>, asked: Option<(u32, u32)>, worth: Worth) -> Result<(), Fault> {
    if answer.error.is_some() || text(&answer.object) == "error" {
        return Err(Fault::ErrorObject);
    }
    let results = answer.results.as_deref().unwrap_or_default();
    if asked.is_none_or(|(wanted, _)| wanted == 0 || results.len() as u64 != u64::from(wanted)) {
        worth.check(Fault::WrongCount)?;
    }
    let documents = asked.map_or(0, |(_, documents)| u64::from(documents));
    let mut indices = IndexSet::default();
    for ranked in results {
        let ranked = ranked.as_ref().map(|Object(ranked)| ranked);
        if ranked.is_none_or(|ranked| ranked.relevance_score.is_none()) {
            worth.check(Fault::NullItem)?;
        }
        let index = ranked.and_then(|ranked| ranked.index);
        if !index.is_some_and(|index| index < documents && indices.insert(index)) {
            worth.check(Fault::WrongCount)?;
        }
    }
    Ok(())
}
