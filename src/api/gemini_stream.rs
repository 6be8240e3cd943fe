//! Gemini: `models/{model}:streamGenerateContent`, as events with `alt=sse`, else as one JSON array.
//! When an answer is complete: [`candidates`].

use super::gemini::{self, gemini_paths};
use super::question::Reader;
use super::{Facts, Form, Grammar, Judge, Worth, candidates};

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "stream_generate_content",
    operation: "generate_content",
    paths: gemini_paths!("streamGenerateContent"),
    ignored: gemini::IGNORED,
    framing: &[],
    sorted: gemini::SORTED,
    read: Reader::Json(gemini::facts),
    judge,
};

fn judge(facts: &Facts, form: Form, worth: Worth) -> Option<Box<dyn Judge>> {
    candidates::judge(facts, form, candidates::Shape::Many, worth)
}
