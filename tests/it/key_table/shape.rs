//! White space, arrays and depth.

use super::{Table, chat, chat_with, value};
use crate::harness::Ask;

/// Canonical JSON takes the body's own object for the first level.
const DEPTH_MAX: usize = 128;
const MEMBERS_MAX: usize = 1 << 16;

pub fn rows(t: &mut Table) {
    white_space(t);
    structure(t);
    depth(t);
    members(t);
}

fn white_space(t: &mut Table) {
    t.theme("white space");
    let plain = || chat(r#"{"model":"m","messages":[{"role":"user","content":"a b"}],"x":{}}"#);
    for (name, body) in [
        (
            "everywhere",
            "\t{ \"model\"\n:\r\"m\" ,\"messages\" : [ { \"role\" : \"user\" , \"content\" : \"a b\" } ] , \"x\" : { } }",
        ),
        (
            "behind colons and commas",
            r#"{"model": "m", "messages": [{"role": "user", "content": "a b"}], "x": {}}"#,
        ),
        (
            "lines",
            "{\n  \"model\": \"m\",\n  \"messages\": [\n    {\"role\": \"user\", \"content\": \"a b\"}\n  ],\n  \"x\": {}\n}",
        ),
        (
            "lines ended by CRLF",
            "{\r\n\"model\":\"m\",\r\n\"messages\":[{\"role\":\"user\",\"content\":\"a b\"}],\"x\":{}\r\n}\r\n",
        ),
        (
            "at the begin",
            " \n{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a b\"}],\"x\":{}}",
        ),
        (
            "at the end",
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a b\"}],\"x\":{}}\n\n",
        ),
    ] {
        t.same(name, plain(), chat(body));
    }
    let schema = |s: &str| chat_with(&format!(r#""response_format":{{"a":{s}1,{s}"b":2}}"#));
    t.same("inside a schema", schema(""), schema(" "));
    t.same("in an empty array", value("[]"), value("[ \n ]"));
    t.different("inside a string", value(r#""a b""#), value(r#""ab""#));
}

fn structure(t: &mut Table) {
    t.theme("structure");
    let messages = |messages: &str| chat(format!(r#"{{"model":"m","messages":[{messages}]}}"#));
    let (a, b) = (
        r#"{"role":"user","content":"a"}"#,
        r#"{"role":"user","content":"b"}"#,
    );
    t.different(
        "order of messages",
        messages(&format!("{a},{b}")),
        messages(&format!("{b},{a}")),
    );
    t.different(
        "one message more",
        messages(a),
        messages(&format!("{a},{a}")),
    );
    t.different("no message", messages(a), messages(""));
    t.different(
        "role",
        messages(a),
        messages(r#"{"role":"system","content":"a"}"#),
    );
    t.different(
        "name",
        messages(a),
        messages(r#"{"role":"user","content":"a","name":"n"}"#),
    );
    t.different(
        "text and a part of text",
        messages(a),
        messages(r#"{"role":"user","content":[{"type":"text","text":"a"}]}"#),
    );
    for (a, b) in [
        (r#"["a","b"]"#, r#"["b","a"]"#),
        (r#""a""#, r#"["a"]"#),
        ("[]", "{}"),
        ("[]", "null"),
        ("{}", "null"),
        ("[]", "[[]]"),
        ("[[],[]]", "[[[]]]"),
        ("[[1],[2]]", "[[1,2]]"),
        ("[null]", "[]"),
        (r#"{"a":null}"#, "{}"),
        (r#"{"a":{"b":1}}"#, r#"{"a":{},"b":1}"#),
        (r#"{"a":1,"b":2}"#, r#"{"a":2,"b":1}"#),
        (r#"{"a":1,"A":2}"#, r#"{"a":2,"A":1}"#),
        (r#"[{"a":1},{"b":2}]"#, r#"[{"a":1,"b":2}]"#),
        ("true", "false"),
        ("true", "\"true\""),
        ("null", "\"null\""),
    ] {
        t.different(&format!("{a} and {b}"), value(a), value(b));
    }
    t.different(
        "stop",
        chat_with(r#""stop":["a","b"]"#),
        chat_with(r#""stop":["b","a"]"#),
    );
    t.different(
        "stop as text",
        chat_with(r#""stop":"a""#),
        chat_with(r#""stop":["a"]"#),
    );
    let tool = |n| format!(r#"{{"type":"function","function":{{"name":"{n}"}}}}"#);
    let tools = |a, b| chat_with(&format!(r#""tools":[{},{}]"#, tool(a), tool(b)));
    t.different("order of tools", tools("f", "g"), tools("g", "f"));
    let input = |input: &str| {
        Ask::post(
            "/v1/embeddings",
            format!(r#"{{"model":"m","input":{input}}}"#),
        )
    };
    t.different(
        "order of inputs",
        input(r#"["a","b"]"#),
        input(r#"["b","a"]"#),
    );
    t.different(
        "one input and a list of one",
        input(r#""a""#),
        input(r#"["a"]"#),
    );
    t.different(
        "tokens and a list of tokens",
        input("[1,2]"),
        input("[[1,2]]"),
    );
    t.different(
        "tokens cut elsewhere",
        input("[[1,2],[3]]"),
        input("[[1],[2,3]]"),
    );
    t.different("tokens and text", input("[1]"), input(r#"["1"]"#));
    t.same(
        "a batch, spaced",
        input(r#"["a","b"]"#),
        input(r#"[ "a", "b" ]"#),
    );
}

/// Brackets so that the body is `depth` deep.
fn nested(depth: usize, open: &str, close: &str) -> Ask {
    value(&format!(
        "{}{}",
        open.repeat(depth - 1),
        close.repeat(depth - 1)
    ))
}

fn depth(t: &mut Table) {
    t.theme("depth");
    for depth in [DEPTH_MAX - 1, DEPTH_MAX] {
        t.same(
            &format!("{depth} arrays"),
            nested(depth, "[", "]"),
            nested(depth, "[ ", " ]"),
        );
        t.different(
            &format!("{depth} arrays and one less"),
            nested(depth, "[", "]"),
            nested(depth - 1, "[", "]"),
        );
        let objects = |space: &str| {
            let inner = depth - 2;
            value(&format!(
                "{}{{}}{}",
                format!("{{{space}\"a\":").repeat(inner),
                "}".repeat(inner)
            ))
        };
        t.same(&format!("{depth} objects"), objects(""), objects(" "));
    }
    for depth in [DEPTH_MAX + 1, DEPTH_MAX + 2, 10_000] {
        t.uncacheable(
            &format!("{depth} arrays"),
            nested(depth, "[", "]"),
            "too-deep",
        );
    }
    let objects = |inner: usize| format!("{}{{}}{}", "{\"a\":".repeat(inner), "}".repeat(inner));
    t.uncacheable("129 objects", value(&objects(DEPTH_MAX - 1)), "too-deep");
    t.uncacheable(
        "129 in an ignored field",
        chat_with(&format!("\"metadata\":{}", objects(DEPTH_MAX - 1))),
        "too-deep",
    );
    t.uncacheable("100,000 open ones", value(&"[".repeat(100_000)), "too-deep");
    t.same(
        "wide is not deep",
        value(&format!("[{}[]]", "[],".repeat(1000))),
        value(&format!("[{}[] ]", "[],".repeat(1000))),
    );
}

fn members(t: &mut Table) {
    t.theme("members");
    let object = |keys: &mut dyn Iterator<Item = usize>| {
        let members: Vec<String> = keys.map(|n| format!("\"{n}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    let bias = |object: String| chat_with(&format!("\"logit_bias\":{object}"));
    t.same(
        "as many as there may be, the other way round",
        bias(object(&mut (0..MEMBERS_MAX))),
        bias(object(&mut (0..MEMBERS_MAX).rev())),
    );
    t.uncacheable(
        "one more",
        bias(object(&mut (0..=MEMBERS_MAX))),
        "too-tangled",
    );
    // Out of order on every level, with a text inside that is moved each time.
    let levels = 100;
    let text = "t".repeat(200 << 10);
    let tangled = format!(
        "{}\"{text}\"{}",
        "{\"z\":1,\"function\":".repeat(levels),
        "}".repeat(levels)
    );
    t.uncacheable(
        "out of order on too many levels",
        chat(format!(r#"{{"model":"m","messages":[{tangled}]}}"#)),
        "too-tangled",
    );
    t.different(
        "one of many",
        bias(object(&mut (0..1000))),
        bias(object(&mut (0..1001))),
    );
}
