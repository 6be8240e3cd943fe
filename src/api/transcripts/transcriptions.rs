use super::super::Fault;
use super::{Ask, Row, Tokens};

const WHOLE: Ask = Ask::form(
    "audio/transcriptions",
    "--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-4o-transcribe\r\n--XX--\r\n",
);
const TEXT: Ask = Ask::form(
    "audio/translations",
    "--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-4o-transcribe\r\n--XX\r\nContent-Disposition: form-data; name=\"response_format\"\r\n\r\nvtt\r\n--XX--\r\n",
);
const STREAM: Ask = Ask::form(
    "audio/transcriptions",
    "--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-4o-transcribe\r\n--XX\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--XX--\r\n",
);
const SPENT: Tokens = Some((14, 4));

pub(super) const ROWS: &[Row] = &[
    WHOLE.kept("plain.json", SPENT),
    WHOLE.kept("verbose.json", None),
    WHOLE.refused("ends-early.json", Fault::Cut, None),
    WHOLE.refused("error-under-200.json", Fault::ErrorObject, None),
    WHOLE.refused("html.json", Fault::NotJson, None),
    WHOLE.refused("no-text.json", Fault::BadShape, None),
    WHOLE.refused("empty.json", Fault::Empty, SPENT),
    TEXT.kept("plain.txt", None),
    TEXT.kept("cues.txt", None),
    TEXT.refused("nothing.txt", Fault::Empty, None),
    TEXT.refused("no-cues.txt", Fault::Empty, None),
    TEXT.refused("error-instead.txt", Fault::ErrorObject, None),
    STREAM.kept("plain.sse", SPENT),
    STREAM.kept("unnamed-events.sse", SPENT),
    STREAM.refused("no-end.sse", Fault::Cut, None),
    STREAM.refused("error.sse", Fault::ErrorObject, None),
    STREAM.refused("vllm.sse", Fault::BadFrame, None),
    STREAM.refused("after-end.sse", Fault::AfterEnd, SPENT),
    STREAM.refused("empty.sse", Fault::Empty, SPENT),
];
