//! Whole requests and the exact keys they have. The digits were computed by another program, from
//! what `src/key/mod.rs` and `src/tenant.rs` say; here they are put together once more by hand.
//!
//! If one of these changes, every stored entry is lost: raise the schema or the version of the
//! ignored fields, and say so in the change log.

use serde_json::json;

use super::with;
use crate::harness::*;

/// Nobody listens there. The key is in the answer all the same, and does not depend on a port that
/// is another one each time.
const URL: &str = "http://127.0.0.1:9/v1";
const OTHER_URL: &str = "http://127.0.0.1:9/else/v1";
const KEY: &[(&str, &str)] = &[("authorization", "Bearer sk-test")];

/// A request, and what its key is made of.
struct Golden {
    ask: Ask,
    /// Name and URL.
    upstream: (&'static str, &'static str),
    /// API and version of its ignored fields.
    api: &'static str,
    path: &'static str,
    query: &'static str,
    /// Headers that say who asks, in the order of their names.
    who: &'static [(&'static str, &'static str)],
    headers: &'static [(&'static str, &'static str)],
    /// The canonical body.
    text: &'static str,
    key: &'static str,
}

fn chat(body: &str, text: &'static str, key: &'static str) -> Golden {
    Golden {
        ask: Ask::post("/v1/chat/completions", body.to_owned()),
        upstream: ("openai", URL),
        api: "chat/2",
        path: "/chat/completions",
        query: "",
        who: KEY,
        headers: &[],
        text,
        key,
    }
}

fn goldens() -> Vec<Golden> {
    let two_plus_two = chat(
        r#"{"model":"gpt-4o","messages":[{"role":"user","content":"2+2?"}],"temperature":0.70,"user":"u-1"}"#,
        r#"{"messages":[{"content":"2+2?","role":"user"}],"model":"gpt-4o","temperature":0.70}"#,
        "c101ef7187ec9eb930d945b63d75861b0aac418f4c10f9ff97821687cb73f4e7",
    );
    let nobody = chat(
        r#"{"model":"m","messages":[]}"#,
        r#"{"messages":[],"model":"m"}"#,
        "16697714099f5b8f2a9905753b3c24f257f00ee6d62f0bfda411030169dc7674",
    );
    let spelled = chat(
        r#"{ "model":"\u006d", "tool_choice":{"b":2,"a":1}, "n":1, "messages":[],
            "response_format":{"b":[0, -0, 1.0, 1e0, 9007199254740993],"a":"caf\u00e9 \ud83d\ude00\n\"\/"} }"#,
        r#"{"messages":[],"model":"m","n":1,"response_format":{"b":[0,-0,1.0,1e0,9007199254740993],"a":"café 😀\u000a\"/"},"tool_choice":{"a":1,"b":2}}"#,
        "00bbad7d721cc8ea0f39b6b7972971cfe98aeb242399563500cb2a452274c5d5",
    );
    let beta = |ask, value| with(ask, "OpenAI-Beta", value);
    vec![
        two_plus_two,
        Golden {
            ask: nobody.ask.clone().without("authorization"),
            who: &[],
            ..nobody
        },
        Golden {
            ask: beta(beta(spelled.ask.clone(), "a=v1"), "b=v2"),
            headers: &[("openai-beta", "a=v1"), ("openai-beta", "b=v2")],
            ..spelled
        },
        Golden {
            ask: beta(
                with(
                    Ask::post("/v1/chat/completions", r#"{"model":"m","messages":[]}"#),
                    "x-llm-cache-namespace",
                    "ci.nightly_2",
                ),
                "a=v1",
            ),
            headers: &[
                ("openai-beta", "a=v1"),
                ("x-llm-cache-namespace", "ci.nightly_2"),
            ],
            ..chat(
                "",
                r#"{"messages":[],"model":"m"}"#,
                "b4e991df7bcf9af4ba1bb0e2a2227fe4d90d37af4a20cadfef34c0ea69fcc8e2",
            )
        },
        Golden {
            ask: Ask::post(
                "/completions?api-version=1&b=%2f",
                r#"{"prompt":"p","model":"m"}"#,
            ),
            api: "completions/2",
            path: "/completions",
            query: "api-version=1&b=%2f",
            ..chat(
                "",
                r#"{"model":"m","prompt":"p"}"#,
                "9d767648f5f817075a8b38bea2652e8e99589b6879ed07d399048d36a8cf31c0",
            )
        },
        Golden {
            ask: Ask::post("/v1/embeddings", r#"{"model":"m","input":["a","b"]}"#)
                .header("openai-project", "p")
                .header("OpenAI-Organization", "org-1"),
            api: "embeddings/2",
            path: "/embeddings",
            who: &[
                ("authorization", "Bearer sk-test"),
                ("openai-organization", "org-1"),
                ("openai-project", "p"),
            ],
            ..chat(
                "",
                r#"{"input":["a","b"],"model":"m"}"#,
                "10a9c929ccc67a6e3b054686e43d6ac55e0ff13cc4a86fd4b42ef56e6e48ae21",
            )
        },
        Golden {
            ask: Ask::post(
                "/v1/responses",
                r#"{"model":"m","input":[{"role":"user","content":"a"}],"store":false,"metadata":{"a":"b"}}"#,
            ),
            api: "responses/2",
            path: "/responses",
            ..chat(
                "",
                r#"{"input":[{"content":"a","role":"user"}],"model":"m","store":false}"#,
                "d47e26d5f70ffc5a012b8e495f650779a54652b334f28b1d8e3dfc9fdc8878ea",
            )
        },
        Golden {
            ask: Ask::post(
                "/v1/messages",
                r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"}],"system":[{"type":"text","text":"s"}]}"#,
            )
            .without("authorization")
            .header("x-api-key", "k")
            .header("anthropic-beta", "a-1")
            .header("anthropic-version", "2023-06-01"),
            api: "messages/2",
            path: "/messages",
            who: &[("x-api-key", "k")],
            headers: &[
                ("anthropic-beta", "a-1"),
                ("anthropic-version", "2023-06-01"),
            ],
            ..chat(
                "",
                r#"{"max_tokens":9,"messages":[{"role":"user","content":"a"}],"model":"m","system":[{"text":"s","type":"text"}]}"#,
                "ee4ed3d4e0d92f7ecba192de381f9aca4523808f4392def3c07862bbd4124ad2",
            )
        },
        Golden {
            ask: Ask::post(
                "/simulate/other/cache/chat/completions",
                r#"{"model":"m","messages":[]}"#,
            ),
            upstream: ("other", OTHER_URL),
            ..chat(
                "",
                r#"{"messages":[],"model":"m"}"#,
                "b57adb650d81bbeef74def6eafea2aff3ad9a459a732889b6c80928bc9af96b0",
            )
        },
    ]
}

impl Golden {
    /// All of them ask for an answer in one piece; these two APIs say so in the body only.
    fn form(&self) -> &'static str {
        match self.api {
            "completions/2" | "embeddings/2" => "",
            _ => "json",
        }
    }

    fn by_hand(&self) -> String {
        let mut who = blake3::Hasher::new_derive_key("llm-cache-server 2026-11 tenant");
        for (name, value) in self.who {
            who.update(&frame(name));
            who.update(&frame(value));
        }
        let (name, url) = self.upstream;
        let mut all = b"llm-cache-key/2".to_vec();
        all.extend(who.finalize().as_bytes());
        all.extend(frame(&format!("{name} {url}")));
        all.extend(frame(self.api));
        all.extend(frame(self.path));
        all.extend(frame(self.query));
        all.extend(frame(self.form()));
        all.extend((self.headers.len() as u64).to_le_bytes());
        for (name, value) in self.headers {
            all.extend(frame(name));
            all.extend(frame(value));
        }
        all.extend(blake3::hash(self.text.as_bytes()).as_bytes());
        blake3::hash(&all).to_hex().to_string()
    }
}

/// A part of variable length: its length, then itself.
fn frame(part: &str) -> Vec<u8> {
    [&(part.len() as u64).to_le_bytes(), part.as_bytes()].concat()
}

#[tokio::test]
async fn whole_requests_have_exactly_these_keys() {
    let proxy = proxy()
        .config(|c| {
            c.upstream_at("openai", URL, json!({}));
            c.upstream_at("other", OTHER_URL, json!({}));
        })
        .start()
        .await;
    let mut wrong = Vec::new();
    for golden in goldens() {
        let answer = proxy.ask(&golden.ask).await;
        let seen = answer.field("x-llm-cache-key").unwrap_or_default();
        let by_hand = golden.by_hand();
        if seen != golden.key || by_hand != golden.key {
            let (path, pinned) = (&golden.ask.path, golden.key);
            wrong.push(format!(
                "{path}\n  pinned  {pinned}\n  by hand {by_hand}\n  header  {seen}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
