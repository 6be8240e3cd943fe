//! Which members of a body count: all but a few, and an absent one is not its default.

use super::{Table, chat, chat_with, completion_with, embedding_with, message_with, response_with};
use crate::harness::Ask;

/// Adds members to a body.
type Of = fn(&str) -> Ask;

const APIS: [(&str, Of); 5] = [
    ("chat", |more| chat_with(&format!("\"x\":1{more}"))),
    ("completions", completion_with),
    ("embeddings", embedding_with),
    ("responses", |more| {
        response_with(&format!(r#","input":"i"{more}"#))
    }),
    ("messages", |more| {
        message_with(&format!(r#","messages":[]{more}"#))
    }),
];

/// What each API leaves out of its key.
fn ignored(api: &str) -> &'static [&'static str] {
    match api {
        "chat" | "responses" => &[
            "user",
            "safety_identifier",
            "metadata",
            "prompt_cache_key",
            "prompt_cache_retention",
        ],
        "completions" | "embeddings" => &["user"],
        "messages" => &["metadata"],
        _ => unreachable!("{api}"),
    }
}

pub fn rows(t: &mut Table) {
    ignored_fields(t);
    absent(t);
    unknown(t);
    models(t);
}

fn ignored_fields(t: &mut Table) {
    t.theme("ignored fields");
    for (api, of) in APIS {
        for field in [
            "user",
            "safety_identifier",
            "metadata",
            "prompt_cache_key",
            "prompt_cache_retention",
        ] {
            let with = |value: &str| of(&format!(",\"{field}\":{value}"));
            if ignored(api).contains(&field) {
                t.same(&format!("{api}: {field} or none"), of(""), with(r#""a""#));
                t.same(
                    &format!("{api}: {field} of two"),
                    with(r#"{"a":1}"#),
                    with(r#"{"a":2}"#),
                );
            } else {
                t.different(&format!("{api}: {field} or none"), of(""), with(r#""a""#));
                t.different(
                    &format!("{api}: {field} of two"),
                    with(r#""a""#),
                    with(r#""b""#),
                );
            }
        }
    }
    let plain = || chat(r#"{"model":"m","messages":[]}"#);
    for (name, body) in [
        ("first", r#"{"user":"u","model":"m","messages":[]}"#),
        ("in the middle", r#"{"model":"m","user":"u","messages":[]}"#),
        ("last", r#"{"model":"m","messages":[],"user":"u"}"#),
        (
            "last, spaced",
            "{\"model\":\"m\",\"messages\":[] , \"user\" : \"u\"\n}",
        ),
        (
            "several",
            r#"{"user":"u","metadata":{"a":[1,{}]},"model":"m","safety_identifier":"s","messages":[],"prompt_cache_key":"k"}"#,
        ),
        ("null", r#"{"model":"m","messages":[],"user":null}"#),
        ("escaped", r#"{"model":"m","messages":[],"\u0075ser":"u"}"#),
    ] {
        t.same(name, plain(), chat(body));
    }
    for name in [
        "User",
        "USER",
        "user ",
        " user",
        "users",
        "user\\u0000",
        "ｕser",
        "meta\u{200b}data",
    ] {
        let with = chat_with(&format!("\"{name}\":\"u\""));
        t.different(
            &format!("not {name:?}"),
            chat(r#"{"model":"m","messages":[]}"#),
            with,
        );
    }
    let message = |user: &str| {
        chat(format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"a","user":"{user}"}}]}}"#
        ))
    };
    t.different("in a message", message("a"), message("b"));
    let tool = |user: &str| {
        chat_with(&format!(
            r#""tools":[{{"type":"function","function":{{"name":"f","parameters":{{"user":"{user}"}}}}}}]"#
        ))
    };
    t.different("in a tool", tool("a"), tool("b"));
    t.different(
        "in an unknown field",
        chat_with(r#""x":{"metadata":1}"#),
        chat_with(r#""x":{"metadata":2}"#),
    );
    t.different(
        "what stands behind it",
        chat_with(r#""user":"u","a":1"#),
        chat_with(r#""user":"u","a":2"#),
    );
}

fn absent(t: &mut Table) {
    t.theme("absent, null, default");
    let plain = || chat_with("\"x\":1");
    for (field, default) in [
        ("temperature", "1"),
        ("top_p", "1"),
        ("n", "1"),
        ("max_tokens", "4096"),
        ("stop", "[]"),
        ("tools", "[]"),
        ("tool_choice", "\"auto\""),
        ("response_format", r#"{"type":"text"}"#),
        ("logprobs", "false"),
        ("parallel_tool_calls", "true"),
        ("store", "false"),
        ("seed", "0"),
        ("service_tier", "\"auto\""),
        ("presence_penalty", "0"),
        ("reasoning_effort", "\"medium\""),
    ] {
        let with = |value: &str| chat_with(&format!("\"x\":1,\"{field}\":{value}"));
        t.different(&format!("{field}: absent and null"), plain(), with("null"));
        t.different(
            &format!("{field}: absent and default"),
            plain(),
            with(default),
        );
        t.different(
            &format!("{field}: null and default"),
            with("null"),
            with(default),
        );
    }
    for (name, of, a, b) in [
        (
            "completions: max_tokens",
            APIS[1].1,
            "",
            r#","max_tokens":16"#,
        ),
        ("completions: echo", APIS[1].1, "", r#","echo":false"#),
        (
            "embeddings: encoding_format",
            APIS[2].1,
            "",
            r#","encoding_format":"float""#,
        ),
        (
            "embeddings: the other one",
            APIS[2].1,
            r#","encoding_format":"base64""#,
            r#","encoding_format":"float""#,
        ),
        (
            "embeddings: dimensions",
            APIS[2].1,
            "",
            r#","dimensions":1536"#,
        ),
        (
            "embeddings: dimensions null",
            APIS[2].1,
            "",
            r#","dimensions":null"#,
        ),
        (
            "responses: store",
            |more| {
                Ask::post(
                    "/v1/responses",
                    format!(r#"{{"model":"m","input":"i"{more}}}"#),
                )
            },
            "",
            r#","store":false"#,
        ),
        (
            "responses: instructions",
            APIS[3].1,
            "",
            r#","instructions":null"#,
        ),
        (
            "responses: previous_response_id",
            APIS[3].1,
            "",
            r#","previous_response_id":null"#,
        ),
        (
            "responses: truncation",
            APIS[3].1,
            "",
            r#","truncation":"disabled""#,
        ),
        ("messages: system", APIS[4].1, "", r#","system":"""#),
        ("messages: system null", APIS[4].1, "", r#","system":null"#),
        (
            "messages: thinking",
            APIS[4].1,
            "",
            r#","thinking":{"type":"disabled"}"#,
        ),
        (
            "messages: top_k",
            APIS[4].1,
            r#","top_k":1"#,
            r#","top_k":2"#,
        ),
    ] as [(&str, Of, &str, &str); 14]
    {
        t.different(name, of(a), of(b));
    }
    t.different(
        "messages: max_tokens",
        Ask::post(
            "/v1/messages",
            r#"{"model":"m","max_tokens":9,"messages":[]}"#,
        ),
        Ask::post(
            "/v1/messages",
            r#"{"model":"m","max_tokens":10,"messages":[]}"#,
        ),
    );
    t.different(
        "two names of one limit",
        chat_with("\"max_tokens\":9"),
        chat_with("\"max_completion_tokens\":9"),
    );
}

fn unknown(t: &mut Table) {
    t.theme("unknown fields");
    for (api, of) in APIS {
        let (one, two) = (of(r#","unheard_of":1"#), of(r#","unheard_of":2"#));
        t.different(&format!("{api}: one or none"), of(""), one.clone());
        t.different(&format!("{api}: of two values"), one, two);
        t.different(
            &format!("{api}: of two names"),
            of(r#","unheard_of":1"#),
            of(r#","unheard-of":1"#),
        );
    }
    t.different(
        "null or none",
        chat_with("\"a\":1"),
        chat_with("\"a\":1,\"b\":null"),
    );
    t.different(
        "two for one",
        chat_with("\"a\":1,\"b\":2"),
        chat_with("\"a\":2,\"b\":1"),
    );
    t.different(
        "an empty name",
        chat_with("\"a\":1"),
        chat_with("\"a\":1,\"\":1"),
    );
    t.different(
        "a name of quotes",
        chat_with(r#""a\":1,\"b":2"#),
        chat_with(r#""a":1,"b":2"#),
    );
}

fn models(t: &mut Table) {
    t.theme("models");
    let model = |model: &str| chat(format!(r#"{{"model":"{model}","messages":[]}}"#));
    for (a, b) in [
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("gpt-4o", "gpt-4o-latest"),
        ("gpt-4o", "chatgpt-4o-latest"),
        ("gpt-4o", "openai/gpt-4o"),
        ("gpt-4o", "GPT-4o"),
        ("gpt-4o", "gpt-4o "),
        ("gpt-4o", "gpt-4o:nitro"),
        ("gpt-4o", "gpt-4o:free"),
        ("gpt-4o", "gpt-4o-mini"),
        ("gpt-4o", "models/gpt-4o"),
        ("gpt-4o", "gpt\u{2011}4o"),
        ("gpt-4", "gpt-4o"),
        ("o1", "01"),
        ("ft:gpt-4o:acme::a", "ft:gpt-4o:acme::b"),
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("llama3", "llama3:latest"),
    ] {
        t.different(&format!("{a:?} and {b:?}"), model(a), model(b));
    }
    for value in ["null", "\"\"", "4", "true", "[\"m\"]", "{\"id\":\"m\"}"] {
        t.uncacheable(
            &format!("{value} is none"),
            chat(format!(r#"{{"model":{value},"messages":[]}}"#)),
            "no-model",
        );
    }
    for (name, path) in [
        ("chat", "/v1/chat/completions"),
        ("completions", "/v1/completions"),
        ("embeddings", "/v1/embeddings"),
        ("responses", "/v1/responses"),
        ("messages", "/v1/messages"),
    ] {
        t.uncacheable(
            &format!("{name}: none"),
            Ask::post(path, r#"{"input":"i"}"#),
            "no-model",
        );
        t.uncacheable(
            &format!("{name}: an empty object"),
            Ask::post(path, "{}"),
            "no-model",
        );
    }
    t.uncacheable(
        "another case of its name",
        chat(r#"{"Model":"m","messages":[]}"#),
        "no-model",
    );
}
