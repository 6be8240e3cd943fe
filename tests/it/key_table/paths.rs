//! Paths, queries and framing: what is ours, and what is the same however it is sent.

use super::table::h2;
use super::{Table, chat, chat_with, with};
use crate::harness::Ask;

const CHAT: &str = "/v1/chat/completions";

fn ask() -> Ask {
    chat_with("\"x\":1")
}

fn at(path: &str) -> Ask {
    ask().to(path)
}

pub fn rows(t: &mut Table) {
    spellings(t);
    not_ours(t);
    upstreams(t);
    queries(t);
    framing(t);
    methods(t);
}

fn spellings(t: &mut Table) {
    t.theme("paths of one question");
    for path in [
        "/chat/completions",
        "/cache/v1/chat/completions",
        "/cache/chat/completions",
        "/openai/v1/chat/completions",
        "/openai/chat/completions",
        "/openai/cache/v1/chat/completions",
        "/cache/openai/chat/completions",
        "/simulate/v1/chat/completions",
        "/simulate/openai/cache/v1/chat/completions",
        "/v1/chat/completions?",
    ] {
        t.same(path, ask(), at(path));
    }
    // A fragment is never sent on.
    t.same("a fragment", ask(), at("/v1/chat/completions#a"));
    t.same(
        "a fragment behind a query",
        at("/v1/chat/completions?a=1"),
        at("/v1/chat/completions?a=1#b"),
    );
    t.same(
        "a whole URL",
        ask(),
        at("http://cache.test/v1/chat/completions"),
    );
    for (short, body) in [
        ("/completions", r#"{"model":"m","prompt":"p"}"#),
        ("/embeddings", r#"{"model":"m","input":"i"}"#),
        ("/responses", r#"{"model":"m","input":"i","store":false}"#),
        ("/messages", r#"{"model":"m","max_tokens":9,"messages":[]}"#),
    ] {
        let long = format!("/v1{short}");
        t.same(&long, Ask::post(short, body), Ask::post(&long, body));
    }
    t.theme("paths of two APIs");
    const BOTH: &str = r#"{"model":"m","messages":[],"input":"i","store":false}"#;
    let paths = [
        CHAT,
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/messages",
    ];
    for (i, a) in paths.iter().enumerate() {
        for b in &paths[i + 1..] {
            t.different(
                &format!("{a} and {b}"),
                Ask::post(a, BOTH),
                Ask::post(b, BOTH),
            );
        }
    }
}

fn not_ours(t: &mut Table) {
    t.theme("paths of no API");
    for path in [
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/chat//completions",
        "/v1/chat/completions/",
        "/v1/chat/completions//",
        "/v1/chat%2fcompletions",
        "/v1/chat%2Fcompletions",
        "/v1%2Fchat/completions",
        "/%76%31/chat/completions",
        "/v1/chat/%63ompletions",
        "/v1/chat/completions%20",
        "/v1/chat/completions%3Fa=1",
        "/v1/chat/completions%00",
        "/V1/chat/completions",
        "/v1/Chat/Completions",
        "/v1/CHAT/COMPLETIONS",
        "/Cache/v1/chat/completions",
        "/OpenAI/v1/chat/completions",
        "/v1/./chat/completions",
        "/v1/chat/../chat/completions",
        "/v1/chat/completions/.",
        "/./v1/chat/completions",
        "/v1/v1/chat/completions",
        "/v2/chat/completions",
        "/v1/cache/chat/completions",
        "/v1/openai/chat/completions",
        "/cache/cache/v1/chat/completions",
        "/openai/other/v1/chat/completions",
        "/simulate/simulate/v1/chat/completions",
        "/unheard-of/v1/chat/completions",
        "/v1/chat/completions;a=1",
        "/v1/chat\\completions",
        "/v1/chat/completion",
        "/v1/chat/completionss",
        "/v1/chat/completions.json",
        "/v1/chat",
        "/v1/models",
        "/v1/files",
        "/",
    ] {
        t.passes(path, at(path));
    }
    t.passes("with a query", at("/v1/chat/completions/?a=1"));
}

fn upstreams(t: &mut Table) {
    t.theme("upstreams");
    t.different("another one", ask(), at("/other/v1/chat/completions"));
    t.different("another one, short", ask(), at("/other/chat/completions"));
    t.different(
        "another name at one URL",
        ask(),
        at("/twin/v1/chat/completions"),
    );
    let model =
        |model: &str, path: &str| chat(format!(r#"{{"model":"{model}","messages":[]}}"#)).to(path);
    t.same(
        "by the model or by name",
        model("other-1", CHAT),
        model("other-1", "/other/v1/chat/completions"),
    );
    t.different(
        "by the model, and another by name",
        model("other-1", CHAT),
        model("other-1", "/openai/v1/chat/completions"),
    );
    t.different(
        "by two models",
        model("other-1", CHAT),
        model("another-1", CHAT),
    );
}

fn queries(t: &mut Table) {
    t.theme("queries");
    for (a, b) in [
        ("", "?a=1"),
        ("?a=1", "?a=2"),
        ("?a=1", "?A=1"),
        ("?a=b", "?a=B"),
        ("?a=1&b=2", "?b=2&a=1"),
        ("?a=1", "?a=1&"),
        ("?a=1", "?&a=1"),
        ("?a=1&b=2", "?a=1&&b=2"),
        ("?a=1", "?a=1&a=1"),
        ("?a", "?a="),
        ("?a", "?a?"),
        ("?a=%20", "?a=+"),
        ("?a=%2f", "?a=%2F"),
        ("?a=/", "?a=%2F"),
        ("?%61=1", "?a=1"),
        ("?a=1;b=2", "?a=1&b=2"),
        ("?&", "?"),
        ("?api-version=2024-10-21", "?api-version=2025-01-01-preview"),
        ("?beta=true", ""),
        ("?key=a", "?key=b"),
        ("?a=é", "?a=%C3%A9"),
        ("?a=é", "?a=e\u{301}"),
    ] {
        let of = |query: &str| at(&format!("{CHAT}{query}"));
        t.different(&format!("{a:?} and {b:?}"), of(a), of(b));
    }
    t.same(
        "another path of the same question",
        at("/v1/chat/completions?a=1&b=%2f"),
        at("/openai/cache/chat/completions?a=1&b=%2f"),
    );
    t.different(
        "what could be a header",
        with(ask(), "openai-beta", "a"),
        at("/v1/chat/completions?openai-beta=a"),
    );
}

fn framing(t: &mut Table) {
    t.theme("framing");
    t.same("chunks", ask(), ask().pieces(&[10]));
    t.same(
        "chunks of one byte",
        ask().pieces(&[1]),
        ask().pieces(&[7, 3]),
    );
    t.same("HTTP/2", ask(), h2(ask()));
    t.same("HTTP/2 first", h2(ask()), ask());
    t.same("HTTP/2 without a length", ask(), h2(ask().pieces(&[9])));
    t.same("HTTP/2 and chunks", h2(ask()), ask().pieces(&[1000]));
    t.same("100-continue", ask(), ask().expecting());
    t.same(
        "HTTP/2, another path",
        ask(),
        h2(at("/openai/chat/completions")),
    );
    t.different(
        "HTTP/2, another query",
        ask(),
        h2(at("/v1/chat/completions?a=1")),
    );
    t.different("HTTP/2, another value", ask(), h2(chat_with("\"x\":2")));
    t.different(
        "chunks of another body",
        ask().pieces(&[5]),
        chat_with("\"x\":2").pieces(&[5]),
    );
    t.different("HTTP/2, another key", ask(), h2(ask().bearer("other")));
    t.same(
        "HTTP/2, headers in the key",
        with(with(ask(), "OpenAI-Beta", "a"), "OpenAI-Beta", "b"),
        h2(with(with(ask(), "openai-beta", "a"), "openai-beta", "b")),
    );
    t.passes("HTTP/2, two slashes", h2(at("//v1/chat/completions")));
    t.passes("HTTP/2, a slash too many", h2(at("/v1/chat/completions/")));
    t.passes("HTTP/2, an escaped slash", h2(at("/v1/chat%2fcompletions")));
    t.passes("HTTP/2, another case", h2(at("/v1/Chat/completions")));
    t.uncacheable(
        "HTTP/2, a key twice",
        h2(chat_with(r#""a":1,"\u0061":2"#)),
        "duplicate-key",
    );
    t.uncacheable(
        "chunks, a key twice",
        chat_with(r#""a":1,"a":2"#).pieces(&[3]),
        "duplicate-key",
    );
    t.uncacheable(
        "chunks, trailing bytes",
        chat("{\"model\":\"m\"} x").pieces(&[13]),
        "trailing-bytes",
    );
    t.uncacheable("chunks of nothing", chat("").pieces(&[1]), "invalid-json");
}

fn methods(t: &mut Table) {
    t.theme("methods");
    for method in ["PUT", "PATCH", "DELETE", "GET"] {
        let mut ask = ask();
        ask.method = method.into();
        t.uncacheable(method, ask, "not-json");
    }
    t.theme("controls");
    t.uncacheable("no-store", ask().cache_control("no-store"), "no-store");
    t.uncacheable(
        "No-Store among others",
        ask().cache_control("max-age=9, No-Store"),
        "no-store",
    );
    t.same("max-age", ask(), ask().cache_control("max-age=600"));
    t.same("nobody knows", ask(), ask().cache_control("no-transform"));
}
