//! The stand-in's answers keep their APIs' grammars.

use http::header;
use serde_json::{Value, json};

use super::super::client::Answer;
use super::super::{StandIn, anthropic, embeddings, openai};
use super::{AT_ONCE, document, post, question, with};

/// Name and data of each event; the stream must be events through and through.
fn events(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.headers[header::CONTENT_TYPE], "text/event-stream");
    let text = std::str::from_utf8(&answer.body)
        .unwrap()
        .strip_suffix("\n\n")
        .unwrap();
    let event = |event: &str| {
        let (name, data) = event.rsplit_once('\n').unwrap_or(("", event));
        let name = name.strip_prefix("event: ").unwrap_or(name);
        (
            name.to_owned(),
            data.strip_prefix("data: ").unwrap().to_owned(),
        )
    };
    text.split("\n\n").map(event).collect()
}

#[tokio::test]
async fn a_chat_document_is_complete() {
    let stand_in = StandIn::start(AT_ONCE).await.unwrap();
    let answer = document(&post(&stand_in, openai::PATH, question("What is a cache?")).await);
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "m");
    assert_eq!(answer["choices"].as_array().unwrap().len(), 1);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.starts_with("A cache keeps"), "{text}");
    let words = text.split(' ').count();
    assert!((30..=60).contains(&words), "{words} words");
    let usage = json!({"prompt_tokens": 4, "completion_tokens": words, "total_tokens": 4 + words});
    assert_eq!(answer["usage"], usage);
}

#[tokio::test]
async fn a_chat_stream_carries_the_documents_text_and_ends_by_its_grammar() {
    let stand_in = StandIn::start(AT_ONCE).await.unwrap();
    let whole = document(&post(&stand_in, openai::PATH, question("What is streaming?")).await);
    let ask = with(question("What is streaming?"), "stream", json!(true));
    let plain = events(&post(&stand_in, openai::PATH, ask.clone()).await);
    let ask = with(ask, "stream_options", json!({"include_usage": true}));
    let counted = events(&post(&stand_in, openai::PATH, ask).await);

    for (events, tail) in [(&plain, 2), (&counted, 3)] {
        assert_eq!(events.last().unwrap().1, "[DONE]");
        let chunks: Vec<Value> = events[..events.len() - 1]
            .iter()
            .map(|(_, data)| serde_json::from_str(data).unwrap())
            .collect();
        assert!(
            chunks
                .iter()
                .all(|chunk| chunk["object"] == "chat.completion.chunk")
        );
        assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]));
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
        let end = &chunks[events.len() - tail];
        assert_eq!(end["choices"][0]["finish_reason"], "stop");
        let text: String = chunks[..events.len() - tail]
            .iter()
            .map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().unwrap())
            .collect();
        assert_eq!(text, whole["choices"][0]["message"]["content"]);
    }
    assert!(plain.iter().all(|(_, data)| !data.contains("usage")));
    let usage: Value = serde_json::from_str(&counted[counted.len() - 2].1).unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"], whole["usage"]);
}

#[tokio::test]
async fn an_anthropic_stream_carries_the_documents_text_and_ends_by_its_grammar() {
    let stand_in = StandIn::start(AT_ONCE).await.unwrap();
    let ask = json!({"model": "m", "max_tokens": 500, "messages": [
        {"role": "user", "content": [{"type": "text", "text": "What is a cache?"}]},
    ]});
    let whole = document(&post(&stand_in, anthropic::PATH, ask.clone()).await);
    assert_eq!(whole["type"], "message");
    assert_eq!(whole["stop_reason"], "end_turn");

    let stream = with(ask, "stream", json!(true));
    let events = events(&post(&stand_in, anthropic::PATH, stream).await);
    let mut order: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    order.dedup();
    let grammar = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
    ];
    let end = ["content_block_stop", "message_delta", "message_stop"];
    assert_eq!(order, [&grammar[..], &end[..]].concat());
    let mut text = String::new();
    for (name, data) in &events {
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], *name);
        text.push_str(data["delta"]["text"].as_str().unwrap_or_default());
        if name == "message_delta" {
            assert_eq!(data["delta"]["stop_reason"], "end_turn");
            assert_eq!(
                data["usage"]["output_tokens"],
                whole["usage"]["output_tokens"]
            );
        }
    }
    assert_eq!(text, whole["content"][0]["text"]);
}

#[tokio::test]
async fn an_answer_longer_than_allowed_is_cut_and_says_so() {
    let stand_in = StandIn::start(AT_ONCE).await.unwrap();
    let ask = with(question("What is a cache?"), "max_tokens", json!(3));
    let chat = document(&post(&stand_in, openai::PATH, ask.clone()).await);
    assert_eq!(chat["choices"][0]["finish_reason"], "length");
    assert_eq!(chat["choices"][0]["message"]["content"], "A cache keeps ");
    assert_eq!(chat["usage"]["completion_tokens"], 3);
    let message = document(&post(&stand_in, anthropic::PATH, ask).await);
    assert_eq!(message["stop_reason"], "max_tokens");
}

#[tokio::test]
async fn embeddings_depend_on_the_input_alone_and_base64_says_the_same() {
    let stand_in = StandIn::start(AT_ONCE).await.unwrap();
    let ask = json!({"model": "e", "input": ["tea", "coffee", "tea"], "dimensions": 7});
    let floats = document(&post(&stand_in, embeddings::PATH, ask.clone()).await);
    let vectors: Vec<Vec<f32>> = (0..3)
        .map(|i| {
            assert_eq!(floats["data"][i]["index"], i);
            serde_json::from_value(floats["data"][i]["embedding"].clone()).unwrap()
        })
        .collect();
    assert_eq!(vectors[0], vectors[2]);
    assert_ne!(vectors[0], vectors[1]);
    assert_eq!(vectors[0].len(), 7);
    let length: f32 = vectors[0].iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-4, "{length}");

    let base64 = with(ask, "encoding_format", json!("base64"));
    let base64 = document(&post(&stand_in, embeddings::PATH, base64).await);
    for (i, vector) in vectors.iter().enumerate() {
        let text = base64["data"][i]["embedding"].as_str().unwrap();
        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(decode(text), bytes);
    }
}

/// Strict: whole groups of four, padding only at the end.
fn decode(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 4, 0);
    let digits = text.trim_end_matches('=');
    assert!(text.len() - digits.len() <= 2);
    let value = |digit: u8| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("no base64 digit: {digit}"),
    };
    let bits: String = digits
        .bytes()
        .map(|digit| format!("{:06b}", value(digit)))
        .collect();
    let whole = bits.len() / 8 * 8;
    let byte = |at: usize| u8::from_str_radix(&bits[at..at + 8], 2).unwrap();
    (0..whole).step_by(8).map(byte).collect()
}
