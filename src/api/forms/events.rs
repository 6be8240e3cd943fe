//! Event streams, read as a whole and written.

use super::super::sse::Framer;
use super::json::compact;

/// One event of a recorded stream.
pub(super) struct Event {
    /// The `event:` field; empty if there was none, or if it says what none says, `message`.
    pub(super) name: String,
    /// The `data:` fields.
    pub(super) data: String,
}

impl Event {
    /// True for the `[DONE]` that ends the streams of some APIs and of some gateways.
    pub(super) fn is_done(&self) -> bool {
        self.name.is_empty() && self.data == "[DONE]"
    }
}

/// All events of a stream. Comments, `id:` and `retry:` belong to the transport and are dropped.
/// `None` unless the stream is whole and all text.
pub(super) fn read(stream: &[u8]) -> Option<Vec<Event>> {
    let mut events = Some(Vec::new());
    let mut framer = Framer::new();
    framer.push(stream, &mut |event| {
        let name = match event.name {
            b"message" => b"",
            name => name,
        };
        let read = (
            String::from_utf8(name.to_vec()),
            String::from_utf8(event.data.to_vec()),
        );
        match (read, &mut events) {
            ((Ok(name), Ok(data)), Some(events)) => events.push(Event { name, data }),
            _ => events = None,
        }
    });
    events.filter(|_| framer.finish())
}

/// Adds an event without a name.
pub(super) fn write(out: &mut Vec<u8>, json: &str) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(compact(json).as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// Adds an event with a name.
pub(super) fn write_named(out: &mut Vec<u8>, name: &str, json: &str) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
    write(out, json);
}
