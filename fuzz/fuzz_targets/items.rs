//! A smaller request asks for the same texts, and an answer that was taken apart is the same once it is
//! put together again.
//!
//! The input is a request, a byte that no JSON has, and an answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_cache_server::api::items::{Piece, put_together, request_for, take_apart};
use llm_cache_server::api::{Api, Place};
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let cut = memchr::memchr(0xff, input).unwrap_or(input.len());
    let (request, answer) = input.split_at(cut);
    let question = Api::OpenAiEmbeddings.question(&Place::default(), "application/json", request);
    let Some(items) = question.items else {
        return;
    };
    let count = items.texts.len();
    if let Some(asked) = question.facts.items {
        assert_eq!(asked as usize, count);
    }
    let every: Vec<usize> = (0..count).collect();
    let wanted = [&every[..1], &every[count - 1..], &every];
    for wanted in wanted {
        let smaller = request_for(request, wanted).expect("it was read before");
        let again = Api::OpenAiEmbeddings.question(&Place::default(), "application/json", &smaller);
        let again = again.items.expect("it has texts");
        assert_eq!(again.rest, items.rest);
        let texts = wanted.iter().map(|at| items.texts[*at]);
        assert!(texts.eq(again.texts.iter().copied()));
    }
    assert_eq!(request_for(request, &[count]), None);

    let answer = answer.get(1..).unwrap_or_default();
    let Some(pieces) = take_apart(answer, &items.texts) else {
        return;
    };
    assert_eq!(pieces.len(), count);
    for piece in &pieces {
        let kept = piece.to_bytes().expect("it can be written");
        assert_eq!(Piece::read(&kept).as_ref(), Some(piece));
    }
    let Some(whole) = put_together(&pieces) else {
        return;
    };
    if let Ok(mut before) = serde_json::from_slice::<Value>(answer) {
        let items = before["data"].as_array_mut().expect("it was taken apart");
        items.sort_by_key(|item| item["index"].as_u64());
        let after: Value = serde_json::from_slice(&whole).expect("what is made is JSON");
        assert_eq!(before, after);
    }
    let again = take_apart(&whole, &items.texts).expect("what is made can be taken apart");
    assert_eq!(put_together(&again), Some(whole));
});
