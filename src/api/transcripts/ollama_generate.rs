use super::super::Fault;
use super::{Ask, Row, Tokens};

const LINES: Ask = Ask::json("api/generate", r#"{"model":"llama3.2","prompt":"a"}"#);
const ONE: Ask = Ask::json(
    "api/generate",
    r#"{"model":"llama3.2","prompt":"a","stream":false}"#,
);
const SPENT: Tokens = Some((26, 298));

pub(super) const ROWS: &[Row] = &[
    LINES.kept("plain.ndjson", SPENT),
    LINES.kept("crlf.ndjson", SPENT),
    LINES.kept("blank-lines.ndjson", SPENT),
    LINES.kept("no-last-line-end.ndjson", SPENT),
    LINES.refused("ends-early.ndjson", Fault::Cut, None),
    LINES.refused("ends-inside-a-line.ndjson", Fault::Cut, None),
    LINES.refused("error-midstream.ndjson", Fault::ErrorObject, None),
    LINES.refused("after-done.ndjson", Fault::AfterEnd, SPENT),
    LINES.refused("bad-frame.ndjson", Fault::BadFrame, SPENT),
    LINES.refused("array-line.ndjson", Fault::BadFrame, SPENT),
    LINES.refused("length.ndjson", Fault::Length, SPENT),
    LINES.refused("load.ndjson", Fault::Empty, None),
    LINES.refused("unload.ndjson", Fault::Empty, None),
    LINES.refused("empty.ndjson", Fault::Empty, SPENT),
    ONE.kept("picture.json", SPENT),
    ONE.refused("only-thinking.json", Fault::Empty, SPENT),
    ONE.kept("plain.json", SPENT),
    ONE.kept("no-usage.json", None),
    ONE.kept("no-done-reason.json", None),
    ONE.refused("length.json", Fault::Length, SPENT),
    ONE.refused("load.json", Fault::Empty, None),
    ONE.refused("empty.json", Fault::Empty, SPENT),
    ONE.refused("not-done.json", Fault::IncompleteStatus, None),
    ONE.refused("done-missing.json", Fault::BadShape, None),
    ONE.refused("other-shape.json", Fault::BadShape, None),
    ONE.refused("error-under-200.json", Fault::ErrorObject, None),
    ONE.refused("lines.json", Fault::NotJson, None),
    ONE.refused("ends-early.json", Fault::Cut, None),
    ONE.refused("html.json", Fault::NotJson, None),
];
