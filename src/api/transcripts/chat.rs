use super::super::Fault;
use super::{Ask, Row, Tokens};

const STREAM: Ask = Ask::json(
    "chat/completions",
    r#"{"model":"m","messages":[],"stream":true}"#,
);
const WHOLE: Ask = Ask::json("chat/completions", r#"{"model":"m","messages":[]}"#);
const TWO: Ask = Ask::json("chat/completions", r#"{"model":"m","messages":[],"n":2}"#);
const AZURE: Ask = Ask::json(
    "openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
    r#"{"messages":[]}"#,
);
const SPENT: Tokens = Some((9, 4));

pub(super) const ROWS: &[Row] = &[
    STREAM.kept("plain.sse", None),
    STREAM.kept("usage.sse", SPENT),
    STREAM.kept("openrouter-keepalive.sse", SPENT),
    STREAM.kept("vllm-usage-in-each-chunk.sse", SPENT),
    STREAM.kept("deepseek-keepalive.sse", SPENT),
    STREAM.kept("tools-parallel.sse", None),
    STREAM.kept("two-choices.sse", None),
    TWO.kept("two-choices.sse", None),
    STREAM.refused("no-done.sse", Fault::Cut, SPENT),
    STREAM.refused("ends-early.sse", Fault::Cut, None),
    STREAM.refused("ends-inside-a-frame.sse", Fault::Cut, None),
    STREAM.refused("no-finish-reason.sse", Fault::NoFinishReason, None),
    STREAM.refused("finish-reason-empty.sse", Fault::NoFinishReason, None),
    STREAM.refused("choice-unfinished.sse", Fault::NoFinishReason, None),
    TWO.refused("plain.sse", Fault::MissingChoices, None),
    STREAM.refused("error-then-done.sse", Fault::ErrorObject, None),
    STREAM.refused("error-object-type.sse", Fault::ErrorObject, None),
    STREAM.refused("error-event.sse", Fault::ErrorObject, None),
    STREAM.refused("openrouter-error-midstream.sse", Fault::ErrorObject, None),
    STREAM.refused("openrouter-error-finish.sse", Fault::ErrorFinish, None),
    STREAM.refused("vllm-abort.sse", Fault::ErrorFinish, None),
    STREAM.refused("bad-frame.sse", Fault::BadFrame, None),
    STREAM.refused("after-done.sse", Fault::AfterEnd, None),
    STREAM.refused("absurd-index.sse", Fault::WrongCount, None),
    STREAM.refused("length.sse", Fault::Length, SPENT),
    STREAM.refused("filtered.sse", Fault::Filtered, None),
    STREAM.refused("refusal.sse", Fault::Refused, None),
    STREAM.refused("empty.sse", Fault::Empty, None),
    STREAM.refused("only-reasoning.sse", Fault::Empty, None),
    STREAM.refused("tool-arguments-cut.sse", Fault::BadToolCall, None),
    WHOLE.kept("plain.json", SPENT),
    AZURE.kept("plain.json", SPENT),
    WHOLE.kept("deepseek-keepalive.json", SPENT),
    WHOLE.kept("tools.json", SPENT),
    TWO.kept("two-choices.json", SPENT),
    WHOLE.refused("ends-early.json", Fault::Cut, None),
    TWO.refused("plain.json", Fault::MissingChoices, SPENT),
    WHOLE.refused("no-choices.json", Fault::MissingChoices, SPENT),
    WHOLE.refused("no-finish-reason.json", Fault::NoFinishReason, SPENT),
    WHOLE.refused("error-under-200.json", Fault::ErrorObject, None),
    WHOLE.refused("openrouter-error-in-choice.json", Fault::ErrorObject, None),
    WHOLE.refused("deepseek-no-resources.json", Fault::ErrorFinish, SPENT),
    WHOLE.refused("html.json", Fault::NotJson, None),
    WHOLE.refused("list.json", Fault::BadShape, None),
    WHOLE.refused("other-shape.json", Fault::BadShape, None),
    WHOLE.refused("length.json", Fault::Length, SPENT),
    WHOLE.refused("filtered.json", Fault::Filtered, SPENT),
    WHOLE.refused("refusal.json", Fault::Refused, SPENT),
    WHOLE.refused("empty.json", Fault::Empty, SPENT),
    WHOLE.refused("only-reasoning.json", Fault::Empty, SPENT),
    WHOLE.refused("tool-arguments-cut.json", Fault::BadToolCall, SPENT),
];
