use super::super::Fault;
use super::{Ask, Row, Tokens};

const STREAM: Ask = Ask::json(
    "completions",
    r#"{"model":"m","prompt":"Once","stream":true}"#,
);
const WHOLE: Ask = Ask::json("completions", r#"{"model":"m","prompt":"Once"}"#);
const TWO: Ask = Ask::json("completions", r#"{"model":"m","prompt":["Once","Then"]}"#);
const SPENT: Tokens = Some((5, 7));

pub(super) const ROWS: &[Row] = &[
    STREAM.kept("plain.sse", None),
    STREAM.refused("no-done.sse", Fault::Cut, None),
    STREAM.refused("no-finish-reason.sse", Fault::NoFinishReason, None),
    STREAM.refused("error-then-done.sse", Fault::ErrorObject, None),
    STREAM.refused("abort.sse", Fault::ErrorFinish, None),
    STREAM.refused("bad-frame.sse", Fault::BadFrame, None),
    STREAM.refused("after-done.sse", Fault::AfterEnd, None),
    STREAM.refused("length.sse", Fault::Length, None),
    STREAM.refused("max-tokens.sse", Fault::Length, None),
    STREAM.refused("filtered.sse", Fault::Filtered, None),
    STREAM.refused("empty.sse", Fault::Empty, None),
    WHOLE.kept("plain.json", SPENT),
    WHOLE.kept("eos.json", SPENT),
    TWO.kept("two-prompts.json", SPENT),
    TWO.refused("plain.json", Fault::MissingChoices, SPENT),
    WHOLE.refused("ends-early.json", Fault::Cut, None),
    WHOLE.refused("error-under-200.json", Fault::ErrorObject, None),
    WHOLE.refused("unknown-end.json", Fault::ErrorFinish, SPENT),
    WHOLE.refused("html.json", Fault::NotJson, None),
    WHOLE.refused("other-shape.json", Fault::BadShape, None),
    WHOLE.refused("length.json", Fault::Length, SPENT),
    WHOLE.refused("empty.json", Fault::Empty, SPENT),
];
