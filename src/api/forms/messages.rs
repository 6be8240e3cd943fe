//! Anthropic messages.

use super::events;
use super::json::{Fields, items, object, string, text};
use super::{same, stream_bytes_max};

mod fold;

/// What a block's deltas carry: the block's type, its member, the delta's type and its member.
struct Piece {
    block: &'static str,
    member: &'static str,
    delta: &'static str,
    carries: &'static str,
}

/// Texts in pieces. A signature comes whole: clients replace it.
const TEXTS: &[Piece] = &[
    Piece {
        block: "text",
        member: "text",
        delta: "text_delta",
        carries: "text",
    },
    Piece {
        block: "thinking",
        member: "thinking",
        delta: "thinking_delta",
        carries: "thinking",
    },
    Piece {
        block: "thinking",
        member: "signature",
        delta: "signature_delta",
        carries: "signature",
    },
];

/// Blocks whose `input` comes in pieces of JSON text.
const TOOLS: &[&str] = &["tool_use", "server_tool_use", "mcp_tool_use"];

/// Members of a message that its end says, not its begin.
const AT_THE_END: &[&str] = &["stop_reason", "stop_sequence", "stop_details", "container"];

/// Counts that are cumulative: the end replaces what the begin said.
const CUMULATIVE: &[&str] = &[
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
];

/// See [`super::to_json`].
pub(super) fn to_json(stream: &[u8]) -> Option<Vec<u8>> {
    let folded = fold::fold(stream)?;
    let again = fold::fold(&expand(&folded)?)?;
    same(&again, &folded).then(|| folded.into_bytes())
}

/// See [`super::to_stream`].
pub(super) fn to_stream(json: &str) -> Option<Vec<u8>> {
    let stream = expand(json)?;
    same(&fold::fold(&stream)?, json).then_some(stream)
}

fn write(out: &mut Vec<u8>, kind: &str, rest: &[(&str, &str)]) {
    let quoted = string(kind);
    let mut event = object([("type", quoted.as_str())]);
    for (key, value) in rest {
        event.set(key, *value);
    }
    events::write_named(out, kind, &event.json());
}

/// One start and one stop for each block, and one delta for each of its texts.
fn expand(json: &str) -> Option<Vec<u8>> {
    let message = Fields::read(json)?;
    if !message.says("type", "message") {
        return None;
    }
    let usage = Fields::read(message.get("usage")?)?;
    let mut out = Vec::new();

    let mut start = message.clone().with("content", "[]");
    for key in AT_THE_END {
        start = start.with_if_there(key, "null");
    }
    let start = start.with("usage", start_usage(&usage)?).json();
    write(&mut out, "message_start", &[("message", &start)]);

    for (index, block) in items(message.get("content")?)?.into_iter().enumerate() {
        expand_block(&mut out, &index.to_string(), &Fields::read(block)?)?;
        if out.len() > stream_bytes_max(json) {
            return None;
        }
    }

    let mut delta = Fields::default();
    for key in AT_THE_END {
        if let Some(value) = message.get(key) {
            delta.set(key, value);
        }
    }
    let mut counts = Fields::default();
    for key in CUMULATIVE {
        if let Some(value) = usage.some(key) {
            counts.set(key, value);
        }
    }
    let (delta, counts) = (delta.json(), counts.json());
    write(
        &mut out,
        "message_delta",
        &[("delta", &delta), ("usage", &counts)],
    );
    write(&mut out, "message_stop", &[]);
    Some(out)
}

/// What is known before the first token. Details of the output are not; where there are none, the
/// null stays, as the end has no place for it.
fn start_usage(usage: &Fields<'_>) -> Option<String> {
    usage.some("output_tokens")?;
    let late: Vec<&str> = ["output_tokens_details", "server_tool_use"]
        .into_iter()
        .filter(|key| usage.some(key).is_some())
        .collect();
    Some(
        usage
            .clone()
            .without(&late)
            .with("output_tokens", "0")
            .json(),
    )
}

fn expand_block(out: &mut Vec<u8>, index: &str, block: &Fields<'_>) -> Option<()> {
    let kind = text(block.get("type")?)?;
    let mut start = block.clone();
    let mut deltas = Vec::new();
    for piece in TEXTS.iter().filter(|piece| piece.block == kind) {
        let Some(value) = block.get(piece.member) else {
            continue;
        };
        if text(value)?.is_empty() {
            continue;
        }
        start.set(piece.member, "\"\"");
        deltas.push((piece.delta, piece.carries, value.to_owned()));
    }
    if kind == "text"
        && let Some(citations) = block.some("citations")
    {
        start.set("citations", "[]");
        for citation in items(citations)? {
            deltas.push(("citations_delta", "citation", citation.to_owned()));
        }
    }
    if TOOLS.contains(&&*kind) {
        let input = Fields::read(block.get("input")?)?;
        start.set("input", "{}");
        if !input.is_empty() {
            let input = super::json::compact(block.get("input")?);
            deltas.push(("input_json_delta", "partial_json", string(&input)));
        }
    }
    let start = start.json();
    write(
        out,
        "content_block_start",
        &[("index", index), ("content_block", &start)],
    );
    for (kind, carries, value) in deltas {
        let kind = string(kind);
        let delta = object([("type", kind.as_str()), (carries, &value)]).json();
        write(
            out,
            "content_block_delta",
            &[("index", index), ("delta", &delta)],
        );
    }
    write(out, "content_block_stop", &[("index", index)]);
    Some(())
}
