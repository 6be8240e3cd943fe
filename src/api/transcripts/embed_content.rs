use super::super::Fault;
use super::{Ask, Row};

const ONE: Ask = Ask::json(
    "v1beta/models/gemini-embedding-001:embedContent",
    r#"{"content":{"parts":[{"text":"a"}]}}"#,
);
const BATCH: Ask = Ask::json(
    "v1beta/models/gemini-embedding-001:batchEmbedContents",
    r#"{"requests":[{"content":{"parts":[{"text":"a"}]}},{"content":{"parts":[{"text":"b"}]}}]}"#,
);
const UNKNOWN: Ask = Ask::json(
    "v1beta/models/gemini-embedding-001:batchEmbedContents",
    r#"{"requests":{"content":{"parts":[{"text":"a"}]}}}"#,
);

pub(super) const ROWS: &[Row] = &[
    ONE.kept("plain.json", None),
    ONE.kept("usage.json", Some((8, 0))),
    BATCH.kept("batch.json", None),
    ONE.refused("batch.json", Fault::WrongCount, None),
    BATCH.refused("plain.json", Fault::WrongCount, None),
    UNKNOWN.refused("plain.json", Fault::WrongCount, None),
    ONE.refused("no-embedding.json", Fault::WrongCount, None),
    ONE.refused("null-in-vector.json", Fault::NullItem, None),
    ONE.refused("null-vector.json", Fault::NullItem, None),
    BATCH.refused("empty-vector.json", Fault::NullItem, None),
    BATCH.refused("null-embedding.json", Fault::NullItem, None),
    ONE.refused("strings.json", Fault::BadShape, None),
    ONE.refused("array.json", Fault::BadShape, None),
    ONE.refused("error-under-200.json", Fault::ErrorObject, None),
    ONE.refused("nan.json", Fault::NotJson, None),
    BATCH.refused("ends-early.json", Fault::Cut, None),
];
