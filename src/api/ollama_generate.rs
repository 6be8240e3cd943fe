//! Ollama completions: `api/generate`. When an answer is complete: [`ollama`].

use super::question::Reader;
use super::request::Request;
use super::{Bypass, Facts, Grammar, Place, ollama};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "ollama_generate",
    operation: "text_completion",
    paths: &["api/generate"],
    ignored: ollama::IGNORED,
    framing: &["stream"],
    sorted: &["options"],
    read: Reader::Json(facts),
    judge: ollama::judge,
};

fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    let mut request = Request::new(body, place);
    ollama::refuse_odd_names(&mut request, body);
    request.read_lines();
    let asks_nothing = request.is_empty("prompt");
    request.refuse_if(asks_nothing, Bypass::ModelLoad);
    request.facts()
}
