use super::super::Fault;
use super::{Ask, Row, Tokens};

const STREAM: Ask = Ask::json("responses", r#"{"model":"m","input":"a","stream":true}"#);
const WHOLE: Ask = Ask::json("responses", r#"{"model":"m","input":"a"}"#);
const SPENT: Tokens = Some((6, 3));

pub(super) const ROWS: &[Row] = &[
    STREAM.kept("plain.sse", SPENT),
    STREAM.kept("tool.sse", SPENT),
    STREAM.kept("with-done-behind.sse", SPENT),
    STREAM.refused("no-end.sse", Fault::Cut, None),
    STREAM.refused("incomplete.sse", Fault::IncompleteStatus, SPENT),
    STREAM.refused("completed-but-cut.sse", Fault::IncompleteStatus, SPENT),
    STREAM.refused("budget-spent.sse", Fault::Length, SPENT),
    STREAM.refused("failed.sse", Fault::ErrorObject, None),
    STREAM.refused("error-event.sse", Fault::ErrorObject, None),
    STREAM.refused("kind-contradicts.sse", Fault::BadFrame, SPENT),
    STREAM.refused("after-end.sse", Fault::AfterEnd, SPENT),
    STREAM.refused("empty.sse", Fault::Empty, SPENT),
    STREAM.refused("refusal.sse", Fault::Refused, SPENT),
    STREAM.refused("tool-arguments-cut.sse", Fault::BadToolCall, SPENT),
    WHOLE.kept("plain.json", SPENT),
    WHOLE.kept("tool.json", SPENT),
    WHOLE.kept("budget.json", SPENT),
    WHOLE.refused("ends-early.json", Fault::Cut, None),
    WHOLE.refused("incomplete.json", Fault::IncompleteStatus, SPENT),
    WHOLE.refused("completed-but-cut.json", Fault::IncompleteStatus, SPENT),
    WHOLE.refused("message-incomplete.json", Fault::IncompleteStatus, SPENT),
    WHOLE.refused("call-incomplete.json", Fault::IncompleteStatus, SPENT),
    WHOLE.refused("budget-spent.json", Fault::Length, SPENT),
    WHOLE.refused("queued.json", Fault::IncompleteStatus, None),
    WHOLE.refused("failed.json", Fault::ErrorObject, None),
    WHOLE.refused("html.json", Fault::NotJson, None),
    WHOLE.refused("list.json", Fault::BadShape, None),
    WHOLE.refused("empty.json", Fault::Empty, SPENT),
    WHOLE.refused("refusal.json", Fault::Refused, SPENT),
    WHOLE.refused("tool-arguments-cut.json", Fault::BadToolCall, SPENT),
];
