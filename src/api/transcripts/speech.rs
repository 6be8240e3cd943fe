use super::super::Fault;
use super::{Ask, Row, Tokens};

const SOUND: Ask = Ask::json(
    "audio/speech",
    r#"{"model":"tts-1","input":"Hi","voice":"alloy"}"#,
);
const STREAM: Ask = Ask::json(
    "audio/speech",
    r#"{"model":"gpt-4o-mini-tts","input":"Hi","voice":"alloy","stream_format":"sse"}"#,
);
const SPENT: Tokens = Some((14, 101));

pub(super) const ROWS: &[Row] = &[
    SOUND.kept("plain.bin", None),
    SOUND.refused("nothing.bin", Fault::Empty, None),
    SOUND.refused("error-instead.bin", Fault::ErrorObject, None),
    SOUND.refused("object-instead.bin", Fault::ErrorObject, None),
    SOUND.refused("html-instead.bin", Fault::ErrorObject, None),
    SOUND.refused("only-a-header.bin", Fault::Empty, None),
    STREAM.kept("plain.sse", SPENT),
    STREAM.refused("no-end.sse", Fault::Cut, None),
    STREAM.refused("error.sse", Fault::ErrorObject, None),
    STREAM.refused("bad-frame.sse", Fault::BadFrame, SPENT),
    STREAM.refused("after-end.sse", Fault::AfterEnd, SPENT),
    STREAM.refused("empty.sse", Fault::Empty, SPENT),
];
