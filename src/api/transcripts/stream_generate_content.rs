use super::super::Fault;
use super::{Ask, Row, Tokens};

const EVENTS: Ask = Ask::json(
    "v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
    r#"{"contents":[{"parts":[{"text":"a"}]}]}"#,
);
const TWO: Ask = Ask::json(
    "v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
    r#"{"contents":[{"parts":[{"text":"a"}]}],"generation_config":{"candidate_count":2}}"#,
);
const ARRAY: Ask = Ask::json(
    "v1beta/models/gemini-2.5-flash:streamGenerateContent",
    r#"{"contents":[{"parts":[{"text":"a"}]}]}"#,
);
const ARRAY_OF_TWO: Ask = Ask::json(
    "v1beta/models/gemini-2.5-flash:streamGenerateContent",
    r#"{"contents":[{"parts":[{"text":"a"}]}],"generationConfig":{"candidateCount":2}}"#,
);
const SPENT: Tokens = Some((9, 4));
const SO_FAR: Tokens = Some((9, 2));
const PROMPT: Tokens = Some((9, 0));

pub(super) const ROWS: &[Row] = &[
    EVENTS.kept("plain.sse", SPENT),
    EVENTS.kept("one-frame.sse", SPENT),
    EVENTS.kept("thinking.sse", Some((9, 34))),
    EVENTS.kept("tools-parallel.sse", SPENT),
    EVENTS.kept("call-in-pieces.sse", SPENT),
    TWO.kept("two-candidates.sse", SPENT),
    EVENTS.kept("no-usage.sse", None),
    EVENTS.kept("comments.sse", SPENT),
    EVENTS.kept("usage-last.sse", SPENT),
    TWO.refused("plain.sse", Fault::MissingChoices, SPENT),
    EVENTS.refused("usage-missing-at-the-end.sse", Fault::Cut, PROMPT),
    EVENTS.refused("ends-early.sse", Fault::Cut, SO_FAR),
    EVENTS.refused("ends-inside-a-frame.sse", Fault::Cut, SO_FAR),
    EVENTS.refused("goes-on-after-stop.sse", Fault::Cut, SO_FAR),
    EVENTS.refused("after-done.sse", Fault::AfterEnd, SPENT),
    EVENTS.refused("gateway-done-unfinished.sse", Fault::NoFinishReason, PROMPT),
    EVENTS.refused("gateway-only-done.sse", Fault::MissingChoices, None),
    EVENTS.refused("error-midstream.sse", Fault::ErrorObject, PROMPT),
    EVENTS.refused("error-in-array.sse", Fault::ErrorObject, PROMPT),
    EVENTS.refused("error-event.sse", Fault::ErrorObject, PROMPT),
    EVENTS.refused("blocked.sse", Fault::Filtered, PROMPT),
    EVENTS.refused("safety-midstream.sse", Fault::Filtered, SPENT),
    EVENTS.refused("length.sse", Fault::Length, SPENT),
    EVENTS.refused("malformed-call.sse", Fault::BadToolCall, SPENT),
    EVENTS.refused("call-in-pieces-open.sse", Fault::BadToolCall, SPENT),
    EVENTS.refused("other.sse", Fault::ErrorFinish, SPENT),
    EVENTS.refused("empty.sse", Fault::Empty, SPENT),
    EVENTS.refused("only-thought.sse", Fault::Empty, Some((9, 30))),
    EVENTS.refused("bad-frame.sse", Fault::BadFrame, SPENT),
    EVENTS.refused("bare-error.sse", Fault::BadFrame, SPENT),
    EVENTS.refused("grounded.sse", Fault::WebSearch, SPENT),
    EVENTS.refused("array-frame.sse", Fault::BadFrame, SPENT),
    EVENTS.refused("absurd-index.sse", Fault::WrongCount, None),
    ARRAY.kept("plain.json", SPENT),
    ARRAY.kept("one-piece.json", SPENT),
    ARRAY.refused("ends-early.json", Fault::Cut, None),
    ARRAY.refused("not-closed.json", Fault::Cut, None),
    ARRAY.refused("no-finish-reason.json", Fault::NoFinishReason, SO_FAR),
    ARRAY_OF_TWO.refused("missing-candidate.json", Fault::MissingChoices, SPENT),
    ARRAY.refused("error-midstream.json", Fault::ErrorObject, PROMPT),
    ARRAY.refused("error-under-200.json", Fault::ErrorObject, None),
    ARRAY.refused("error-object.json", Fault::ErrorObject, None),
    ARRAY.refused("blocked.json", Fault::Filtered, PROMPT),
    ARRAY.refused("safety.json", Fault::Filtered, SPENT),
    ARRAY.refused("length.json", Fault::Length, SPENT),
    ARRAY.refused("other.json", Fault::ErrorFinish, SPENT),
    ARRAY.refused("only-thought.json", Fault::Empty, Some((9, 30))),
    ARRAY.refused("empty-array.json", Fault::BadShape, None),
    ARRAY.refused("object.json", Fault::BadShape, SPENT),
    ARRAY.refused("null-piece.json", Fault::BadShape, None),
    ARRAY.refused("html.json", Fault::NotJson, None),
];
