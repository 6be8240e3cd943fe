//! Headers that change answers are in the key, others are not.

use super::{Table, chat_with, completion_with, embedding_with, message_with, response_with, with};
use crate::harness::Ask;

pub fn rows(t: &mut Table) {
    in_the_key(t);
    namespaces(t);
    not_in_the_key(t);
    connection(t);
    content(t);
}

fn asks() -> [(&'static str, Ask, &'static [&'static str]); 5] {
    const OPENAI: &[&str] = &["openai-beta"];
    const ALL: &[&str] = &[
        "openai-beta",
        "x-policy-id",
        "x-goog-api-version",
        "x-goog-fieldmask",
        "x-goog-visibilities",
    ];
    [
        ("chat", chat_with("\"x\":1"), ALL),
        ("completions", completion_with(""), OPENAI),
        ("embeddings", embedding_with(""), OPENAI),
        ("responses", response_with(r#","input":"i""#), OPENAI),
        (
            "messages",
            message_with(r#","messages":[]"#),
            &["anthropic-version", "anthropic-beta"],
        ),
    ]
}

fn in_the_key(t: &mut Table) {
    t.theme("headers in the key");
    for (api, ask, names) in asks() {
        for name in names {
            let of = |values: &[&str]| {
                let ask = ask.clone();
                values.iter().fold(ask, |ask, value| with(ask, name, value))
            };
            for (what, a, b) in [
                ("one or none", &[][..], &["a-1"][..]),
                ("an empty one or none", &[], &[""]),
                ("two values", &["a-1"], &["a-2"]),
                ("case of the value", &["a-1"], &["A-1"]),
                ("once and twice", &["a-1"], &["a-1", "a-1"]),
                ("a list and two lines", &["a-1,b-1"], &["a-1", "b-1"]),
                ("a list, spaced", &["a-1,b-1"], &["a-1, b-1"]),
                ("order of a list", &["a-1,b-1"], &["b-1,a-1"]),
                ("order of two lines", &["a-1", "b-1"], &["b-1", "a-1"]),
                ("the second line", &["a-1", "b-1"], &["a-1", "b-2"]),
            ] {
                t.different(&format!("{api}, {name}: {what}"), of(a), of(b));
            }
            let upper = with(ask.clone(), &name.to_uppercase(), "a-1");
            t.same(
                &format!("{api}, {name}: case of the name"),
                of(&["a-1"]),
                upper,
            );
            let spaced = with(ask.clone(), name, "  a-1 ");
            t.same(
                &format!("{api}, {name}: space around"),
                of(&["a-1"]),
                spaced,
            );
        }
    }
    let ask = || message_with(r#","messages":[]"#);
    t.different(
        "one value under two names",
        with(ask(), "anthropic-version", "a"),
        with(ask(), "anthropic-beta", "a"),
    );
    t.different(
        "two values, swapped",
        with(with(ask(), "anthropic-version", "a"), "anthropic-beta", "b"),
        with(with(ask(), "anthropic-version", "b"), "anthropic-beta", "a"),
    );
    t.same(
        "order of two names",
        with(with(ask(), "anthropic-version", "a"), "anthropic-beta", "b"),
        with(with(ask(), "anthropic-beta", "b"), "anthropic-version", "a"),
    );
    t.same(
        "something between two lines",
        with(with(ask(), "anthropic-beta", "a"), "anthropic-beta", "b"),
        with(
            with(with(ask(), "anthropic-beta", "a"), "accept", "*/*"),
            "anthropic-beta",
            "b",
        ),
    );
}

fn namespaces(t: &mut Table) {
    t.theme("namespaces");
    const NAME: &str = "x-llm-cache-namespace";
    for (api, ask, names) in asks() {
        let of = |value: &str| with(ask.clone(), NAME, value);
        t.different(&format!("{api}: one or none"), ask.clone(), of("a"));
        t.different(&format!("{api}: two"), of("a"), of("b"));
        t.different(&format!("{api}: case of the value"), of("a"), of("A"));
        t.same(
            &format!("{api}: case of the name"),
            of("a"),
            with(ask.clone(), "X-LLM-Cache-Namespace", "a"),
        );
        t.same(&format!("{api}: space around"), of("a"), of("  a "));
        t.same(
            &format!("{api}: beside what is not in the key"),
            of("a"),
            with(of("a"), "user-agent", "curl/8"),
        );
        t.different(
            &format!("{api}: another tenant"),
            of("a"),
            of("a").bearer("somebody-else"),
        );
        for name in names {
            let of = |a, b| with(with(ask.clone(), NAME, a), name, b);
            t.different(
                &format!("{api}: not to be taken for {name}"),
                with(ask.clone(), NAME, "a"),
                with(ask.clone(), name, "a"),
            );
            t.different(
                &format!("{api}: swapped with {name}"),
                of("a", "b"),
                of("b", "a"),
            );
            t.same(
                &format!("{api}: before or behind {name}"),
                of("a", "b"),
                with(with(ask.clone(), name, "b"), NAME, "a"),
            );
        }
    }
}

fn not_in_the_key(t: &mut Table) {
    t.theme("headers not in the key");
    for (name, a, b) in [
        ("user-agent", "OpenAI/Python 2.0", "curl/8"),
        ("accept", "*/*", "application/json"),
        ("accept-language", "en", "de"),
        ("x-request-id", "a", "b"),
        ("x-client-request-id", "a", "b"),
        ("idempotency-key", "a", "b"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        ),
        ("tracestate", "a=1", "b=2"),
        ("baggage", "a=1", "b=2"),
        ("b3", "0", "1"),
        ("x-b3-traceid", "1", "2"),
        ("x-datadog-trace-id", "1", "2"),
        ("sentry-trace", "1", "2"),
        ("x-stainless-lang", "python", "js"),
        ("x-stainless-os", "Linux", "MacOS"),
        ("x-stainless-runtime-version", "3.12", "3.13"),
        ("x-stainless-timeout", "600", "60"),
        ("x-stainless-helper-method", "stream", "parse"),
        ("x-forwarded-for", "10.0.0.1", "10.0.0.2"),
        ("x-forwarded-proto", "http", "https"),
        ("forwarded", "for=10.0.0.1", "for=10.0.0.2"),
        ("via", "1.1 a", "1.1 b"),
        ("referer", "https://a", "https://b"),
        ("origin", "https://a", "https://b"),
        (
            "date",
            "Tue, 24 Nov 2026 10:00:00 GMT",
            "Tue, 24 Nov 2026 10:00:01 GMT",
        ),
        ("from", "a@example.com", "b@example.com"),
        ("sec-fetch-mode", "cors", "no-cors"),
        ("x-title", "a", "b"),
        ("priority", "u=1", "u=2"),
        ("x-unheard-of", "a", "b"),
    ] {
        let ask = || chat_with("\"x\":1");
        t.same(name, with(ask(), name, a), with(ask(), name, b));
        t.same(&format!("{name} or none"), ask(), with(ask(), name, a));
    }
}

fn connection(t: &mut Table) {
    t.theme("connection");
    let ask = || chat_with("\"x\":1");
    for value in [
        "authorization",
        "Authorization",
        "keep-alive, authorization",
        "keep-alive,AUTHORIZATION , close",
        "x-api-key",
        "openai-beta",
        "x-goog-fieldmask",
        "x-policy-id",
        "cookie",
        "x-portkey-provider",
        "openai-organization",
    ] {
        t.uncacheable(value, with(ask(), "connection", value), "connection-header");
    }
    t.uncacheable(
        "on a second line",
        with(
            with(ask(), "connection", "keep-alive"),
            "connection",
            "api-key",
        ),
        "connection-header",
    );
    t.uncacheable(
        "anthropic-version",
        with(
            message_with(r#","messages":[]"#),
            "connection",
            "anthropic-version",
        ),
        "connection-header",
    );
    for value in [
        "keep-alive",
        "close",
        "x-request-id",
        "keep-alive, user-agent",
    ] {
        t.same(
            &format!("{value} takes nothing"),
            ask(),
            with(ask(), "connection", value),
        );
    }
}

fn content(t: &mut Table) {
    t.theme("content type");
    let of = |value: &str| chat_with("\"x\":1").header("content-type", value);
    for value in [
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/json ; charset=utf-8",
        "Application/JSON",
        "APPLICATION/JSON",
        "application/json;",
    ] {
        t.same(value, of("application/json"), of(value));
    }
    for value in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "application/x-ndjson",
        "application/jsonl",
        "text/json",
        "json",
        "",
        "application/octet-stream",
    ] {
        t.uncacheable(&format!("not JSON: {value:?}"), of(value), "not-json");
    }
    t.uncacheable(
        "none",
        chat_with("\"x\":1").without("content-type"),
        "not-json",
    );
    let ask = || chat_with("\"x\":1");
    t.same(
        "content-encoding: identity",
        ask(),
        with(ask(), "content-encoding", "identity"),
    );
    t.uncacheable(
        "content-encoding nobody knows",
        with(ask(), "content-encoding", "x-unheard-of"),
        "not-json",
    );
}
