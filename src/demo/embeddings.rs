//! OpenAI embeddings as the stand-in gives them: vectors of length one that depend on the input
//! alone.

use serde_json::{Map, Value, json};

use super::ask::{Refusal, model, object};
use super::reply::{Call, Reply};

pub(super) const PATH: &str = "/v1/embeddings";

const DIMENSIONS: usize = 256;
const DIMENSIONS_MAX: usize = 1024;
/// Of one request. With [`DIMENSIONS_MAX`] it bounds an answer at some tens of megabytes.
const ITEMS_MAX: usize = 2048;

pub(super) fn embed(call: &Call) -> Result<Reply, Refusal> {
    let request = object(call.body)?;
    let model = model(&request)?;
    let items = items(&request)?;
    let base64 = match request.get("encoding_format").map(Value::as_str) {
        None | Some(Some("float")) => false,
        Some(Some("base64")) => true,
        Some(_) => return Err(Refusal::bad("encoding_format must be float or base64")),
    };
    let dimensions = match request.get("dimensions").map(Value::as_u64) {
        None => DIMENSIONS,
        Some(asked) => asked
            .and_then(|asked| usize::try_from(asked).ok())
            .filter(|asked| (1..=DIMENSIONS_MAX).contains(asked))
            .ok_or(Refusal::bad("dimensions must be an integer from 1 to 1024"))?,
    };

    let embedding = |(index, item): (usize, &String)| {
        let vector = vector(item, dimensions);
        let vector = if base64 {
            Value::from(encode(&vector))
        } else {
            Value::from(vector)
        };
        json!({"object": "embedding", "index": index, "embedding": vector})
    };
    let data: Vec<Value> = items.iter().enumerate().map(embedding).collect();
    let tokens: usize = items
        .iter()
        .map(|item| item.split_whitespace().count())
        .sum();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    let list = json!({"object": "list", "data": data, "model": model, "usage": usage});
    // An embedding model answers in one pass, sooner than a chat model speaks.
    Ok(Reply::Json(call.pace.first_token / 4, list))
}

/// A text, several texts, a text as token numbers, or several of those.
fn items(request: &Map<String, Value>) -> Result<Vec<String>, Refusal> {
    let refusal = || Refusal::bad("input must be a text, token numbers, or up to 2048 of either");
    let is_tokens = |value: &Value| {
        value
            .as_array()
            .is_some_and(|all| !all.is_empty() && all.iter().all(Value::is_u64))
    };
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        tokens if is_tokens(tokens) => Some(tokens.to_string()),
        _ => None,
    };
    let input = request.get("input").ok_or_else(refusal)?;
    if let Some(item) = one(input) {
        return Ok(vec![item]);
    }
    let all = input
        .as_array()
        .filter(|all| (1..=ITEMS_MAX).contains(&all.len()))
        .ok_or_else(refusal)?;
    all.iter()
        .map(one)
        .collect::<Option<_>>()
        .ok_or_else(refusal)
}

fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    // FNV-1a for a seed, SplitMix64 for the numbers: short, and the same on every machine and in
    // every version.
    let mut state = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // 24 bits fit an f32 exactly; the half keeps every number, and so the length, from being
        // zero.
        ((word ^ (word >> 31)) >> 40) as f32 + 0.5 - 8_388_608.0
    };
    let raw: Vec<f32> = (0..dimensions).map(|_| next()).collect();
    let length = raw
        .iter()
        .map(|x| f64::from(*x) * f64::from(*x))
        .sum::<f64>()
        .sqrt();
    raw.iter()
        .map(|x| (f64::from(*x) / length) as f32)
        .collect()
}

/// Base64 of the little-endian bytes, as OpenAI's SDKs decode it.
fn encode(vector: &[f32]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = (0..3).fold(0_u32, |word, i| {
            word << 8 | u32::from(group.get(i).copied().unwrap_or(0))
        });
        for digit in 0..4 {
            let six = (word >> (18 - 6 * digit) & 63) as usize;
            let letter = ALPHABET.get(six).filter(|_| digit <= group.len()).copied();
            text.push(letter.map_or('=', char::from));
        }
    }
    text
}
