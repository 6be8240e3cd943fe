use super::super::*;
use super::corpus::CHAT;
use super::{json_of, stream_of};

fn stripped(stream: &str) -> Option<String> {
    without_usage(Api::OpenAiChat, stream.as_bytes()).map(|s| String::from_utf8(s).unwrap())
}

#[test]
fn usage_is_given_only_to_those_who_asked() {
    for pair in CHAT {
        let with = stream_of(pair.api, pair.json).unwrap();
        let without = to_stream(pair.api, pair.json.as_bytes(), false).unwrap();
        let without = String::from_utf8(without).unwrap();
        assert!(with.contains("\"choices\":[],\"usage\":{") || with.contains("\"usage\":{"));
        assert!(!without.contains("\"usage\""), "{}", pair.name);
        assert_eq!(stripped(&with), Some(without.clone()), "{}", pair.name);
        assert_eq!(stripped(&without), Some(without.clone()), "{}", pair.name);
        // Who asks for JSON gets usage, and here it is not known.
        assert_eq!(json_of(pair.api, &without), None, "{}", pair.name);
    }
}

#[test]
fn json_without_usage_is_a_stream_only_for_those_who_did_not_ask() {
    let json = CHAT
        .iter()
        .find(|pair| pair.name == "chat/plain")
        .unwrap()
        .json;
    let (head, _) = json.split_once(",\n  \"usage\"").unwrap();
    for bare in [format!("{head}}}"), format!("{head},\"usage\":null}}")] {
        assert!(to_stream(Api::OpenAiChat, bare.as_bytes(), true).is_none());
        let made = to_stream(Api::OpenAiChat, bare.as_bytes(), false).unwrap();
        assert_eq!(
            Some(made),
            to_stream(Api::OpenAiChat, json.as_bytes(), false)
        );
    }
}

#[test]
fn everything_else_is_byte_for_byte_the_same() {
    let table: &[(&str, &str)] = &[
        // Where the member stands, and white space around it.
        ("data: {\"a\":1,\"usage\":null}\n\n", "data: {\"a\":1}\n\n"),
        ("data: {\"usage\":null,\"a\":1}\n\n", "data: {\"a\":1}\n\n"),
        (
            "data: {\"a\":1,\"usage\":null,\"b\":2}\n\n",
            "data: {\"a\":1,\"b\":2}\n\n",
        ),
        (
            "data: { \"a\": 1 , \"usage\" : null , \"b\" : 2 }\n\n",
            "data: { \"a\": 1  , \"b\" : 2 }\n\n",
        ),
        (
            "data: { \"usage\" : null , \"b\" : 2 }\n\n",
            "data: { \"b\" : 2 }\n\n",
        ),
        ("data: { \"usage\" : null }\n\n", "data: { }\n\n"),
        // Framing.
        (
            "data:{\"a\":1,\"usage\":null}\r\n\r\n",
            "data:{\"a\":1}\r\n\r\n",
        ),
        (
            ": c\n\nid: 1\ndata: {\"a\":1,\"usage\":null}\n\n: d\n\n",
            ": c\n\nid: 1\ndata: {\"a\":1}\n\n: d\n\n",
        ),
        (
            "\n\ndata: {\"a\":\"\\\"usage\\\":null\",\"usage\":null}\r\r",
            "\n\ndata: {\"a\":\"\\\"usage\\\":null\"}\r\r",
        ),
        // Text that speaks of usage.
        (
            "data: {\"choices\":[{\"delta\":{\"content\":\"usage\"}}],\"usage\":null}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"usage\"}}]}\n\n",
        ),
        // The last chunk goes.
        (
            "data: {\"id\":1,\"x\":2}\n\ndata: {\"id\":1,\"x\":2,\"choices\":[],\"usage\":{\"n\":1}}\n\n",
            "data: {\"id\":1,\"x\":2}\n\n",
        ),
        // Nothing to do.
        ("data: {\"a\": 1}\n\n", "data: {\"a\": 1}\n\n"),
    ];
    for (with, without) in table {
        let (with, without) = (
            format!("{with}data: [DONE]\n\n"),
            format!("{without}data: [DONE]\n\n"),
        );
        assert_eq!(stripped(&with).as_deref(), Some(&*without), "{with}");
    }
}

/// Every earlier count is compared with the last one, so that many of them beside a long one would
/// take time in the square of the answer.
#[test]
fn counts_are_compared_up_to_a_limit() {
    let head = r#""id":"c","object":"chat.completion.chunk","created":1,"model":"m""#;
    let text = r#"{"index":0,"delta":{"role":"assistant","content":"a"},"finish_reason":"stop"}"#;
    let first = format!("data: {{{head},\"choices\":[{text}]}}\n\n");
    let count = |counts: &str| format!("data: {{{head},\"choices\":[],\"usage\":{counts}}}\n\n");
    let made = |earlier: usize, last: usize| {
        let earlier = count(r#"{"prompt_tokens":1,"a":[0]}"#).repeat(earlier);
        let last = count(&format!(
            r#"{{"prompt_tokens":1,"a":[0{}]}}"#,
            ",0".repeat(last)
        ));
        json_of(
            Api::OpenAiChat,
            &format!("{first}{earlier}{last}data: [DONE]\n\n"),
        )
    };
    assert!(made(2_000, 100).is_some());
    assert!(made(2, 100_000).is_some());
    assert!(made(2_000, 100_000).is_none());
}

#[test]
fn usage_in_another_place_is_left_alone() {
    let table = [
        // In a chunk with choices, as DeepSeek sends it.
        "data: {\"choices\":[{\"index\":0}],\"usage\":{\"n\":1}}\n\n",
        // Not at the end.
        "data: {\"choices\":[],\"usage\":{\"n\":1}}\n\ndata: {\"choices\":[]}\n\n",
        // Deeper, as Moonshot and Groq send it.
        "data: {\"choices\":[{\"index\":0,\"usage\":{\"n\":1}}]}\n\n",
        "data: {\"choices\":[],\"x_groq\":{\"usage\" : {\"n\":1}}}\n\n",
        // The last chunk says more.
        "data: {\"id\":1}\n\ndata: {\"id\":1,\"x\":2,\"choices\":[],\"usage\":{\"n\":1}}\n\n",
        "data: {\"id\":1}\n\ndata: {\"id\":1,\"service_tier\":\"flex\",\"choices\":[],\"usage\":{\"n\":1}}\n\n",
        "data: {\"system_fingerprint\":\"a\"}\n\ndata: {\"system_fingerprint\":\"b\",\"choices\":[],\"usage\":{}}\n\n",
        // The same text in a comment.
        ": {\"a\":1,\"usage\":null}\ndata: {\"a\":1,\"usage\":null}\n\n",
        // Spelled in a way that is not looked for.
        "data: {\"a\":1,\"us\\u0061ge\":null}\n\n",
        "data: {\"a\":1,\ndata: \"usage\":null}\n\n",
    ];
    assert_eq!(stripped("data: {\"a\":1}\n\n"), None, "no end");
    for with in table {
        assert_eq!(stripped(&format!("{with}data: [DONE]\n\n")), None, "{with}");
    }
}
