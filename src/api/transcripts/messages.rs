use super::super::Fault;
use super::{Ask, Row, Tokens};

const STREAM: Ask = Ask::json("messages", r#"{"model":"m","messages":[],"stream":true}"#);
const WHOLE: Ask = Ask::json("messages", r#"{"model":"m","messages":[]}"#);
const SPENT: Tokens = Some((10, 5));

pub(super) const ROWS: &[Row] = &[
    STREAM.kept("plain.sse", SPENT),
    STREAM.kept("unknown-event.sse", SPENT),
    STREAM.kept("with-done-behind.sse", SPENT),
    STREAM.kept("tool.sse", SPENT),
    STREAM.kept("tool-without-input.sse", SPENT),
    STREAM.refused("no-stop.sse", Fault::Cut, SPENT),
    STREAM.refused("no-stop-reason.sse", Fault::NoFinishReason, Some((10, 1))),
    STREAM.refused("no-start.sse", Fault::BadShape, Some((0, 5))),
    STREAM.refused("two-starts.sse", Fault::BadFrame, SPENT),
    STREAM.refused("overloaded.sse", Fault::ErrorObject, Some((10, 1))),
    STREAM.refused("after-end.sse", Fault::AfterEnd, SPENT),
    STREAM.refused("pause.sse", Fault::IncompleteStatus, SPENT),
    STREAM.refused("length.sse", Fault::Length, SPENT),
    STREAM.refused("gemini-max-tokens.sse", Fault::Length, SPENT),
    STREAM.refused("refusal.sse", Fault::Refused, SPENT),
    STREAM.refused("only-thinking.sse", Fault::Empty, SPENT),
    STREAM.refused("tool-input-cut.sse", Fault::BadToolCall, SPENT),
    WHOLE.kept("plain.json", SPENT),
    WHOLE.kept("tool.json", SPENT),
    WHOLE.kept("gateway-stop.json", SPENT),
    WHOLE.refused("ends-early.json", Fault::Cut, None),
    WHOLE.refused("no-stop-reason.json", Fault::NoFinishReason, SPENT),
    WHOLE.refused("error-under-200.json", Fault::ErrorObject, None),
    WHOLE.refused("unknown-end.json", Fault::ErrorFinish, SPENT),
    WHOLE.refused("html.json", Fault::NotJson, None),
    WHOLE.refused("other-type.json", Fault::BadShape, SPENT),
    WHOLE.refused("length.json", Fault::Length, SPENT),
    WHOLE.refused("window.json", Fault::Length, SPENT),
    WHOLE.refused("gemini-safety.json", Fault::Filtered, SPENT),
    WHOLE.refused("refusal.json", Fault::Refused, SPENT),
    WHOLE.refused("empty.json", Fault::Empty, SPENT),
    WHOLE.refused("only-thinking.json", Fault::Empty, SPENT),
];
