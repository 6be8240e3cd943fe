//! Strings: finding their end, and their one canonical spelling.

use std::borrow::Cow;

/// Length of the run at the begin of `text` that has no quote, backslash or control character.
pub(super) fn plain_len(text: &[u8]) -> usize {
    let (words, tail) = text.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return i * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let in_tail = tail
        .iter()
        .position(|b| matches!(b, b'"' | b'\\' | 0..0x20));
    text.len() - tail.len() + in_tail.unwrap_or(tail.len())
}

/// The high bit of each byte that is a quote, a backslash or below 0x20. The subtractions borrow
/// from the byte above, so only the lowest bit set is sure to be right.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES * 0x80;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let control = below(word, 0x20);
    let quote = below(word ^ (ONES * b'"' as u64), 1);
    let backslash = below(word ^ (ONES * b'\\' as u64), 1);
    (control | quote | backslash) & HIGH
}

/// Appends a character in its canonical spelling.
pub(super) fn push_char(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\0'..'\x20' => {
            let digit = |n: u32| char::from_digit(n, 16).unwrap_or_default() as u8;
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[digit(c as u32 >> 4), digit(c as u32 & 15)]);
        }
        _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// A string's content in its canonical spelling, without quotes.
pub(super) fn spelled(content: &str) -> Cow<'_, [u8]> {
    if plain_len(content.as_bytes()) == content.len() {
        return Cow::Borrowed(content.as_bytes());
    }
    let mut out = Vec::with_capacity(content.len() + 8);
    content.chars().for_each(|c| push_char(&mut out, c));
    Cow::Owned(out)
}

/// The number of four hexadecimal digits.
pub(super) fn hex4(digits: &[u8]) -> Option<u32> {
    let digits = digits.get(..4)?;
    digits.iter().try_fold(0, |n, digit| {
        Some(n * 16 + char::from(*digit).to_digit(16)?)
    })
}
