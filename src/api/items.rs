//! Embeddings text by text: a batch is answered from what is known, and only the rest is asked for.
//!
//! A text's embedding does not depend on the texts beside it, so that each can be kept under a key
//! of its own. What depends on the batch is put together anew: the order, each `index`, and the
//! usage. Providers count a batch as a whole; its tokens are shared out among its texts by their
//! length, to the last token. The sum is therefore right for whole batches and for texts asked one by
//! one, and close to it where parts of batches meet.
//!
//! Only requests whose every field is known to leave the texts apart are looked at text by text: some
//! servers take fields that join them, such as `late_chunking`. The others are kept as a whole.
//!
//! Only answers of the plain shape are taken apart: `data`, `usage` of whole numbers, and members
//! that say the same for every batch. Anything else is kept as a whole only.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::key::canonical::Canonical;
use members::Members;

mod members;
#[cfg(test)]
mod tests;

/// Texts of one request that are looked up one by one. Providers take 2,048.
pub const ITEMS_MAX: usize = 4096;

/// Fields of a request that mean the same for each of its texts, whichever stand beside it.
const OF_EACH_TEXT: &[&str] = &[
    "model",
    "input",
    "encoding_format",
    "dimensions",
    "user",
    "input_type",
    "task",
    "truncate",
    "truncation",
    "normalized",
    "embedding_type",
    "output_dtype",
    "output_dimension",
];

/// Longest answer without its embeddings, in bytes. It is kept with each text: that of a large batch
/// would take gigabytes otherwise.
const FRAME_BYTES_MAX: usize = 4 << 10;

/// Most counts in `usage`, which are kept with each text as well.
const COUNTS_MAX: usize = 16;

/// Members of an answer that name one exchange and mean nothing for another.
const OF_ONE_EXCHANGE: &[&str] = &["id", "created"];

/// The texts of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items {
    /// Digest of everything else in the body.
    pub rest: [u8; 32],
    /// Digest and length of each text.
    pub texts: Vec<Text>,
}

/// One text of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// Digest of its canonical JSON, and of everything else in the body.
    pub digest: [u8; 32],
    /// Bytes of its canonical JSON.
    pub len: u32,
}

/// The texts of a request body; `None` if its `input` has another shape or too many of them, or if
/// they may depend on each other.
pub(super) fn of(body: &Canonical) -> Option<Items> {
    let is_known = |key: &[u8]| OF_EACH_TEXT.iter().any(|known| known.as_bytes() == key);
    if !body.members().all(|(key, _)| is_known(key)) {
        return None;
    }
    let input = body.get("input")?;
    let texts = texts(input)?;
    if texts.is_empty() {
        return None;
    }
    let rest = body.digest_without(&["input"]);
    let texts = texts.into_iter().map(|text| {
        let text = text.get().as_bytes();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&rest);
        hasher.update(text);
        Some(Text {
            digest: *hasher.finalize().as_bytes(),
            len: u32::try_from(text.len()).ok()?,
        })
    });
    Some(Items {
        rest,
        texts: texts.collect::<Option<_>>()?,
    })
}

/// One string or array of tokens is one text, an array of either is as many as it has entries.
fn texts(input: &[u8]) -> Option<Vec<&RawValue>> {
    let whole: &RawValue = serde_json::from_slice(input).ok()?;
    if whole.get().starts_with('"') {
        return Some(vec![whole]);
    }
    let entries: Entries<'_> = serde_json::from_slice(input).ok()?;
    match entries.kind {
        Some(Kind::Token) => Some(vec![whole]),
        Some(Kind::Text | Kind::Tokens) | None => Some(entries.texts),
    }
}

/// The entries of an array, all of one kind. Tokens are looked through and not kept: there may be
/// millions.
struct Entries<'a> {
    kind: Option<Kind>,
    texts: Vec<&'a RawValue>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Tokens,
    Token,
}

impl Kind {
    fn of(entry: &str) -> Option<Kind> {
        match entry.as_bytes() {
            [b'"', ..] => Some(Kind::Text),
            [b'[', ..] => Some(Kind::Tokens),
            number if number.iter().all(u8::is_ascii_digit) => Some(Kind::Token),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of texts or tokens")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let (mut kind, mut texts) = (None, Vec::new());
                while let Some(entry) = seq.next_element::<&RawValue>()? {
                    let own = Kind::of(entry.get());
                    if own.is_none() || own != *kind.get_or_insert(own) {
                        return Err(A::Error::custom("neither texts nor tokens"));
                    }
                    if own == Some(Kind::Token) {
                        continue;
                    }
                    if texts.len() == ITEMS_MAX {
                        return Err(A::Error::custom("too many texts"));
                    }
                    texts.push(entry);
                }
                let kind = kind.flatten();
                Ok(Entries { kind, texts })
            }
        }
        deserializer.deserialize_seq(EntriesVisitor)
    }
}

/// The body of a request for some of its texts only, those at `wanted`; everything else as it came.
/// `body`: as it came, without a content coding.
pub fn request_for(body: &[u8], wanted: &[usize]) -> Option<Vec<u8>> {
    let members = Members::read(std::str::from_utf8(body).ok()?)?;
    let texts = texts(members.get("input")?.get().as_bytes())?;
    let mut input = String::from("[");
    for (count, at) in wanted.iter().enumerate() {
        if count > 0 {
            input.push(',');
        }
        input.push_str(texts.get(*at)?.get());
    }
    input.push(']');
    Some(members.with("input", &input).into_bytes())
}

/// An answer, text by text: what is kept of each, in the order of the request.
pub fn take_apart(answer: &[u8], texts: &[Text]) -> Option<Vec<Piece>> {
    let members = Members::read(std::str::from_utf8(answer).ok()?)?;
    let data: Vec<&RawValue> = serde_json::from_str(members.get("data")?.get()).ok()?;
    if data.len() != texts.len() {
        return None;
    }
    let usage: BTreeMap<String, Option<u64>> =
        serde_json::from_str(members.get("usage")?.get()).ok()?;
    let mut embeddings: Vec<Option<&RawValue>> = vec![None; texts.len()];
    for item in data {
        #[derive(Deserialize)]
        struct Item<'a> {
            index: usize,
            #[serde(borrow)]
            embedding: &'a RawValue,
        }
        let Item { index, embedding } = serde_json::from_str(item.get()).ok()?;
        let slot = embeddings.get_mut(index)?;
        if slot.is_some() || matches!(embedding.get(), "null" | "[]" | "\"\"") {
            return None;
        }
        *slot = Some(item);
    }
    let frame = members.without(&["data", "usage"]);
    if frame.len() > FRAME_BYTES_MAX || usage.len() > COUNTS_MAX {
        return None;
    }
    let shares = shares(&usage, texts)?;
    let pieces = embeddings.into_iter().zip(shares).map(|(item, usage)| {
        Some(Piece {
            frame: frame.clone(),
            usage,
            item: item?.get().to_owned(),
        })
    });
    pieces.collect()
}

/// Shares each count of `usage` out by the lengths of the texts.
fn shares(
    usage: &BTreeMap<String, Option<u64>>,
    texts: &[Text],
) -> Option<Vec<BTreeMap<String, Option<u64>>>> {
    let total: u64 = texts.iter().map(|text| u64::from(text.len)).sum();
    let mut shares = vec![BTreeMap::new(); texts.len()];
    for (name, count) in usage {
        // What texts up to this one have together, less what those before it have.
        let mut passed = 0u64;
        let mut given = 0u64;
        for (text, share) in texts.iter().zip(&mut shares) {
            passed += u64::from(text.len);
            let part = match count {
                None => None,
                Some(count) => {
                    let all = u128::from(*count) * u128::from(passed);
                    let until = u64::try_from(all / u128::from(total.max(1))).ok()?;
                    let part = until - given;
                    given = until;
                    Some(part)
                }
            };
            share.insert(name.clone(), part);
        }
    }
    Some(shares)
}

/// What is kept of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The answer around it, without `data` and `usage`.
    frame: String,
    /// Its share of the usage.
    usage: BTreeMap<String, Option<u64>>,
    /// The item of `data`, with the index it had.
    item: String,
}

impl Piece {
    /// Its tokens, if the provider counted any.
    pub fn tokens(&self) -> Option<u64> {
        self.usage.get("prompt_tokens").copied().flatten()
    }

    /// As it is kept.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let usage = serde_json::to_string(&self.usage).ok()?;
        let (frame, item) = (&self.frame, &self.item);
        Some(format!(r#"{{"frame":{frame},"usage":{usage},"item":{item}}}"#).into_bytes())
    }

    /// What was kept.
    pub fn read(bytes: &[u8]) -> Option<Piece> {
        #[derive(Deserialize)]
        struct Kept<'a> {
            #[serde(borrow)]
            frame: &'a RawValue,
            usage: BTreeMap<String, Option<u64>>,
            #[serde(borrow)]
            item: &'a RawValue,
        }
        let kept: Kept<'_> = serde_json::from_slice(bytes).ok()?;
        Some(Piece {
            frame: kept.frame.get().to_owned(),
            usage: kept.usage,
            item: kept.item.get().to_owned(),
        })
    }
}

/// The answer that these pieces make together, in the order of the request. `None` if they differ in
/// what an answer says once for all, such as the model.
pub fn put_together(pieces: &[Piece]) -> Option<Vec<u8>> {
    let newest = pieces.last()?;
    let frame = Members::read(&newest.frame)?;
    let lasting = frame.without(OF_ONE_EXCHANGE);
    let mut usage: BTreeMap<&str, Option<u64>> = BTreeMap::new();
    let mut data = String::from("[");
    for (index, piece) in pieces.iter().enumerate() {
        if piece.frame != newest.frame
            && Members::read(&piece.frame)?.without(OF_ONE_EXCHANGE) != lasting
        {
            return None;
        }
        if index > 0 && !piece.usage.keys().eq(usage.keys()) {
            return None;
        }
        for (name, count) in &piece.usage {
            let sum = usage.entry(name).or_insert(count.map(|_| 0));
            *sum = match (*sum, count) {
                (None, None) => None,
                (Some(sum), Some(count)) => Some(sum.checked_add(*count)?),
                _ => return None,
            };
        }
        if index > 0 {
            data.push(',');
        }
        let item = Members::read(&piece.item)?;
        data.push_str(&item.with("index", &index.to_string()));
    }
    data.push(']');
    let usage = serde_json::to_string(&usage).ok()?;
    let whole = frame.and(&[("data", &data), ("usage", &usage)]);
    Some(whole.into_bytes())
}
