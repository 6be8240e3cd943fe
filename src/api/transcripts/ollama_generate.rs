use super::super::Fault;
use super::ollama::{self, SPENT};
use super::{Ask, Row};

const LINES: Ask = Ask::json("api/generate", r#"{"model":"llama3.2","prompt":"a"}"#);
const ONE: Ask = Ask::json(
    "api/generate",
    r#"{"model":"llama3.2","prompt":"a","stream":false}"#,
);

pub(super) const SHARED: &[Row] = &ollama::rows(LINES, ONE);
pub(super) const ROWS: &[Row] = &[
    ONE.kept("picture.json", SPENT),
    ONE.refused("only-thinking.json", Fault::Empty, SPENT),
];
