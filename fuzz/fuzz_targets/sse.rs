//! However a stream is cut into chunks, it has the same events and the same end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_cache_server::api::sse::{Event, Framer};

type Events = Vec<(Vec<u8>, Vec<u8>)>;

fn frame<'c>(chunks: impl Iterator<Item = &'c [u8]>) -> (Events, bool) {
    let mut framer = Framer::new();
    let mut events = Vec::new();
    for chunk in chunks {
        framer.push(chunk, &mut |event: Event<'_>| {
            events.push((event.name.to_vec(), event.data.to_vec()));
        });
    }
    (events, framer.finish())
}

// The first bytes are the lengths of the chunks, over and over; the rest is the stream.
fuzz_target!(|input: ([u8; 4], &[u8])| {
    let (mut lengths, stream) = input;
    // Some chunks may be empty, but not all.
    lengths[0] = lengths[0].max(1);
    let whole = frame([stream].into_iter());
    assert_eq!(frame(stream.chunks(1)), whole);

    let mut rest = stream;
    let mut lengths = lengths.into_iter().cycle();
    let pieces = std::iter::from_fn(|| {
        if rest.is_empty() {
            return None;
        }
        let len = usize::from(lengths.next()?).min(rest.len());
        let (chunk, tail) = rest.split_at(len);
        rest = tail;
        Some(chunk)
    });
    assert_eq!(frame(pieces), whole);
});
