use super::super::Fault;
use super::{Ask, Row, Tokens};

const ONE: Ask = Ask::json("embeddings", r#"{"model":"m","input":"a"}"#);
const TWO: Ask = Ask::json("embeddings", r#"{"model":"m","input":["a","b"]}"#);
const BYTES: Ask = Ask::json(
    "embeddings",
    r#"{"model":"m","input":"a","encoding_format":"base64","output_dtype":"int8"}"#,
);
const PICTURES: Ask = Ask::json(
    "embeddings",
    r#"{"model":"m","input":[{"text":"a"},{"image":"aQ=="}]}"#,
);
const UNKNOWN: Ask = Ask::json("embeddings", r#"{"model":"m","input":{"text":"a"}}"#);
const SPENT: Tokens = Some((8, 0));

pub(super) const ROWS: &[Row] = &[
    ONE.kept("plain.json", SPENT),
    ONE.kept("base64.json", SPENT),
    TWO.kept("two.json", SPENT),
    ONE.refused("two.json", Fault::WrongCount, SPENT),
    TWO.refused("plain.json", Fault::WrongCount, SPENT),
    UNKNOWN.refused("plain.json", Fault::WrongCount, SPENT),
    ONE.refused("no-items.json", Fault::WrongCount, SPENT),
    TWO.refused("index-twice.json", Fault::WrongCount, SPENT),
    TWO.refused("index-out-of-range.json", Fault::WrongCount, SPENT),
    BYTES.kept("bytes-in-base64.json", SPENT),
    PICTURES.kept("pictures.json", SPENT),
    PICTURES.refused("plain.json", Fault::WrongCount, SPENT),
    ONE.refused("nan-in-base64.json", Fault::NullItem, SPENT),
    ONE.refused("cut-base64.json", Fault::NullItem, SPENT),
    ONE.refused("bytes-in-base64.json", Fault::NullItem, SPENT),
    ONE.refused("null-in-vector.json", Fault::NullItem, SPENT),
    ONE.refused("null-vector.json", Fault::NullItem, SPENT),
    ONE.refused("empty-vector.json", Fault::NullItem, SPENT),
    TWO.refused("ends-early.json", Fault::Cut, None),
    ONE.refused("error-under-200.json", Fault::ErrorObject, None),
    ONE.refused("nan.json", Fault::NotJson, None),
    ONE.refused("stream.sse", Fault::NotJson, None),
    ONE.refused("strings.json", Fault::BadShape, None),
];
