//! Nothing makes a decoder panic or let out more than its limits, and what it takes does not depend on
//! how the body is cut. What is encoded comes back.
//!
//! The first bytes are the coding, the limit and the lengths of two chunks; the rest is the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_cache_server::coding::{Coding, DecodeError, Decoder, RATIO_MAX};

/// Whatever the factor, so much may come out, and one step more.
const FREE_BYTES: usize = (1 << 20) + (64 << 10);

fuzz_target!(|input: &[u8]| {
    if let Some((&[coding, limit, one, other], body)) = input.split_first_chunk::<4>() {
        let coding = Coding::ALL[usize::from(coding.wrapping_sub(b'0')) % 3];
        let bytes_max = 1 << (limit % 24);
        let whole = coding.decode(body, bytes_max);
        if let Ok(decoded) = &whole {
            assert!(decoded.len() <= bytes_max);
            if let Some(less) = decoded.len().checked_sub(1) {
                assert_eq!(coding.decode(body, less), Err(DecodeError::TooLong));
            }
            assert!(decoded.len() <= (body.len() * RATIO_MAX).max(FREE_BYTES));
            let pieces = in_pieces(coding, body, [usize::from(one).max(1), usize::from(other)]);
            match pieces {
                Ok(pieces) => assert!(pieces == *decoded, "other bytes in pieces"),
                // The ratio is looked at piece by piece, and the first ones may let out more.
                Err(error) => assert_eq!(error, DecodeError::TooLong),
            }
        }
        let encoded = coding.encode(body).expect("there is memory");
        let again = coding.decode(&encoded, body.len());
        assert!(
            again.as_deref() == Ok(body),
            "{coding:?} does not come back"
        );
    }
});

fn in_pieces(coding: Coding, body: &[u8], lengths: [usize; 2]) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(coding)?;
    let mut decoded = Vec::new();
    let mut rest = body;
    for len in lengths.into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, tail) = rest.split_at(len.min(rest.len()));
        rest = tail;
        decoder.push(piece, &mut |piece| {
            decoded.extend_from_slice(piece);
            Ok(())
        })?;
    }
    match decoder.is_done() {
        true => Ok(decoded),
        false => Err(DecodeError::Garbled),
    }
}
