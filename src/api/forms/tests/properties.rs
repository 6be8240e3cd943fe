//! Damaged answers: never a panic, and what is made still says the same.

use proptest::prelude::*;

use super::super::*;
use super::corpus::{Pair, pairs};
use super::{json_of, stream_of};

fn pair() -> impl Strategy<Value = &'static Pair> {
    let all: Vec<&'static Pair> = pairs().collect();
    proptest::sample::select(all)
}

/// Bytes that mean something to the formats, and some that do not.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let tokens: Vec<&'static [u8]> = vec![
        b"\n",
        b"\r\n",
        b"\n\n",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\",
        b"null",
        b"0",
        b"-1.0e9",
        b"\"index\":0,",
        b"data: ",
        b"[DONE]",
        b"\\ud83d",
        b"\xff",
        b"\xe2\x80\xa8",
        b"\"usage\":null,",
        b"\"x\":1,",
        b"event: x\n",
        b"1e400",
        b"18446744073709551616",
    ];
    proptest::sample::select(tokens).prop_map(<[u8]>::to_vec)
}

fn damaged(text: &str, edits: &[(prop::sample::Index, usize, Vec<u8>)]) -> Vec<u8> {
    let mut text = text.as_bytes().to_vec();
    for (at, cut, put) in edits {
        let at = at.index(text.len() + 1);
        let end = (at + cut).min(text.len());
        text.splice(at..end, put.iter().copied());
    }
    text
}

fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, usize, Vec<u8>)>> {
    let edit = (any::<prop::sample::Index>(), 0usize..4, bytes());
    proptest::collection::vec(edit, 1..4)
}

/// Whole frames of a stream moved, dropped or repeated.
fn shuffled(stream: &str, moves: &[(prop::sample::Index, prop::sample::Index, u8)]) -> String {
    let mut frames: Vec<&str> = stream.split_inclusive("\n\n").collect();
    for (from, to, how) in moves {
        if frames.is_empty() {
            break;
        }
        let frame = frames[from.index(frames.len())];
        if how % 3 < 2 {
            let at = from.index(frames.len());
            frames.remove(at);
        }
        if how % 3 > 0 {
            let at = to.index(frames.len() + 1);
            frames.insert(at, frame);
        }
    }
    frames.concat()
}

fn consistent(api: Api, stream: &[u8]) {
    if let Some(json) = to_json(api, stream) {
        let json = String::from_utf8(json).unwrap();
        if let Some(stream) = stream_of(api, &json) {
            assert!(same(&json_of(api, &stream).unwrap(), &json));
        }
    }
    let _ = without_usage(api, stream);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn damaged_streams_do_not_panic(pair in pair(), edits in edits()) {
        consistent(pair.api, &damaged(pair.stream, &edits));
    }

    #[test]
    fn shuffled_streams_do_not_panic(
        pair in pair(),
        moves in proptest::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        consistent(pair.api, shuffled(pair.stream, &moves).as_bytes());
    }

    #[test]
    fn damaged_json_that_is_made_a_stream_comes_back(pair in pair(), edits in edits()) {
        let json = damaged(pair.json, &edits);
        for usage in [false, true] {
            let stream = to_stream(pair.api, &json, usage);
            if let (Some(stream), true) = (stream, usage) {
                let json = String::from_utf8(json.clone()).unwrap();
                let stream = String::from_utf8(stream).unwrap();
                prop_assert!(same(&json_of(pair.api, &stream).unwrap(), &json));
            }
        }
    }

    #[test]
    fn foreign_grammars_do_not_panic(pair in pair(), other in pair()) {
        consistent(other.api, pair.stream.as_bytes());
        let _ = to_stream(other.api, pair.json.as_bytes(), true);
    }
}
