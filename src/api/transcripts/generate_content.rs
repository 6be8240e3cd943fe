use super::super::Fault;
use super::{Ask, Row, Tokens};

const ONE: Ask = Ask::json(
    "v1beta/models/gemini-2.5-flash:generateContent",
    r#"{"contents":[{"parts":[{"text":"a"}]}]}"#,
);
const TWO: Ask = Ask::json(
    "v1/projects/p/locations/eu/publishers/google/models/gemini-2.5-flash:generateContent",
    r#"{"contents":[{"parts":[{"text":"a"}]}],"generationConfig":{"candidateCount":2}}"#,
);
const SPENT: Tokens = Some((9, 4));
const WITH_THOUGHTS: Tokens = Some((9, 34));
const PROMPT: Tokens = Some((9, 0));

pub(super) const ROWS: &[Row] = &[
    ONE.kept("plain.json", WITH_THOUGHTS),
    ONE.kept("tools-parallel.json", SPENT),
    ONE.kept("picture.json", SPENT),
    ONE.kept("thought-and-text.json", WITH_THOUGHTS),
    ONE.kept("no-usage.json", None),
    ONE.kept("not-grounded.json", WITH_THOUGHTS),
    TWO.kept("two-candidates.json", SPENT),
    ONE.kept("two-candidates.json", SPENT),
    TWO.refused("plain.json", Fault::MissingChoices, WITH_THOUGHTS),
    TWO.refused("candidate-unfinished.json", Fault::NoFinishReason, SPENT),
    ONE.refused("no-finish-reason.json", Fault::NoFinishReason, SPENT),
    ONE.refused("no-candidates.json", Fault::MissingChoices, PROMPT),
    ONE.refused("length.json", Fault::Length, SPENT),
    ONE.refused("length-while-thinking.json", Fault::Length, Some((9, 64))),
    ONE.refused("safety.json", Fault::Filtered, SPENT),
    ONE.refused("recitation.json", Fault::Filtered, SPENT),
    ONE.refused("blocked.json", Fault::Filtered, PROMPT),
    ONE.refused("malformed-call.json", Fault::BadToolCall, SPENT),
    ONE.refused("call-arguments-text.json", Fault::BadToolCall, SPENT),
    ONE.refused("other.json", Fault::ErrorFinish, SPENT),
    ONE.refused("unexpected-tool-call.json", Fault::ErrorFinish, SPENT),
    ONE.refused("reason-from-the-future.json", Fault::ErrorFinish, SPENT),
    ONE.refused("empty.json", Fault::Empty, SPENT),
    ONE.refused("no-content.json", Fault::Empty, SPENT),
    ONE.refused("empty-picture.json", Fault::Empty, SPENT),
    ONE.refused("no-picture.json", Fault::Empty, SPENT),
    ONE.refused("file.json", Fault::ExpiringLink, SPENT),
    ONE.refused("grounded.json", Fault::WebSearch, WITH_THOUGHTS),
    ONE.refused("from-a-page.json", Fault::WebSearch, WITH_THOUGHTS),
    ONE.refused("only-thought.json", Fault::Empty, Some((9, 30))),
    ONE.refused("error-under-200.json", Fault::ErrorObject, None),
    ONE.refused("error-in-array.json", Fault::ErrorObject, None),
    ONE.refused("array.json", Fault::BadShape, WITH_THOUGHTS),
    ONE.refused("other-shape.json", Fault::BadShape, None),
    ONE.refused("absurd-index.json", Fault::WrongCount, None),
    ONE.refused("ends-early.json", Fault::Cut, None),
    ONE.refused("html.json", Fault::NotJson, None),
];
