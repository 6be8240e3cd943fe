use super::super::Fault;
use super::{Ask, Row, Tokens};

const ONE: Ask = Ask::json("moderations", r#"{"input":"a"}"#);
const TWO: Ask = Ask::json(
    "moderations",
    r#"{"model":"omni-moderation-latest","input":["a","b"]}"#,
);
const MIXED: Ask = Ask::json(
    "moderations",
    r#"{"input":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:,"}}]}"#,
);
const SPENT: Tokens = Some((4, 0));

pub(super) const ROWS: &[Row] = &[
    ONE.kept("plain.json", None),
    MIXED.kept("plain.json", None),
    TWO.kept("two.json", None),
    ONE.kept("mistral.json", SPENT),
    ONE.refused("two.json", Fault::WrongCount, None),
    TWO.refused("plain.json", Fault::WrongCount, None),
    ONE.refused("no-results.json", Fault::WrongCount, None),
    TWO.refused("null-result.json", Fault::NullItem, None),
    ONE.refused("null-score.json", Fault::NullItem, None),
    ONE.refused("no-categories.json", Fault::NullItem, None),
    ONE.refused("ends-early.json", Fault::Cut, None),
    ONE.refused("error-under-200.json", Fault::ErrorObject, None),
    ONE.refused("html.json", Fault::NotJson, None),
    ONE.refused("list.json", Fault::BadShape, None),
];
