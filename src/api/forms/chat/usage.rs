//! A stream with usage, as it is for a client that did not ask for usage.

use super::super::events;
use super::super::json::{Fields, is_null, items, mentions_key};

/// Members of the last chunk that say nothing but which answer it belongs to, and its usage.
const HEAD: &[&str] = &[
    "id",
    "object",
    "created",
    "model",
    "choices",
    "usage",
    "obfuscation",
];

/// See [`super::super::without_usage`].
pub(in super::super) fn without_usage(stream: &[u8]) -> Option<Vec<u8>> {
    if !events::read(stream)?.last()?.is_done() {
        return None;
    }
    let mut out = Vec::with_capacity(stream.len());
    let mut before: Vec<(String, String)> = Vec::new();
    let mut ended = false;
    for frame in frames(stream) {
        let mut found = events::read(frame)?;
        let Some(event) = found.pop() else {
            out.extend_from_slice(frame);
            continue;
        };
        if event.is_done() {
            out.extend_from_slice(frame);
            continue;
        }
        // A chunk behind the one with the usage.
        if ended || !found.is_empty() {
            return None;
        }
        let chunk = Fields::read(&event.data)?;
        if mentions_key(&chunk.clone().without(&["usage"]).json(), "usage") {
            return None;
        }
        match chunk.get("usage") {
            None => out.extend_from_slice(frame),
            Some(value) if is_null(value) => out.extend_from_slice(&cut(frame, &event.data)?),
            Some(_) => {
                let empty = items(chunk.get("choices")?)?.is_empty();
                let told = chunk.iter().all(|(key, value)| {
                    HEAD.contains(&key)
                        || is_null(value)
                        || before.iter().any(|(k, v)| k == key && v == value)
                });
                if !empty || !told {
                    return None;
                }
                ended = true;
            }
        }
        before = chunk
            .iter()
            .filter(|(key, _)| !HEAD.contains(key))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
    }
    Some(out)
}

/// The stream in frames, each with the blank line that ends it.
fn frames(stream: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let (mut rest, mut frame_len) = (stream, 0);
    while let Some((line, end)) = next_line(rest.get(frame_len..).unwrap_or_default()) {
        frame_len += end;
        if line == 0 {
            let (frame, tail) = rest.split_at_checked(frame_len).unwrap_or((rest, &[]));
            frames.push(frame);
            (rest, frame_len) = (tail, 0);
        }
    }
    // What follows the last blank line: whole comments.
    frames.extend((!rest.is_empty()).then_some(rest));
    frames
}

/// Length of the first line without and with its end.
fn next_line(text: &[u8]) -> Option<(usize, usize)> {
    let line = memchr::memchr2(b'\n', b'\r', text)?;
    let end = match text.get(line..) {
        Some([b'\r', b'\n', ..]) => 2,
        _ => 1,
    };
    Some((line, line + end))
}

/// The frame without `"usage":null`, everything else byte for byte. `None` if the data is spread
/// over several lines or the member is spelled in another way.
fn cut(frame: &[u8], data: &str) -> Option<Vec<u8>> {
    let at = memchr::memmem::find(frame, data.as_bytes())?;
    let (key, end) = member(data)?;
    let head = data.get(..key)?.trim_end();
    let tail = data.get(end..)?;
    let (from, to) = match head.strip_suffix(',') {
        Some(head) => (head.len(), end),
        None => {
            let rest = tail.trim_start();
            let rest = rest.strip_prefix(',').map_or(rest, str::trim_start);
            (key, data.len() - rest.len())
        }
    };
    let mut out = frame.get(..at + from)?.to_vec();
    out.extend_from_slice(frame.get(at + to..)?);
    // Proof: the same chunk, but for the member.
    let left = events::read(&out)?.pop()?.data;
    let left: Vec<(String, String)> = owned(&Fields::read(&left)?);
    (left == owned(&Fields::read(data)?.without(&["usage"]))).then_some(out)
}

fn owned(fields: &Fields<'_>) -> Vec<(String, String)> {
    fields
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Where the key and the value of `"usage": null` begin and end. What is cut is checked by the
/// caller, so that the first such text outside of strings that fits will do.
fn member(data: &str) -> Option<(usize, usize)> {
    const KEY: &str = "\"usage\"";
    data.match_indices(KEY).find_map(|(at, _)| {
        let rest = data.get(at + KEY.len()..)?.trim_start();
        let value = rest.strip_prefix(':')?.trim_start();
        let behind = value.strip_prefix("null")?;
        Some((at, data.len() - behind.len()))
    })
}
