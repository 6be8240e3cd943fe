//! Anthropic's count of a prompt's tokens: `messages/count_tokens`. JSON only.
//!
//! An answer is complete iff `input_tokens` is a whole number. It is not reported as usage: nobody
//! pays for it.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::json_body::{JsonJudge, Reading};
use super::question::Reader;
use super::wire::{Object, Text, text};
use super::{Facts, Fault, Form, Grammar, Judge, Place, Worth, anthropic_messages};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

/// What is left out of the key is left out as for messages: the prompt is the same.
pub(super) const GRAMMAR: Grammar = Grammar {
    label: "count_tokens",
    operation: "count_tokens",
    paths: &["messages/count_tokens"],
    ignored: anthropic_messages::GRAMMAR.ignored,
    framing: &[],
    sorted: anthropic_messages::GRAMMAR.sorted,
    read: Reader::Json(facts),
    judge,
};

fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    anthropic_messages::prompt(body, place).facts()
}

fn judge(_: &Facts, form: Form, _: Worth) -> Option<Box<dyn Judge>> {
    (form == Form::Json).then(|| JsonJudge::boxed(read))
}

fn read(body: &str) -> Result<Reading, serde_json::Error> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<Text<'a>>,
        error: Option<IgnoredAny>,
        input_tokens: Option<u64>,
    }
    let Object(answer) = serde_json::from_str::<Object<Answer<'_>>>(body)?;
    let keep = if answer.error.is_some() || text(&answer.kind) == "error" {
        Err(Fault::ErrorObject)
    } else if answer.input_tokens.is_none() {
        Err(Fault::BadShape)
    } else {
        Ok(())
    };
    Ok((keep, None))
}
