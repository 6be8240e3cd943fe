//! Ollama embeddings: `api/embed`, and `api/embeddings`, the legacy form for one text. JSON only.
//!
//! An answer is complete iff it has exactly as many embeddings as were asked for, and each is a
//! non-empty array of numbers.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::json_body::{JsonJudge, Reading};
use super::question::Reader;
use super::request::Request;
use super::vectors::{self, Vector};
use super::wire::{Count, Object, tokens};
use super::{Bypass, Facts, Fault, Form, Grammar, Judge, Place, Worth, ollama};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "ollama_embed",
    operation: "embeddings",
    paths: &["api/embed", LEGACY],
    ignored: ollama::IGNORED,
    framing: &[],
    sorted: &["options"],
    read: Reader::Json(facts),
    judge,
};

const LEGACY: &str = "api/embeddings";

fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    let mut request = Request::new(body, place);
    ollama::refuse_odd_names(&mut request, body);
    let (input, items) = match place.path {
        LEGACY => ("prompt", Some(1)),
        _ => ("input", request.texts("input")),
    };
    request.set_items(items);
    let asks_nothing = request.is_empty(input);
    request.refuse_if(asks_nothing, Bypass::ModelLoad);
    request.facts()
}

fn judge(facts: &Facts, form: Form, worth: Worth) -> Option<Box<dyn Judge>> {
    let asked = facts.items;
    (form == Form::Json).then(|| JsonJudge::boxed(move |body| read(body, asked, worth)))
}

#[derive(Deserialize)]
struct Answer {
    error: Option<IgnoredAny>,
    embeddings: Option<Vec<Option<Vector>>>,
    /// The legacy form.
    embedding: Option<Vector>,
    #[serde(default)]
    prompt_eval_count: Count,
}

fn read(body: &str, asked: Option<u32>, worth: Worth) -> Result<Reading, serde_json::Error> {
    let Object(answer) = serde_json::from_str::<Object<Answer>>(body)?;
    let one = answer.embedding.iter().map(|Vector(whole)| *whole);
    let many = answer.embeddings.iter().flatten();
    let many = many.map(|one| matches!(one, Some(Vector(true))));
    let keep = match answer.error {
        Some(_) => Err(Fault::ErrorObject),
        None => vectors::check(one.chain(many), asked, worth),
    };
    Ok((keep, tokens(answer.prompt_eval_count, Count(None))))
}
