//! OpenAI completions, the legacy form: `completions`. When an answer is complete: [`choices`].

use super::place::openai_paths;
use super::question::Reader;
use super::request::Request;
use super::{Bypass, Facts, Grammar, Place, choices};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "completions",
    operation: "text_completion",
    paths: openai_paths!("completions"),
    ignored: &["user"],
    framing: &[],
    sorted: &["logit_bias", "stop", "stream_options"],
    read: Reader::Json(facts),
    judge: choices::judge,
};

fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    let mut request = Request::new(body, place);
    request.read_stream();
    // Every prompt is answered `n` times; without one the model starts from nothing.
    let prompts = if request.is_absent("prompt") {
        Some(1)
    } else {
        request.texts("prompt")
    };
    request.refuse_if(prompts.is_none(), Bypass::OddPrompt);
    request.read_choices(prompts.unwrap_or(1));
    request.facts()
}
