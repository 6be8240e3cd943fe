use super::super::Fault;
use super::{Ask, Row};

const ASK: Ask = Ask::json(
    "v1beta/models/gemini-2.5-flash:countTokens",
    r#"{"contents":[{"parts":[{"text":"a"}]}]}"#,
);

pub(super) const ROWS: &[Row] = &[
    ASK.kept("plain.json", None),
    ASK.kept("vertex.json", None),
    ASK.refused("no-count.json", Fault::BadShape, None),
    ASK.refused("count-as-text.json", Fault::BadShape, None),
    ASK.refused("error-under-200.json", Fault::ErrorObject, None),
    ASK.refused("ends-early.json", Fault::Cut, None),
    ASK.refused("html.json", Fault::NotJson, None),
];
