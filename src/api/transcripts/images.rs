use super::super::Fault;
use super::{Ask, Row, Tokens};

const ONE: Ask = Ask::json(
    "images/generations",
    r#"{"model":"gpt-image-1","prompt":"a cat"}"#,
);
const TWO: Ask = Ask::json(
    "images/generations",
    r#"{"model":"gpt-image-1","prompt":"a cat","n":2}"#,
);
const STREAM: Ask = Ask::json(
    "images/generations",
    r#"{"model":"gpt-image-1","prompt":"a cat","stream":true}"#,
);
const SPENT: Tokens = Some((50, 4160));

pub(super) const ROWS: &[Row] = &[
    ONE.kept("plain.json", SPENT),
    TWO.kept("two.json", SPENT),
    ONE.refused("two.json", Fault::WrongCount, SPENT),
    TWO.refused("plain.json", Fault::WrongCount, SPENT),
    ONE.refused("no-pictures.json", Fault::WrongCount, None),
    ONE.refused("null-picture.json", Fault::NullItem, SPENT),
    ONE.refused("links.json", Fault::ExpiringLink, None),
    ONE.refused("ends-early.json", Fault::Cut, None),
    ONE.refused("error-under-200.json", Fault::ErrorObject, None),
    ONE.refused("html.json", Fault::NotJson, None),
    ONE.refused("other-shape.json", Fault::BadShape, None),
    STREAM.kept("plain.sse", SPENT),
    STREAM.refused("no-end.sse", Fault::Cut, None),
    STREAM.refused("error.sse", Fault::ErrorObject, None),
    STREAM.refused("bad-frame.sse", Fault::BadFrame, None),
    STREAM.refused("after-end.sse", Fault::AfterEnd, SPENT),
    STREAM.refused("null-picture.sse", Fault::NullItem, None),
];
