//! The record: one value per entry, self-describing and checked.
//!
//! Layout, all integers little-endian:
//!
//! ```text
//! magic "LLMR" · version u16 · flags u16 · key 32 · stored_ms u64 · expires_ms u64
//! · generation u64 · about · status u16 · input u64 · output u64 · header count u16
//! · (name length u16 · name · value length u32 · value)*
//! · chunk count u32 · (end offset u32 · arrival ms u32)* · body length u32 · body
//! · checksum u64 (xxh3-64 of everything before it)
//! ```
//!
//! The full key and the checksum are compared on every read from disk or network; whatever does
//! not match is a miss, never an answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use super::about::About;
use crate::key::Key;

const MAGIC: &[u8; 4] = b"LLMR";
/// Raised whenever the layout changes; other versions are refused, which makes them misses.
pub const FORMAT_VERSION: u16 = 2;
const FLAG_USAGE: u16 = 1;
const FLAG_STREAM: u16 = 2;
const CHECKSUM_LEN: usize = 8;
/// More headers than any provider sends; a count beyond it means a damaged record.
const HEADERS_MAX: u16 = 256;

/// One stored answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The full key digest this answer belongs to.
    pub key: Key,
    /// When the answer was complete, milliseconds since the Unix epoch.
    pub stored_ms: u64,
    /// From when on the answer is no longer fresh, milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// How many purges there had been when the upstream was asked: those that came later cover it.
    pub generation: u64,
    /// What it is about.
    pub about: Arc<About>,
    /// HTTP status, always 2xx.
    pub status: u16,
    /// True if the body is an event stream.
    pub stream: bool,
    /// Headers that are safe to replay, in the upstream's order.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body as received, identity encoding.
    pub body: Bytes,
    /// How the body arrived, for replay in the recorded rhythm.
    pub chunks: Vec<Chunk>,
    /// Tokens the provider counted, if it said so: (input, output).
    pub usage: Option<(u64, u64)>,
}

/// One piece of the body as it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Offset in the body just behind this piece.
    pub end: u32,
    /// Milliseconds after the response header.
    pub at_ms: u32,
}

/// Why bytes are not a record. Every variant is a miss and counts as corrupt, but for
/// [`RecordError::Version`], which an older or newer server wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Shorter than its own lengths say, or longer.
    #[error("record is truncated or has trailing bytes")]
    Length,
    /// Does not begin with the magic number.
    #[error("not a record")]
    Magic,
    /// Written by another format version.
    #[error("record has format version {0}, this server reads {FORMAT_VERSION}")]
    Version(u16),
    /// The checksum does not match.
    #[error("record checksum does not match")]
    Checksum,
    /// A header, chunk table or status is impossible.
    #[error("record has an impossible field")]
    Field,
    /// The record belongs to another key.
    #[error("record belongs to another key")]
    Key,
}

impl Record {
    /// Serialises the record. The body must be shorter than 4 GiB, which `limits.answer_bytes_max`
    /// guarantees for answers recorded by this server.
    pub fn encode(&self) -> Vec<u8> {
        let headers_len: usize = self
            .headers
            .iter()
            .map(|(n, v)| 6 + n.as_str().len() + v.len())
            .sum();
        let mut out = Vec::with_capacity(
            128 + self.about.encoded_len()
                + headers_len
                + self.chunks.len() * 8
                + self.body.len()
                + CHECKSUM_LEN,
        );
        let mut flags = 0;
        if self.usage.is_some() {
            flags |= FLAG_USAGE;
        }
        if self.stream {
            flags |= FLAG_STREAM;
        }
        let (input, output) = self.usage.unwrap_or_default();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(self.key.as_bytes());
        out.extend_from_slice(&self.stored_ms.to_le_bytes());
        out.extend_from_slice(&self.expires_ms.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        self.about.encode(&mut out);
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&input.to_le_bytes());
        out.extend_from_slice(&output.to_le_bytes());
        out.extend_from_slice(&(self.headers.len() as u16).to_le_bytes());
        for (name, value) in &self.headers {
            out.extend_from_slice(&(name.as_str().len() as u16).to_le_bytes());
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(value.as_bytes());
        }
        out.extend_from_slice(&(self.chunks.len() as u32).to_le_bytes());
        for chunk in &self.chunks {
            out.extend_from_slice(&chunk.end.to_le_bytes());
            out.extend_from_slice(&chunk.at_ms.to_le_bytes());
        }
        out.extend_from_slice(&(self.body.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.body);
        let checksum = xxh3_64(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a record back, checking length, version and checksum.
    pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
        let payload_len = bytes
            .len()
            .checked_sub(CHECKSUM_LEN)
            .ok_or(RecordError::Length)?;
        let (payload, checksum) = bytes.split_at(payload_len);
        let mut rest = Reader(payload);
        if rest.take(4)? != MAGIC {
            return Err(RecordError::Magic);
        }
        let version = rest.u16()?;
        if version != FORMAT_VERSION {
            return Err(RecordError::Version(version));
        }
        if xxh3_64(payload).to_le_bytes() != checksum {
            return Err(RecordError::Checksum);
        }
        let flags = rest.u16()?;
        let key = Key::from_bytes(rest.array()?);
        let stored_ms = rest.u64()?;
        let expires_ms = rest.u64()?;
        let generation = rest.u64()?;
        let about = Arc::new(About::decode(&mut rest)?);
        let status = rest.u16()?;
        if !(200..300).contains(&status) || flags & !(FLAG_USAGE | FLAG_STREAM) != 0 {
            return Err(RecordError::Field);
        }
        let (input, output) = (rest.u64()?, rest.u64()?);
        let usage = (flags & FLAG_USAGE != 0).then_some((input, output));
        if usage.is_none() && (input, output) != (0, 0) {
            return Err(RecordError::Field);
        }
        let headers = rest.headers()?;
        let chunks = rest.chunks()?;
        let body_len = rest.u32()? as usize;
        let body = Bytes::copy_from_slice(rest.take(body_len)?);
        if !rest.0.is_empty() {
            return Err(RecordError::Length);
        }
        if chunks.last().is_some_and(|c| c.end as usize > body_len) {
            return Err(RecordError::Field);
        }
        Ok(Record {
            key,
            stored_ms,
            expires_ms,
            generation,
            about,
            status,
            stream: flags & FLAG_STREAM != 0,
            headers,
            body,
            chunks,
            usage,
        })
    }

    /// Reads a record and makes sure that it is the one asked for.
    pub fn decode_for(key: &Key, bytes: &[u8]) -> Result<Record, RecordError> {
        let record = Record::decode(bytes)?;
        if record.key != *key {
            return Err(RecordError::Key);
        }
        Ok(record)
    }

    /// Bytes this record occupies in memory, roughly: body, headers, chunk table and bookkeeping.
    pub fn weight(&self) -> usize {
        /// The struct itself, its `Arc`, and the cache's own slot.
        const FIXED: usize = 440;
        let headers: usize = self
            .headers
            .iter()
            .map(|(n, v)| 72 + n.as_str().len() + v.len())
            .sum();
        FIXED + self.about.encoded_len() + headers + self.chunks.len() * 8 + self.body.len()
    }

    /// Seconds since the answer was complete.
    pub fn age_secs(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.stored_ms) / 1000
    }

    /// Seconds for which the answer stays fresh; negative: since when it is no longer.
    pub fn ttl_secs(&self, now_ms: u64) -> i64 {
        let secs = |ms: u64| i64::try_from(ms / 1000).unwrap_or(i64::MAX);
        match self.expires_ms.checked_sub(now_ms) {
            Some(left) => secs(left),
            None => -secs(now_ms - self.expires_ms),
        }
    }

    /// Whether the answer may be served without asking the upstream.
    pub fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms < self.expires_ms
    }
}

/// A cursor that cannot run past the end.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next so many bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(RecordError::Length)?;
        self.0 = tail;
        Ok(head)
    }

    /// The next so many bytes, by value.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        self.take(N)?.try_into().map_err(|_| RecordError::Length)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, RecordError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// The next two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16, RecordError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// The next four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, RecordError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// The next eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, RecordError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn headers(&mut self) -> Result<Vec<(HeaderName, HeaderValue)>, RecordError> {
        let count = self.u16()?;
        if count > HEADERS_MAX {
            return Err(RecordError::Field);
        }
        let mut headers = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let name_len = usize::from(self.u16()?);
            let name =
                HeaderName::from_lowercase(self.take(name_len)?).map_err(|_| RecordError::Field)?;
            let value_len = self.u32()? as usize;
            let value =
                HeaderValue::from_bytes(self.take(value_len)?).map_err(|_| RecordError::Field)?;
            headers.push((name, value));
        }
        Ok(headers)
    }

    fn chunks(&mut self) -> Result<Vec<Chunk>, RecordError> {
        let count = self.u32()? as usize;
        // The table is taken before anything is allocated, so a damaged count cannot ask for memory.
        let table = self.take(count.checked_mul(8).ok_or(RecordError::Length)?)?;
        let mut table = Reader(table);
        let mut chunks = Vec::with_capacity(count);
        let mut last = 0;
        for _ in 0..count {
            let chunk = Chunk {
                end: table.u32()?,
                at_ms: table.u32()?,
            };
            if chunk.end < last {
                return Err(RecordError::Field);
            }
            last = chunk.end;
            chunks.push(chunk);
        }
        Ok(chunks)
    }
}

#[cfg(test)]
mod tests;
