//! What the chat and the generate API of Ollama have in common.

use super::super::Fault;
use super::{Ask, Row, Tokens};

pub(super) const SPENT: Tokens = Some((26, 298));

/// Answers to a request for lines, and to one for a single object.
pub(super) const fn rows(lines: Ask, one: Ask) -> [Row; 27] {
    [
        lines.kept("plain.ndjson", SPENT),
        lines.kept("crlf.ndjson", SPENT),
        lines.kept("blank-lines.ndjson", SPENT),
        lines.kept("no-last-line-end.ndjson", SPENT),
        lines.refused("ends-early.ndjson", Fault::Cut, None),
        lines.refused("ends-inside-a-line.ndjson", Fault::Cut, None),
        lines.refused("error-midstream.ndjson", Fault::ErrorObject, None),
        lines.refused("after-done.ndjson", Fault::AfterEnd, SPENT),
        lines.refused("bad-frame.ndjson", Fault::BadFrame, SPENT),
        lines.refused("array-line.ndjson", Fault::BadFrame, SPENT),
        lines.refused("length.ndjson", Fault::Length, SPENT),
        lines.refused("load.ndjson", Fault::Empty, None),
        lines.refused("unload.ndjson", Fault::Empty, None),
        lines.refused("empty.ndjson", Fault::Empty, SPENT),
        one.kept("plain.json", SPENT),
        one.kept("no-usage.json", None),
        one.kept("no-done-reason.json", None),
        one.refused("length.json", Fault::Length, SPENT),
        one.refused("load.json", Fault::Empty, None),
        one.refused("empty.json", Fault::Empty, SPENT),
        one.refused("not-done.json", Fault::IncompleteStatus, None),
        one.refused("done-missing.json", Fault::BadShape, None),
        one.refused("other-shape.json", Fault::BadShape, None),
        one.refused("error-under-200.json", Fault::ErrorObject, None),
        one.refused("lines.json", Fault::NotJson, None),
        one.refused("ends-early.json", Fault::Cut, None),
        one.refused("html.json", Fault::NotJson, None),
    ]
}
