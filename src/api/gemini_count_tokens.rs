//! Gemini: `models/{model}:countTokens`. JSON only.
//!
//! An answer is complete iff `totalTokens` is a whole number. It is not reported as usage: nobody
//! pays for it.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::gemini::{gemini_paths, refuse_cached_content, refuse_files};
use super::json_body::{JsonJudge, Reading};
use super::question::Reader;
use super::request::Request;
use super::wire::Object;
use super::{Facts, Fault, Form, Grammar, Judge, Place, Worth};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "gemini_count_tokens",
    operation: "count_tokens",
    paths: gemini_paths!("countTokens"),
    ignored: &[],
    framing: &[],
    sorted: &[],
    read: Reader::Json(facts),
    judge,
};

/// The whole request that is to be counted may stand in one of these.
const WHOLE: &[&str] = &["generateContentRequest", "generate_content_request"];

fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    let mut request = Request::in_place(body, place);
    refuse_cached_content(&mut request, WHOLE);
    refuse_files(&mut request, WHOLE);
    refuse_files(&mut request, &["contents", "instances"]);
    refuse_files(&mut request, &["systemInstruction", "system_instruction"]);
    request.facts()
}

fn judge(_: &Facts, form: Form, _: Worth) -> Option<Box<dyn Judge>> {
    (form == Form::Json).then(|| JsonJudge::boxed(read))
}

fn read(body: &str) -> Result<Reading, serde_json::Error> {
    #[derive(Deserialize)]
    struct Answer {
        error: Option<IgnoredAny>,
        #[serde(rename = "totalTokens")]
        total_tokens: Option<u64>,
    }
    let Object(answer) = serde_json::from_str::<Object<Answer>>(body)?;
    let keep = match (answer.error, answer.total_tokens) {
        (Some(_), _) => Err(Fault::ErrorObject),
        (None, None) => Err(Fault::BadShape),
        (None, Some(_)) => Ok(()),
    };
    Ok((keep, None))
}
