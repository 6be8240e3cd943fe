//! The order of members: without meaning at the top and where an API's grammar says so, part of the
//! question everywhere else.

use super::{
    Table, chat, chat_with, completion_with, embedding_with, message_with, response_with, value,
};
use crate::harness::Ask;

pub fn rows(t: &mut Table) {
    order_without_meaning(t);
    order_with_meaning(t);
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
