//! Values as they are stored on a server that others may write to as well.
//!
//! Layout of the value under the key itself, all integers little-endian:
//!
//! ```text
//! magic "LLMS" · version u8 · flags u8 · generation u64 · raw length u32 · stored length u32
//! · chunk count u16 · id 8 · checksum u64 (xxh3-64 of everything before it and of the stored bytes)
//! · first chunk
//! ```
//!
//! Further chunks are under `key:1`, `key:2`, …; each is the id followed by its bytes. The id is
//! random for every writing, so that chunks of two writings are never put together.

use bytes::Bytes;
use thiserror::Error;
use xxhash_rust::xxh3::Xxh3Default;

/// Bytes of one chunk: a server handles one value at a time, and 512 KiB take it less than 1 ms.
pub const CHUNK_BYTES: usize = 512 * 1024;
/// Bytes in front of the first chunk.
pub const HEADER_LEN: usize = 40;
/// Bytes in front of the others.
pub const ID_LEN: usize = 8;

const MAGIC: &[u8; 4] = b"LLMS";
const VERSION: u8 = 1;
const FLAG_ZSTD: u8 = 1;
/// The checksum is the last field.
const CHECKED_LEN: usize = HEADER_LEN - 8;
/// The fastest level: the network is what is saved, and level 3 takes twice as long for 5 %.
const LEVEL: i32 = 1;

/// What is to be stored: under the key itself, and under `key:1` and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Header and first chunk. To be written last: it makes the others count.
    pub main: Vec<u8>,
    /// Further chunks.
    pub further: Vec<Vec<u8>>,
}

impl Encoded {
    /// Bytes of all chunks, with what stands in front of them.
    pub fn bytes(&self) -> usize {
        self.main.len() + self.further.iter().map(Vec::len).sum::<usize>()
    }

    /// All chunks, one after the other, for a place where they need not be apart.
    pub fn in_one_piece(self) -> Vec<Vec<u8>> {
        std::iter::once(self.main).chain(self.further).collect()
    }
}

/// The chunks of what was written in one piece.
pub fn split(whole: &Bytes) -> (Bytes, Vec<Bytes>) {
    let mut rest = whole.clone();
    let first = rest.split_to(rest.len().min(HEADER_LEN + CHUNK_BYTES));
    let mut further = Vec::new();
    while !rest.is_empty() {
        further.push(rest.split_to(rest.len().min(ID_LEN + CHUNK_BYTES)));
    }
    (first, further)
}

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Of the fleet, when the upstream was asked.
    pub generation: u64,
    /// Bytes when decoded.
    pub raw_len: u32,
    /// Bytes of all chunks.
    pub stored_len: u32,
    /// Chunks in all; one less than that under further keys.
    pub chunks: u16,
    compressed: bool,
    id: [u8; ID_LEN],
    checksum: u64,
}

/// Why bytes are not a value. Every variant is a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ValueError {
    /// Not written by a server of this kind.
    #[error("not a value of this cache")]
    Foreign,
    /// Written by one with another format.
    #[error("value has format version {0}, this server reads {VERSION}")]
    Version(u8),
    /// Not what was written, or not all of it.
    #[error("value is damaged or incomplete")]
    Damaged,
    /// Longer than is wanted.
    #[error("value has {0} bytes, more than is allowed")]
    TooLarge(usize),
}

/// The key of a further chunk.
pub fn chunk_key(key: &[u8], nth: u16) -> Vec<u8> {
    let mut chunk_key = Vec::with_capacity(key.len() + 6);
    chunk_key.extend_from_slice(key);
    chunk_key.extend_from_slice(format!(":{nth}").as_bytes());
    chunk_key
}

/// Compresses if that saves anything, and splits. `id` has to be random.
pub fn encode(raw: &[u8], generation: u64, id: [u8; ID_LEN]) -> Result<Encoded, ValueError> {
    let too_large = ValueError::TooLarge(raw.len());
    let raw_len = u32::try_from(raw.len()).map_err(|_| too_large)?;
    // A failure to compress is no reason not to store.
    let compressed = zstd::bulk::compress(raw, LEVEL)
        .ok()
        .filter(|compressed| compressed.len() < raw.len());
    let stored = compressed.as_deref().unwrap_or(raw);
    let stored_len = u32::try_from(stored.len()).map_err(|_| too_large)?;
    let chunks = u16::try_from(chunks_of(stored.len())).map_err(|_| too_large)?;

    let (first, further) = stored.split_at(stored.len().min(CHUNK_BYTES));
    let mut main = Vec::with_capacity(HEADER_LEN + first.len());
    main.extend_from_slice(MAGIC);
    main.push(VERSION);
    main.push(if compressed.is_some() { FLAG_ZSTD } else { 0 });
    main.extend_from_slice(&generation.to_le_bytes());
    main.extend_from_slice(&raw_len.to_le_bytes());
    main.extend_from_slice(&stored_len.to_le_bytes());
    main.extend_from_slice(&chunks.to_le_bytes());
    main.extend_from_slice(&id);
    let mut checksum = Xxh3Default::new();
    checksum.update(&main);
    checksum.update(stored);
    main.extend_from_slice(&checksum.digest().to_le_bytes());
    main.extend_from_slice(first);
    let further = further
        .chunks(CHUNK_BYTES)
        .map(|chunk| [id.as_slice(), chunk].concat())
        .collect();
    Ok(Encoded { main, further })
}

/// Reads the header, to know which further chunks there are. Nothing is believed yet but that the
/// lengths fit each other and `bytes_max`.
pub fn header(main: &[u8], bytes_max: usize) -> Result<Header, ValueError> {
    let (header, first) = main
        .split_at_checked(HEADER_LEN)
        .ok_or(ValueError::Foreign)?;
    let mut rest = Cursor(header);
    if rest.array()? != *MAGIC {
        return Err(ValueError::Foreign);
    }
    let [version, flags] = rest.array()?;
    if version != VERSION {
        return Err(ValueError::Version(version));
    }
    let header = Header {
        generation: u64::from_le_bytes(rest.array()?),
        raw_len: u32::from_le_bytes(rest.array()?),
        stored_len: u32::from_le_bytes(rest.array()?),
        chunks: u16::from_le_bytes(rest.array()?),
        compressed: flags == FLAG_ZSTD,
        id: rest.array()?,
        checksum: u64::from_le_bytes(rest.array()?),
    };
    let (raw_len, stored_len) = (header.raw_len as usize, header.stored_len as usize);
    if raw_len > bytes_max {
        return Err(ValueError::TooLarge(raw_len));
    }
    // Compressed is shorter, and plain is what it is; with that `bytes_max` bounds both.
    let fits = match flags {
        FLAG_ZSTD => stored_len < raw_len,
        0 => stored_len == raw_len,
        _ => false,
    };
    let whole = usize::from(header.chunks) == chunks_of(stored_len)
        && first.len() == stored_len.min(CHUNK_BYTES);
    match fits && whole {
        true => Ok(header),
        false => Err(ValueError::Damaged),
    }
}

/// Puts a value together and checks it. `further` are the chunks under `key:1` and so on, in order;
/// `bytes_max` bounds what is allocated, whatever the value says.
pub fn decode<C: AsRef<[u8]>>(
    main: &[u8],
    further: &[C],
    bytes_max: usize,
) -> Result<(Header, Vec<u8>), ValueError> {
    let header = header(main, bytes_max)?;
    let (checked, rest) = main
        .split_at_checked(CHECKED_LEN)
        .ok_or(ValueError::Damaged)?;
    let (_, first) = rest.split_at_checked(8).ok_or(ValueError::Damaged)?;
    if further.len() + 1 != usize::from(header.chunks) {
        return Err(ValueError::Damaged);
    }
    let mut left = (header.stored_len as usize)
        .checked_sub(first.len())
        .ok_or(ValueError::Damaged)?;
    let mut checksum = Xxh3Default::new();
    checksum.update(checked);
    checksum.update(first);
    // Most values are one chunk, which need not be copied to be decompressed.
    let mut joined = Vec::new();
    if !further.is_empty() {
        joined.reserve_exact(header.stored_len as usize);
        joined.extend_from_slice(first);
    }
    for chunk in further {
        let (id, bytes) = chunk
            .as_ref()
            .split_at_checked(ID_LEN)
            .ok_or(ValueError::Damaged)?;
        if id != header.id || bytes.len() != left.min(CHUNK_BYTES) {
            return Err(ValueError::Damaged);
        }
        left -= bytes.len();
        checksum.update(bytes);
        joined.extend_from_slice(bytes);
    }
    if left != 0 || checksum.digest() != header.checksum {
        return Err(ValueError::Damaged);
    }
    let raw = match (header.compressed, further.is_empty()) {
        (true, true) => decompress(first, header.raw_len as usize)?,
        (true, false) => decompress(&joined, header.raw_len as usize)?,
        (false, true) => first.to_vec(),
        (false, false) => joined,
    };
    Ok((header, raw))
}

/// At most `raw_len` bytes are allocated; more in it is an error, and so is less.
fn decompress(stored: &[u8], raw_len: usize) -> Result<Vec<u8>, ValueError> {
    let raw = zstd::bulk::decompress(stored, raw_len).map_err(|_| ValueError::Damaged)?;
    match raw.len() == raw_len {
        true => Ok(raw),
        false => Err(ValueError::Damaged),
    }
}

/// An empty value has a chunk too.
fn chunks_of(stored_len: usize) -> usize {
    stored_len.div_ceil(CHUNK_BYTES).max(1)
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let (head, tail) = self.0.split_at_checked(N).ok_or(ValueError::Foreign)?;
        self.0 = tail;
        head.try_into().map_err(|_| ValueError::Foreign)
    }
}

#[cfg(test)]
mod tests;
