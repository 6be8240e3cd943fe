use super::super::Fault;
use super::ollama::{self, SPENT};
use super::{Ask, Row};

const LINES: Ask = Ask::json(
    "api/chat",
    r#"{"model":"llama3.2","messages":[{"role":"user","content":"a"}]}"#,
);
const ONE: Ask = Ask::json(
    "api/chat",
    r#"{"model":"llama3.2","messages":[{"role":"user","content":"a"}],"stream":false}"#,
);

pub(super) const SHARED: &[Row] = &ollama::rows(LINES, ONE);
pub(super) const ROWS: &[Row] = &[
    LINES.kept("thinking.ndjson", SPENT),
    LINES.kept("tools.ndjson", SPENT),
    LINES.refused("only-thinking.ndjson", Fault::Empty, SPENT),
    LINES.refused("tool-arguments-text.ndjson", Fault::BadToolCall, SPENT),
    ONE.kept("tools.json", SPENT),
    ONE.refused("tool-arguments-text.json", Fault::BadToolCall, SPENT),
];
