//! What is published of an answer: frames, each with a checksum over what it says and where it stands.
//!
//! ```text
//! tag u8 · length u32 · xxh3-64 of (offset of the frame, tag, payload) · payload
//! ```
//!
//! One answer always gives the same bytes, so that a log that was lost can be written anew under those who
//! read it; only a leader without its lease adds signs of life.

use http::{HeaderName, HeaderValue};
use xxhash_rust::xxh3::Xxh3Default;

use crate::cache::flight::Head;
use crate::store::record::Reader;

const TAG_HEAD: u8 = b'h';
const TAG_PIECE: u8 = b'p';
const TAG_END: u8 = b'e';
const TAG_STORED: u8 = b's';
const TAG_BREAK: u8 = b'x';
const TAG_ALIVE: u8 = b'a';
const PREFIX: usize = 13;
/// No frame is longer: a head or a piece as it came from an upstream.
pub const FRAME_MAX: usize = 16 << 20;
/// More headers than are ever replayed.
const HEADERS_MAX: u16 = 64;

/// A frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// The head, for everyone.
    Head(HeadFrame),
    /// A piece of the body.
    Piece(Vec<u8>),
    /// The answer is complete; it has so many bytes.
    End(u64),
    /// The answer is complete, and stored.
    Stored,
    /// Nothing more will come, and it is not complete: ask for yourself.
    Break,
    /// There is nothing new, and the leader goes on, although somebody else has the lease.
    Alive,
}

/// What is told of a head.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadFrame {
    /// Length of the body, if it is known.
    pub content_length: Option<u64>,
    /// When it was stored, if it was found instead of asked for.
    pub stored_ms: Option<u64>,
    /// Headers for everyone.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl HeadFrame {
    /// Of an answer with status 200; of others nothing is told.
    pub fn of(head: &Head) -> HeadFrame {
        HeadFrame {
            content_length: head.content_length,
            stored_ms: head.stored_ms,
            headers: head.shared_headers.clone(),
        }
    }

    /// Whether clients read it as it comes.
    pub fn is_stream(&self) -> bool {
        self.headers.iter().any(|(name, value)| {
            let is = |kind: &[u8]| memchr::memmem::find(value.as_bytes(), kind).is_some();
            name == http::header::CONTENT_TYPE && (is(b"event-stream") || is(b"ndjson"))
        })
    }

    /// The head that followers get.
    pub fn head(self) -> Head {
        Head {
            status: 200,
            headers: self.headers.clone(),
            shared_headers: self.headers,
            stored_ms: self.stored_ms,
            content_length: self.content_length,
        }
    }
}

/// Appends a frame that will stand at `offset`.
pub fn encode(frame: &Frame, offset: u64, out: &mut Vec<u8>) {
    let (tag, payload) = match frame {
        Frame::Head(head) => (TAG_HEAD, head_bytes(head)),
        Frame::Piece(piece) => {
            write(TAG_PIECE, piece, offset, out);
            return;
        }
        Frame::End(length) => (TAG_END, length.to_le_bytes().to_vec()),
        Frame::Stored => (TAG_STORED, Vec::new()),
        Frame::Break => (TAG_BREAK, Vec::new()),
        Frame::Alive => (TAG_ALIVE, Vec::new()),
    };
    write(tag, &payload, offset, out);
}

fn write(tag: u8, payload: &[u8], offset: u64, out: &mut Vec<u8>) {
    out.push(tag);
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(tag, payload, offset).to_le_bytes());
    out.extend_from_slice(payload);
}

fn checksum(tag: u8, payload: &[u8], offset: u64) -> u64 {
    let mut checksum = Xxh3Default::new();
    checksum.update(&offset.to_le_bytes());
    checksum.update(&[tag]);
    checksum.update(payload);
    checksum.digest()
}

fn head_bytes(head: &HeadFrame) -> Vec<u8> {
    let mut out = Vec::new();
    for number in [head.content_length, head.stored_ms] {
        out.extend_from_slice(&number.unwrap_or(u64::MAX).to_le_bytes());
    }
    out.extend_from_slice(
        &u16::try_from(head.headers.len())
            .unwrap_or(u16::MAX)
            .to_le_bytes(),
    );
    for (name, value) in &head.headers {
        for part in [name.as_str().as_bytes(), value.as_bytes()] {
            out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(part);
        }
    }
    out
}

/// What is read is not what was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged;

/// The first frame of `bytes`, which stands at `offset`, and its length; `None` if it is not all there yet.
pub fn decode(bytes: &[u8], offset: u64) -> Result<Option<(Frame, usize)>, Damaged> {
    let mut rest = Reader(bytes);
    let Ok(tag) = rest.u8() else { return Ok(None) };
    let (Ok(length), Ok(sum)) = (rest.u32(), rest.u64()) else {
        return Ok(None);
    };
    let length = length as usize;
    if length > FRAME_MAX {
        return Err(Damaged);
    }
    let Ok(payload) = rest.take(length) else {
        return Ok(None);
    };
    if checksum(tag, payload, offset) != sum {
        return Err(Damaged);
    }
    let frame = match tag {
        TAG_HEAD => Frame::Head(read_head(payload).ok_or(Damaged)?),
        TAG_PIECE => Frame::Piece(payload.to_vec()),
        TAG_END => Frame::End(u64::from_le_bytes(payload.try_into().map_err(|_| Damaged)?)),
        TAG_STORED => Frame::Stored,
        TAG_BREAK => Frame::Break,
        TAG_ALIVE => Frame::Alive,
        _ => return Err(Damaged),
    };
    Ok(Some((frame, PREFIX + length)))
}

fn read_head(payload: &[u8]) -> Option<HeadFrame> {
    let mut rest = Reader(payload);
    let (content_length, stored_ms) = (rest.u64().ok()?, rest.u64().ok()?);
    let known = |number: u64| Some(number).filter(|number| *number != u64::MAX);
    let count = rest.u16().ok()?;
    if count > HEADERS_MAX {
        return None;
    }
    let mut headers = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let length = rest.u32().ok()? as usize;
        let name = HeaderName::from_lowercase(rest.take(length).ok()?).ok()?;
        let length = rest.u32().ok()? as usize;
        let value = HeaderValue::from_bytes(rest.take(length).ok()?).ok()?;
        headers.push((name, value));
    }
    Some(HeadFrame {
        content_length: known(content_length),
        stored_ms: known(stored_ms),
        headers,
    })
}

#[cfg(test)]
mod tests;
