//! What is stored: keys, sizes and bodies, all made from an id, so that nothing of them is kept.

use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use bytesize::ByteSize;
use clap::ValueEnum;
use http::{HeaderValue, header};
use llm_cache_server::key::Key;
use llm_cache_server::store::about::About;
use llm_cache_server::store::now_ms;
use llm_cache_server::store::record::Record;

use crate::trace::{Rng, mix};

const BODY_BYTES_MIN: f64 = 64.0;
const BODY_BYTES_MAX: f64 = (4 << 20) as f64;
/// Bodies that are compressed to learn how well they do.
const SAMPLE: u64 = 400;
const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

/// Real prose with Markdown, as the inside of a JSON string.
pub static PROSE: LazyLock<String> = LazyLock::new(|| {
    let texts = [
        include_str!("../../docs/ARCHITECTURE.md"),
        include_str!("../../docs/apis.md"),
        include_str!("../../docs/headers.md"),
        include_str!("../../docs/migration.md"),
        include_str!("../../docs/operations.md"),
        include_str!("../../docs/quickstart.md"),
        include_str!("../../docs/security.md"),
    ];
    let quoted = serde_json::to_string(&texts.concat()).expect("a string is JSON");
    quoted[1..quoted.len() - 1].to_owned()
});

/// Adds prose from random places until `out` has this length.
pub fn add_prose(out: &mut Vec<u8>, len: usize, rng: &mut Rng) {
    let prose = PROSE.as_bytes();
    while out.len() < len {
        let start = rng.below(prose.len() as u64) as usize;
        let piece = (200 + rng.below(600) as usize).min(len - out.len());
        out.extend_from_slice(&prose[start..(start + piece).min(prose.len())]);
    }
}

/// How long bodies are: `4KB`, or `lognormal:4KB:1.2` with the median and the logarithm's deviation.
#[derive(Clone, Copy, Debug)]
pub enum Sizes {
    Fixed(u64),
    LogNormal { median: f64, sigma: f64 },
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Sizes, String> {
        let size = |text: &str| text.parse::<ByteSize>().map(|size| size.0);
        match text.strip_prefix("lognormal:").map(|t| t.split_once(':')) {
            None => size(text).map(Sizes::Fixed),
            Some(Some((median, sigma))) => Ok(Sizes::LogNormal {
                median: size(median)? as f64,
                sigma: sigma.parse().map_err(|_| "sigma is no number".to_owned())?,
            }),
            Some(None) => Err("lognormal:MEDIAN:SIGMA is what is understood".to_owned()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Content {
    /// Random bytes, which nothing compresses
    Random,
    /// Answers with prose in them
    Prose,
    /// Half of each
    Mixed,
}

/// Makes the record of any id.
#[derive(Clone)]
pub struct Maker {
    sizes: Sizes,
    content: Content,
    /// Bytes of an encoded record beside the body.
    frame_bytes: usize,
    /// Bytes on disk per byte encoded, by whether it is prose.
    stored: [f64; 2],
}

impl Maker {
    /// `zstd_level` is the level at which the store compresses.
    pub fn new(sizes: Sizes, content: Content, zstd_level: i32) -> Maker {
        let mut maker = Maker {
            sizes,
            content,
            frame_bytes: 0,
            stored: [1.0, 1.0],
        };
        maker.frame_bytes = record(0, Bytes::new()).encode().len();
        let mut zstd = zstd::bulk::Compressor::new(zstd_level).expect("a level of zstd");
        let (mut encoded, mut compressed) = ([0; 2], [0; 2]);
        for id in 0..SAMPLE {
            let kind = usize::from(maker.is_prose(id));
            let bytes = maker.record(id).encode();
            encoded[kind] += bytes.len();
            compressed[kind] += zstd
                .compress(&bytes)
                .expect("it fits")
                .len()
                .min(bytes.len());
        }
        for kind in 0..2 {
            maker.stored[kind] = compressed[kind] as f64 / encoded[kind].max(1) as f64;
        }
        maker
    }

    pub fn record(&self, id: u64) -> Record {
        record(id, self.body(id))
    }

    /// Bytes this id's record takes on disk, compressed like its kind is on average.
    pub fn stored_bytes(&self, id: u64) -> u64 {
        let encoded = self.frame_bytes + self.body_len(id);
        (encoded as f64 * self.stored[usize::from(self.is_prose(id))]) as u64
    }

    /// What [`Maker::stored_bytes`] is on average.
    pub fn stored_bytes_mean(&self) -> u64 {
        (0..10_000)
            .map(|id| self.stored_bytes(mix(id)))
            .sum::<u64>()
            / 10_000
    }

    /// Whether a body read back is the one of this id, by its length and its first bytes: the rest
    /// is under the record's checksum.
    pub fn is_body(&self, id: u64, body: &[u8]) -> bool {
        body.len() == self.body_len(id) && body.starts_with(&head(id))
    }

    fn is_prose(&self, id: u64) -> bool {
        match self.content {
            Content::Random => false,
            Content::Prose => true,
            Content::Mixed => id.is_multiple_of(2),
        }
    }

    fn body_len(&self, id: u64) -> usize {
        let len = match self.sizes {
            Sizes::Fixed(len) => len as f64,
            Sizes::LogNormal { median, sigma } => {
                median * (sigma * Rng::new(mix(id) ^ 1).normal()).exp()
            }
        };
        len.clamp(BODY_BYTES_MIN, BODY_BYTES_MAX) as usize
    }

    fn body(&self, id: u64) -> Bytes {
        let len = self.body_len(id);
        let mut rng = Rng::new(mix(id) ^ 2);
        let mut out = Vec::with_capacity(len + 8);
        out.extend_from_slice(&head(id));
        if self.is_prose(id) {
            out.extend_from_slice(
                br#"","object":"chat.completion","model":"gpt-4o","choices":[{"index":0,"message":{"content":""#,
            );
            add_prose(&mut out, len, &mut rng);
        }
        while out.len() < len {
            out.extend_from_slice(&rng.next().to_le_bytes());
        }
        out.truncate(len);
        out.into()
    }
}

/// One for all of them: in a record read back each has its own.
static ABOUT: LazyLock<Arc<About>> = LazyLock::new(|| {
    let about = About::new("chat", Some("gpt-4o"), None, [7; 8], [9; 8]);
    Arc::new(about)
});

/// The one place that knows what a record is made of.
pub fn record(id: u64, body: Bytes) -> Record {
    let stored_ms = now_ms();
    Record {
        key: key(id),
        generation: 0,
        about: ABOUT.clone(),
        stored_ms,
        expires_ms: stored_ms + YEAR_MS,
        status: 200,
        stream: false,
        headers: vec![(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )],
        body,
        chunks: Vec::new(),
        usage: Some((200, 100)),
    }
}

pub fn key(id: u64) -> Key {
    let mut bytes = [0; 32];
    for (at, word) in bytes.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&mix(mix(id) ^ at as u64).to_be_bytes());
    }
    Key::from_bytes(bytes)
}

fn head(id: u64) -> Vec<u8> {
    format!(r#"{{"id":"{:016x}"#, mix(id)).into_bytes()
}
