use super::super::Fault;
use super::{Ask, Row};

const ASK: Ask = Ask::json("messages/count_tokens", r#"{"model":"m","messages":[]}"#);

pub(super) const ROWS: &[Row] = &[
    ASK.kept("plain.json", None),
    ASK.refused("null.json", Fault::BadShape, None),
    ASK.refused("ends-early.json", Fault::Cut, None),
    ASK.refused("error-under-200.json", Fault::ErrorObject, None),
    ASK.refused("html.json", Fault::NotJson, None),
];
