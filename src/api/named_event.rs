//! Streams whose events have a kind: in `event:`, in the data's `type`, or in both.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Fault;
use super::sse::Event;
use super::stream::Seen;
use super::wire::{Object, Text, text};

/// Some gateways put this behind every stream, also behind those whose grammar has another end.
const SENTINEL: &[u8] = b"[DONE]";

/// The kind of an event and its data as text. `None` for an event that reports an error, which
/// ends the stream, and for a bad frame: data that is not a JSON object, or a kind that is missing
/// or contradicts itself. Both are noted.
pub(super) fn read<'a>(event: Event<'a>, seen: &mut Seen) -> Option<(Cow<'a, str>, &'a str)> {
    match kind(event) {
        Ok(kind_and_data) => Some(kind_and_data),
        Err(fault) => {
            seen.fail(fault);
            if fault == Fault::ErrorObject {
                seen.end();
            }
            None
        }
    }
}

/// True for the `[DONE]` of gateways that end every stream the same way.
pub(super) fn is_sentinel(event: Event<'_>) -> bool {
    event.data == SENTINEL && event.name.is_empty()
}

fn kind<'a>(event: Event<'a>) -> Result<(Cow<'a, str>, &'a str), Fault> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<Text<'a>>,
        error: Option<IgnoredAny>,
    }
    if event.name == b"error" {
        return Err(Fault::ErrorObject);
    }
    let data = std::str::from_utf8(event.data).map_err(|_| Fault::BadFrame)?;
    let Object(head) =
        serde_json::from_str::<Object<Head<'_>>>(data).map_err(|_| Fault::BadFrame)?;
    if head.error.is_some() || text(&head.kind) == "error" {
        return Err(Fault::ErrorObject);
    }
    // "message" is what an event without a name is called.
    let name = match event.name {
        b"message" => b"",
        name => name,
    };
    match head.kind {
        Some(Text(kind)) if name.is_empty() || name == kind.as_bytes() => Ok((kind, data)),
        None if !name.is_empty() => Ok((String::from_utf8_lossy(name), data)),
        _ => Err(Fault::BadFrame),
    }
}
