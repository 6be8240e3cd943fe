//! Gemini embeddings: `models/{model}:embedContent` and `models/{model}:batchEmbedContents`. JSON
//! only.
//!
//! An answer is complete iff it has exactly as many embeddings as were asked for, and each is a
//! non-empty array of numbers.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::gemini::{gemini_paths, refuse_cached_content, refuse_files};
use super::json_body::{JsonJudge, Reading};
use super::question::Reader;
use super::request::Request;
use super::vectors::{self, Vector};
use super::wire::{Count, Counts, Object, tokens};
use super::{Facts, Fault, Form, Grammar, Judge, Place, Worth};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "embed_content",
    operation: "embeddings",
    paths: gemini_paths!("embedContent", "batchEmbedContents"),
    ignored: &[],
    framing: &[],
    sorted: &["content", "requests"],
    read: Reader::Json(facts),
    judge,
};

fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    let mut request = Request::in_place(body, place);
    let items = match place.path.ends_with(":batchEmbedContents") {
        true => count(body.get("requests")),
        false => Some(1),
    };
    request.set_items(items);
    refuse_cached_content(&mut request, &["requests"]);
    refuse_files(&mut request, &["content", "requests"]);
    request.facts()
}

fn count(requests: Option<&[u8]>) -> Option<u32> {
    let requests = serde_json::from_slice::<Vec<Object<IgnoredAny>>>(requests?);
    requests.ok()?.len().try_into().ok()
}

fn judge(facts: &Facts, form: Form, worth: Worth) -> Option<Box<dyn Judge>> {
    let asked = facts.items;
    (form == Form::Json).then(|| JsonJudge::boxed(move |body| read(body, asked, worth)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    error: Option<IgnoredAny>,
    embedding: Option<Object<Embedding>>,
    embeddings: Option<Vec<Option<Object<Embedding>>>>,
    usage_metadata: Option<Counts<UsageMetadata>>,
}

#[derive(Deserialize)]
struct Embedding {
    values: Option<Vector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsageMetadata {
    #[serde(default)]
    prompt_token_count: Count,
}

fn read(body: &str, asked: Option<u32>, worth: Worth) -> Result<Reading, serde_json::Error> {
    let Object(answer) = serde_json::from_str::<Object<Answer>>(body)?;
    let whole = |Object(one): &Object<Embedding>| matches!(one.values, Some(Vector(true)));
    let one = answer.embedding.iter().map(whole);
    let many = answer.embeddings.iter().flatten();
    let many = many.map(|one| one.as_ref().is_some_and(whole));
    let keep = match answer.error {
        Some(_) => Err(Fault::ErrorObject),
        None => vectors::check(one.chain(many), asked, worth),
    };
    let usage = answer
        .usage_metadata
        .and_then(|Counts(usage)| Some(usage?.prompt_token_count));
    Ok((keep, usage.and_then(|input| tokens(input, Count(None)))))
}
