//! What makes two requests the same: canonical JSON, and the key around its digest.
//!
//! Pure: no I/O, no clock. What is in a key and what is not is decided by the caller; here it is
//! only made sure that different parts never give the same bytes to the digest.

use std::{fmt, str};

pub mod canonical;

#[cfg(test)]
mod tests;

/// What every key begins with. Raised whenever the same request would get another key: all
/// entries stored before then miss.
const SCHEMA: &[u8] = b"llm-cache-key/2";

/// What an answer is stored under: a BLAKE3 digest over everything that may change the answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key([u8; 32]);

/// What a key is made of.
#[derive(Clone, Copy, Debug)]
pub struct KeyParts<'a> {
    /// Who may see the entry.
    pub tenant: &'a [u8; 32],
    /// Which provider answers.
    pub upstream: &'a str,
    /// Which wire grammar the request follows.
    pub api: &'a str,
    /// The path below the upstream's base, as it is sent.
    pub path: &'a str,
    /// The query without its question mark, as it is sent; empty if there is none.
    pub query: &'a str,
    /// Name and value of the headers that change answers. Their order counts, and so does the
    /// case of their names: the caller hands them over in one fixed way.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// In which form the answer is asked for, where the body's digest does not say it.
    pub form: &'a str,
    /// Digest of the body.
    pub body: &'a [u8; 32],
}

impl KeyParts<'_> {
    /// The key of these parts. Each part of variable length is framed by its length and the
    /// headers by their count, so that no two lists of parts read the same.
    pub fn key(&self) -> Key {
        let mut hasher = blake3::Hasher::new();
        hasher.update(SCHEMA);
        hasher.update(self.tenant);
        for part in [self.upstream, self.api, self.path, self.query, self.form] {
            frame(&mut hasher, part.as_bytes());
        }
        hasher.update(&(self.headers.len() as u64).to_le_bytes());
        for (name, value) in self.headers {
            frame(&mut hasher, name.as_bytes());
            frame(&mut hasher, value);
        }
        hasher.update(self.body);
        Key(*hasher.finalize().as_bytes())
    }
}

impl Key {
    /// The key of these bytes, as found in a record.
    pub const fn from_bytes(bytes: [u8; 32]) -> Key {
        Key(bytes)
    }

    /// The key of 64 hexadecimal digits of either case, and of nothing else.
    pub fn from_hex(text: &str) -> Option<Key> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Key(bytes))
    }

    /// 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> [u8; 64] {
        let mut digits = [b'0'; 64];
        // Fails only if the lengths do not fit, and they do.
        let _ = hex::encode_to_slice(self.0, &mut digits);
        digits
    }

    /// The digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Lower-case hexadecimal digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.hex()).map_err(|_| fmt::Error)?)
    }
}

fn frame(hasher: &mut blake3::Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}
