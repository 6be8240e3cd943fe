use super::super::Fault;
use super::{Ask, Row, Tokens};

const ONE: Ask = Ask::json("api/embed", r#"{"model":"all-minilm","input":"a"}"#);
const TWO: Ask = Ask::json("api/embed", r#"{"model":"all-minilm","input":["a","b"]}"#);
const LEGACY: Ask = Ask::json("api/embeddings", r#"{"model":"all-minilm","prompt":"a"}"#);
const SPENT: Tokens = Some((8, 0));

pub(super) const ROWS: &[Row] = &[
    ONE.kept("plain.json", SPENT),
    TWO.kept("two.json", SPENT),
    LEGACY.kept("legacy.json", None),
    ONE.refused("two.json", Fault::WrongCount, SPENT),
    TWO.refused("plain.json", Fault::WrongCount, SPENT),
    ONE.refused("loaded.json", Fault::WrongCount, None),
    ONE.refused("no-embeddings.json", Fault::WrongCount, SPENT),
    LEGACY.refused("legacy-empty.json", Fault::NullItem, None),
    ONE.refused("null-in-vector.json", Fault::NullItem, SPENT),
    ONE.refused("null-vector.json", Fault::NullItem, SPENT),
    ONE.refused("empty-vector.json", Fault::NullItem, SPENT),
    ONE.refused("strings.json", Fault::BadShape, None),
    ONE.refused("base64.json", Fault::BadShape, None),
    ONE.refused("error-under-200.json", Fault::ErrorObject, None),
    ONE.refused("nan.json", Fault::NotJson, None),
    ONE.refused("ends-early.json", Fault::Cut, None),
];
