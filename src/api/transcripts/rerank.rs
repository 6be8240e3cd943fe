use super::super::Fault;
use super::{Ask, Row, Tokens};

const BOTH: Ask = Ask::json(
    "v2/rerank",
    r#"{"model":"m","query":"q","documents":["a","b"]}"#,
);
const BEST: Ask = Ask::json(
    "rerank",
    r#"{"model":"m","query":"q","documents":["a","b"],"top_n":1}"#,
);
const BEST_K: Ask = Ask::json(
    "rerank",
    r#"{"model":"m","query":"q","documents":["a","b"],"top_k":1}"#,
);
const NONE: Ask = Ask::json(
    "rerank",
    r#"{"model":"m","query":"q","documents":["a","b"],"top_n":0}"#,
);
const SPENT: Tokens = Some((30, 0));

pub(super) const ROWS: &[Row] = &[
    BOTH.kept("cohere.json", SPENT),
    BEST.kept("jina.json", SPENT),
    BOTH.kept("voyage.json", SPENT),
    BEST_K.kept("voyage-best.json", SPENT),
    BEST_K.refused("voyage.json", Fault::WrongCount, SPENT),
    BEST.refused("cohere.json", Fault::WrongCount, SPENT),
    NONE.refused("cohere.json", Fault::WrongCount, SPENT),
    BOTH.refused("no-results.json", Fault::WrongCount, None),
    BOTH.refused("index-twice.json", Fault::WrongCount, None),
    BOTH.refused("index-out-of-range.json", Fault::WrongCount, None),
    BOTH.refused("null-score.json", Fault::NullItem, None),
    BOTH.refused("null-result.json", Fault::NullItem, None),
    BOTH.refused("ends-early.json", Fault::Cut, None),
    BOTH.refused("error-under-200.json", Fault::ErrorObject, None),
    BOTH.refused("html.json", Fault::NotJson, None),
    BOTH.refused("bare-array.json", Fault::BadShape, None),
];
