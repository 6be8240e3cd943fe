//! The canonical form of a JSON body: one text for all spellings of the same request.
//!
//! Object keys are sorted, white space is gone, and a string has one spelling: UTF-8, with `\"`,
//! `\\` and `\u00xx` for control characters. Everything else stands as it was sent: the order of
//! arrays, the content of strings (no Unicode normalisation), and the lexemes of numbers, since
//! 1 and 1.0, or two integers above 2^53, are not the same to every provider.
//!
//! Two bodies have the same canonical text only if they are the same JSON value. Whatever leaves
//! room for two readings is refused instead, and more than RFC 8259 forbids is: duplicate keys and
//! lone surrogates. A refused body can still be passed through.
//!
//! One pass over the bytes, no tree. Memory and time are linear in the body; see [`BODY_BYTES_MAX`],
//! [`DEPTH_MAX`], [`MEMBERS_MAX`] and [`MOVES_PER_BYTE_MAX`].

use std::str;

use thiserror::Error;

use order::Member;
use scan::Scanner;

// Every offset these two slice by was counted by themselves on the same text; the fuzz target and
// the property tests hold them to it. Checked access would hide a wrong offset as a wrong key.
#[allow(clippy::indexing_slicing)]
mod order;
#[allow(clippy::indexing_slicing)]
mod scan;
mod text;

#[cfg(test)]
mod tests;

/// Longest body, in bytes: offsets in the canonical text, which may be three times as long
/// (`\n` becomes `\u000a`), are kept in 32 bits.
pub const BODY_BYTES_MAX: usize = 1 << 30;

/// Deepest nesting of arrays and objects, the body itself being the first. It bounds the scanner's
/// recursion, and no provider takes more.
pub const DEPTH_MAX: usize = 128;

/// Most members of one object. It bounds the time that sorting takes (millions of keys in one object
/// take seconds) and the memory for offsets; what clients send has hundreds at most.
pub const MEMBERS_MAX: usize = 1 << 16;

/// How often each byte of a body may be moved, on average, to put the members of objects in order.
/// An object that is out of order is moved once for each object around it that is, too; without a
/// bound, a body of 32 MiB with [`DEPTH_MAX`] of them would have 4 GiB moved. Real bodies need
/// about as much as their depth, and that is rarely above ten.
pub const MOVES_PER_BYTE_MAX: usize = 32;

/// Bytes that may be moved whatever the length of the body is: below about 40 KiB even the worst
/// body is cheap.
const MOVES_FREE: usize = 4 << 20;

const _: () = assert!(BODY_BYTES_MAX as u64 * 3 <= u32::MAX as u64);

/// The canonical form of a body. Without the ignored members it is still a JSON object.
#[derive(Clone, Debug)]
pub struct Canonical {
    text: Vec<u8>,
    /// The top-level members in the order of their keys.
    members: Vec<Member>,
}

/// Why a body has no canonical form. `at` is an offset in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reject {
    /// JSON perhaps, but not an object at the top.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// Not JSON by RFC 8259. A byte order mark is not JSON either.
    #[error("invalid JSON at byte {at}")]
    InvalidJson {
        /// Offset of the first byte that does not fit.
        at: usize,
    },
    /// Not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// An object has the same key twice, perhaps in two spellings, see also [`Sorting::Loosely`].
    /// Readers differ in which counts.
    #[error("duplicate key in an object")]
    DuplicateKey,
    /// Half of a surrogate pair. Readers replace it, refuse it or keep it.
    #[error("lone surrogate in a string")]
    LoneSurrogate,
    /// More than white space behind the object.
    #[error("trailing bytes at byte {at}")]
    TrailingBytes {
        /// Offset of the first of them.
        at: usize,
    },
    /// Deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX}")]
    TooDeep,
    /// Too much to put in order: an object of more than [`MEMBERS_MAX`], or members out of order on
    /// so many levels that it takes more than [`MOVES_PER_BYTE_MAX`].
    #[error("too many members to put in order")]
    TooTangled,
    /// Longer than [`BODY_BYTES_MAX`].
    #[error("longer than {BODY_BYTES_MAX} bytes")]
    TooLong,
}

impl Reject {
    /// The reason as a label, from a closed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Reject::NotAnObject => "not-an-object",
            Reject::InvalidJson { .. } => "invalid-json",
            Reject::InvalidUtf8 => "invalid-utf8",
            Reject::DuplicateKey => "duplicate-key",
            Reject::LoneSurrogate => "lone-surrogate",
            Reject::TrailingBytes { .. } => "trailing-bytes",
            Reject::TooDeep => "too-deep",
            Reject::TooTangled => "too-tangled",
            Reject::TooLong => "too-long",
        }
    }
}

/// Keys below which [`Sorting::Within`] goes on sorting: the parts of messages and tool calls. Below
/// any other the order counts again: tools with their schemas, and arguments that models print in the
/// order they get them, also come inside messages.
pub const TRANSPARENT: &[&str] = &[
    "audio",
    "cache_control",
    "content",
    "file",
    "function",
    "function_call",
    "image_url",
    "input_audio",
    "tool_calls",
];

/// Where the order of an object's members means nothing, so that all orders are one question. The
/// top level is always sorted.
#[derive(Clone, Copy, Debug)]
pub enum Sorting<'a> {
    /// In every object.
    Everywhere,
    /// Inside these top-level members, and there below [`TRANSPARENT`] keys, unless `content` is an
    /// object: a tool said it. Everywhere else the order is part of the question: schemas hide under
    /// many names, and providers answer in the order of a schema's properties.
    Within(&'a [&'a str]),
    /// The same for a server that takes names for one although their case or underscores differ: where
    /// members are sorted, two such names are refused. Which of them counts may depend on their order.
    Loosely(&'a [&'a str]),
}

/// The canonical form of `body`. Top-level members with a key in `ignored` are read as strictly as
/// the others and then left out. `sorting` says where the order of members means nothing.
pub fn canonicalize(
    body: &[u8],
    ignored: &[&str],
    sorting: Sorting<'_>,
) -> Result<Canonical, Reject> {
    if body.len() > BODY_BYTES_MAX {
        return Err(Reject::TooLong);
    }
    if str::from_utf8(body).is_err() {
        return Err(Reject::InvalidUtf8);
    }
    let moves_max = MOVES_FREE + MOVES_PER_BYTE_MAX * body.len();
    Scanner::new(body, moves_max, sorting).canonical(ignored)
}

/// A name as Go's JSON compares it: without regard to case, and with two letters beyond ASCII that
/// fold into it, the long s and the sign for kelvin.
pub fn without_case(name: &str) -> impl Iterator<Item = char> {
    name.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    })
}

impl Canonical {
    /// The canonical text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// The canonical text of a top-level member's value; `None` if there is no such member or it
    /// was ignored.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        let key = text::spelled(key);
        let found = self
            .members
            .binary_search_by(|member| member.key(&self.text).cmp(&key));
        let member = self.members.get(found.ok()?)?;
        Some(member.value(&self.text))
    }

    /// BLAKE3 of the canonical text without the top-level members of these keys.
    pub fn digest_without(&self, keys: &[&str]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"{");
        let mut first = true;
        for member in &self.members {
            if keys
                .iter()
                .any(|key| member.key(&self.text) == key.as_bytes())
            {
                continue;
            }
            if !first {
                hasher.update(b",");
            }
            hasher.update(member.bytes(&self.text));
            first = false;
        }
        hasher.update(b"}");
        *hasher.finalize().as_bytes()
    }

    /// The top-level members, key and value in canonical text, in the order of their keys.
    pub fn members(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let of = |member: &Member| (member.key(&self.text), member.value(&self.text));
        self.members.iter().map(of)
    }
}
