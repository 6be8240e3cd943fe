//! The two forms of an answer, JSON and event stream, made from each other.
//!
//! The rule: every field survives, or there is no conversion. A caller that gets `None` treats the
//! other form as a miss, and both are kept.
//!
//! - Every member of every frame is consumed by a rule of its grammar; one that has none is refused
//!   unless it can be read in one way only: at the top of all chunks alike, or whole in one delta.
//! - What was made is proved. A stream made from JSON must fold to the same JSON. A folded stream
//!   must unfold and fold to itself. The same means: equal but for the order of keys, white space
//!   and the spelling of strings. Numbers keep their digits.
//! - Left out, since they are not part of the answer: comments, `id:` and `retry:` lines, pings,
//!   the moments at which text was cut, the order of pieces that are different fields of the answer,
//!   and `obfuscation`, which OpenAI adds to hide the length of pieces.
//!
//! Only answers that were judged complete and good come here. Pure and bounded: at most
//! [`BYTES_MAX`] in and out, and time linear in that.

use super::{Api, Variant};
use crate::key::canonical::{Sorting, canonicalize};

mod chat;
mod compare;
mod events;
mod json;
mod merge;
mod messages;
mod responses;
#[cfg(test)]
mod tests;

/// Longest answer that is converted, and longest result, in bytes. A conversion holds a few copies
/// of it.
pub const BYTES_MAX: usize = 16 << 20;

/// The variants in which answers of this API are kept and can be made from each other.
pub fn all(api: Api) -> &'static [Variant] {
    match api {
        Api::OpenAiChat => &[Variant::StreamUsage, Variant::Stream, Variant::Json],
        Api::OpenAiResponses | Api::AnthropicMessages => &[Variant::Stream, Variant::Json],
        _ => &[],
    }
}

/// The variants that one can be made from, the most promising first.
pub fn sources(api: Api, wanted: &Variant) -> impl Iterator<Item = &'static Variant> {
    let others = match wanted {
        Variant::Json | Variant::Stream | Variant::StreamUsage => all(api),
        Variant::Other(_) | Variant::InBody => &[],
    };
    // A stream without usage lacks what a stream with usage says.
    let lacks = |from: &Variant| *wanted == Variant::StreamUsage && *from == Variant::Stream;
    let of_use = others.iter().filter(move |from| !lacks(from));
    let wanted = wanted.clone();
    of_use.filter(move |from| **from != wanted)
}

/// An answer recorded in one variant, in another. `None` if a field would be lost or if that cannot
/// be told.
pub fn convert(api: Api, from: &Variant, to: &Variant, body: &[u8]) -> Option<Vec<u8>> {
    match (from, to) {
        (Variant::StreamUsage, Variant::Stream) => without_usage(api, body),
        (Variant::Stream | Variant::StreamUsage, Variant::Json) => to_json(api, body),
        (Variant::Json, Variant::Stream) => to_stream(api, body, false),
        (Variant::Json, Variant::StreamUsage) => to_stream(api, body, true),
        _ => None,
    }
}

/// The JSON answer that says the same as this recorded stream, which was judged complete and good.
/// `None` if a field would be lost or if that cannot be told.
pub fn to_json(api: Api, stream: &[u8]) -> Option<Vec<u8>> {
    if stream.len() > BYTES_MAX {
        return None;
    }
    let json = match api {
        Api::OpenAiChat => chat::to_json(stream),
        Api::OpenAiResponses => responses::to_json(stream),
        Api::AnthropicMessages => messages::to_json(stream),
        _ => None,
    }?;
    bounded(json::compact(std::str::from_utf8(&json).ok()?).into_bytes())
}

/// The event stream that says the same as this JSON answer, which was judged complete and good.
/// `usage`: the request asked for `stream_options.include_usage`, which only chat completions know.
/// `None` if a field would be lost or if that cannot be told.
pub fn to_stream(api: Api, json: &[u8], usage: bool) -> Option<Vec<u8>> {
    if json.len() > BYTES_MAX {
        return None;
    }
    let json = std::str::from_utf8(json).ok()?;
    bounded(match api {
        Api::OpenAiChat => chat::to_stream(json, usage),
        Api::OpenAiResponses => responses::to_stream(json),
        Api::AnthropicMessages => messages::to_stream(json),
        _ => None,
    }?)
}

/// A stream that was recorded with `include_usage`, as it is for a client that did not ask for
/// usage: without the last chunk, which has no choices, and without `"usage":null` in the others.
/// Everything else is byte for byte the same. A stream without any usage is returned as it is.
/// `None` if there is usage anywhere else, and for APIs whose streams know no such option.
pub fn without_usage(api: Api, stream: &[u8]) -> Option<Vec<u8>> {
    match api {
        Api::OpenAiChat | Api::OpenAiCompletions if stream.len() <= BYTES_MAX => {
            chat::without_usage(stream)
        }
        _ => None,
    }
}

/// Longest stream that is made of this answer, in bytes: the events repeat what stands around the
/// text, and how often is up to the answer.
fn stream_bytes_max(json: &str) -> usize {
    let max = json.len().saturating_mul(16).saturating_add(64 << 10);
    max.min(BYTES_MAX)
}

fn bounded(made: Vec<u8>) -> Option<Vec<u8>> {
    (made.len() <= BYTES_MAX).then_some(made)
}

/// True if two texts are the same JSON value, numbers digit by digit. False as well if either has a
/// key twice or half of a surrogate pair.
fn same(a: &str, b: &str) -> bool {
    let canonical = |text: &str| canonicalize(text.as_bytes(), &[], Sorting::Everywhere).ok();
    match (canonical(a), canonical(b)) {
        (Some(a), Some(b)) => a.as_bytes() == b.as_bytes(),
        _ => false,
    }
}
