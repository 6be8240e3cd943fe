//! White space, order, arrays and depth.

use super::{
    Table, chat, chat_with, completion_with, embedding_with, message_with, response_with, value,
};
use crate::harness::Ask;

/// Canonical JSON takes the body's own object for the first level.
const DEPTH_MAX: usize = 128;
const MEMBERS_MAX: usize = 1 << 16;

pub fn rows(t: &mut Table) {
    white_space(t);
    order_without_meaning(t);
    order_with_meaning(t);
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

fn order_without_meaning(t: &mut Table) {
    t.theme("order without meaning");
    t.same(
        "top level",
        chat(r#"{"model":"m","messages":[],"temperature":0.5,"b":1}"#),
        chat(r#"{"b":1,"temperature":0.5,"messages":[],"model":"m"}"#),
    );
    for (name, a, b) in [
        ("logit_bias", r#"{"1":1,"2":2}"#, r#"{"2":2,"1":1}"#),
        (
            "audio",
            r#"{"voice":"a","format":"b"}"#,
            r#"{"format":"b","voice":"a"}"#,
        ),
        (
            "prediction",
            r#"{"type":"a","content":"b"}"#,
            r#"{"content":"b","type":"a"}"#,
        ),
        (
            "reasoning",
            r#"{"effort":"a","exclude":true}"#,
            r#"{"exclude":true,"effort":"a"}"#,
        ),
        (
            "tool_choice",
            r#"{"type":"function","function":{"name":"f"}}"#,
            r#"{"function":{"name":"f"},"type":"function"}"#,
        ),
    ] {
        let of = |value: &str| chat_with(&format!("\"{name}\":{value}"));
        t.same(name, of(a), of(b));
    }
    let messages = |messages: &str| chat(format!(r#"{{"model":"m","messages":{messages}}}"#));
    t.same(
        "a message",
        messages(r#"[{"role":"user","content":"a"}]"#),
        messages(r#"[{"content":"a","role":"user"}]"#),
    );
    t.same(
        "a part of a message",
        messages(r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"u","detail":"low"}}]}]"#),
        messages(r#"[{"content":[{"image_url":{"detail":"low","url":"u"},"type":"image_url"}],"role":"user"}]"#),
    );
    t.same(
        "responses: an item of the input",
        response_with(r#","input":[{"role":"user","content":"a"}]"#),
        response_with(r#","input":[{"content":"a","role":"user"}]"#),
    );
    t.same(
        "responses: reasoning",
        response_with(r#","input":"i","reasoning":{"effort":"low","summary":"auto"}"#),
        response_with(r#","input":"i","reasoning":{"summary":"auto","effort":"low"}"#),
    );
    for (name, a, b) in [
        (
            "system",
            r#"[{"type":"text","text":"a"}]"#,
            r#"[{"text":"a","type":"text"}]"#,
        ),
        (
            "thinking",
            r#"{"type":"enabled","budget_tokens":1024}"#,
            r#"{"budget_tokens":1024,"type":"enabled"}"#,
        ),
        (
            "tool_choice",
            r#"{"type":"tool","name":"f"}"#,
            r#"{"name":"f","type":"tool"}"#,
        ),
    ] {
        let of = |value: &str| message_with(&format!(",\"messages\":[],\"{name}\":{value}"));
        t.same(&format!("messages: {name}"), of(a), of(b));
    }
    t.same(
        "messages: top level",
        Ask::post(
            "/v1/messages",
            r#"{"model":"m","max_tokens":9,"messages":[]}"#,
        ),
        Ask::post(
            "/v1/messages",
            r#"{"messages":[],"max_tokens":9,"model":"m"}"#,
        ),
    );
    t.same(
        "completions: logit_bias",
        completion_with(r#","logit_bias":{"1":1,"2":2}"#),
        completion_with(r#","logit_bias":{"2":2,"1":1}"#),
    );
    t.same(
        "embeddings: top level",
        embedding_with(r#","dimensions":2,"encoding_format":"float""#),
        embedding_with(r#","encoding_format":"float","dimensions":2"#),
    );
    // One after the other, not one at the place of the other.
    t.same(
        "keys that begin alike",
        chat_with(r#""a":1,"ab":2,"a b":3"#),
        chat_with(r#""a b":3,"ab":2,"a":1"#),
    );
    t.same(
        "NFC and NFD side by side",
        chat_with("\"é\":1,\"e\u{301}\":2"),
        chat_with("\"e\u{301}\":2,\"é\":1"),
    );
}

fn order_with_meaning(t: &mut Table) {
    t.theme("order with meaning");
    const AB: &str = r#"{"a":{"type":"string"},"b":{"type":"string"}}"#;
    const BA: &str = r#"{"b":{"type":"string"},"a":{"type":"string"}}"#;
    let mut schema = |name: &str, of: &dyn Fn(&str) -> Ask| t.different(name, of(AB), of(BA));
    schema("response_format", &|properties| {
        chat_with(&format!(
            r#""response_format":{{"type":"json_schema","json_schema":{{"name":"n","schema":{{"type":"object","properties":{properties}}}}}}}"#
        ))
    });
    schema("tools", &|properties| {
        chat_with(&format!(
            r#""tools":[{{"type":"function","function":{{"name":"f","parameters":{{"properties":{properties}}}}}}}]"#
        ))
    });
    for name in [
        "functions",
        "guided_json",
        "format",
        "extra_body",
        "json_schema",
        "Messages",
    ] {
        schema(name, &|properties| {
            chat_with(&format!("\"{name}\":[{properties}]"))
        });
    }
    schema("a sorted name below the top", &|properties| {
        value(&format!(r#"{{"messages":{properties},"tool_choice":1}}"#))
    });
    schema("responses: text", &|properties| {
        response_with(&format!(
            r#","input":"i","text":{{"format":{{"type":"json_schema","schema":{properties}}}}}"#
        ))
    });
    schema("responses: tools", &|properties| {
        response_with(&format!(
            r#","input":"i","tools":[{{"type":"function","name":"f","parameters":{properties}}}]"#
        ))
    });
    schema("messages: tools", &|properties| {
        message_with(&format!(
            r#","messages":[],"tools":[{{"name":"f","input_schema":{{"properties":{properties}}}}}]"#
        ))
    });
    schema("messages: input of a tool", &|properties| {
        message_with(&format!(
            r#","messages":[{{"role":"assistant","content":[{{"type":"tool_use","id":"t","name":"f","input":{properties}}}]}}]"#
        ))
    });
    schema("messages: output_format", &|properties| {
        message_with(&format!(
            r#","messages":[],"output_format":{{"type":"json_schema","schema":{properties}}}"#
        ))
    });
    schema("completions", &|properties| {
        completion_with(&format!(",\"guided_json\":{properties}"))
    });
    schema("embeddings", &|properties| {
        embedding_with(&format!(",\"x\":{properties}"))
    });
    t.different(
        "messages: a message",
        message_with(r#","messages":[{"role":"user","content":"a"}]"#),
        message_with(r#","messages":[{"content":"a","role":"user"}]"#),
    );
    t.different(
        "a tool",
        chat_with(r#""tools":[{"type":"function","function":{"name":"f","description":"d"}}]"#),
        chat_with(r#""tools":[{"type":"function","function":{"description":"d","name":"f"}}]"#),
    );
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
        "{\"b\":1,\"a\":".repeat(levels),
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
