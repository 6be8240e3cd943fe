//! State and side effects at the provider: no key, and why.

use super::{Table, chat, chat_with, completion_with, message_with, response_with};
use crate::harness::Ask;

pub fn rows(t: &mut Table) {
    t.theme("state");
    for (name, members, reason) in [
        ("store", r#""store":true"#, "store"),
        ("an odd store", r#""store":1"#, "store"),
        ("a web search", r#""web_search_options":{}"#, "web-search"),
        (
            "a tool of the server",
            r#""tools":[{"type":"web_search"}]"#,
            "server-tools",
        ),
        (
            "a tool of no type",
            r#""tools":[{"function":{"name":"f"}}]"#,
            "server-tools",
        ),
        (
            "tools that are no list",
            r#""tools":{"type":"function"}"#,
            "server-tools",
        ),
        ("n of 0", r#""n":0"#, "odd-n"),
        ("n below 0", r#""n":-1"#, "odd-n"),
        ("n of 1.0", r#""n":1.0"#, "odd-n"),
        ("n of 2^32", r#""n":4294967296"#, "odd-n"),
        ("n as text", r#""n":"1""#, "odd-n"),
    ] {
        t.uncacheable(name, chat_with(members), reason);
    }
    let part = |part: &str| {
        chat(format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":[{part}]}}]}}"#
        ))
    };
    t.uncacheable(
        "a file id",
        part(r#"{"type":"file","file":{"file_id":"f"}}"#),
        "file-id",
    );
    t.uncacheable(
        "a file id, spelled otherwise",
        part(r#"{"type":"file","file":{"file\u005fid" : "f"}}"#),
        "file-id",
    );
    t.different(
        "a file id as text",
        part(r#"{"type":"text","text":"\"file_id\":1"}"#),
        part(r#"{"type":"text","text":"\"file_id\":2"}"#),
    );
    for (name, members, reason) in [
        (
            "an answer before",
            r#""previous_response_id":"resp_1""#,
            "previous-response",
        ),
        (
            "an empty answer before",
            r#""previous_response_id":"""#,
            "previous-response",
        ),
        (
            "a conversation",
            r#""conversation":"conv_1""#,
            "conversation",
        ),
        (
            "a conversation object",
            r#""conversation":{"id":"conv_1"}"#,
            "conversation",
        ),
        ("background", r#""background":true"#, "background"),
        (
            "a template",
            r#""prompt":{"id":"pmpt_1"}"#,
            "prompt-template",
        ),
        (
            "a tool of the server",
            r#""tools":[{"type":"file_search"}]"#,
            "server-tools",
        ),
        (
            "an item",
            r#""input":[{"type":"item_reference","id":"i"}]"#,
            "item-reference",
        ),
        (
            "a file id",
            r#""input":[{"type":"input_file","file_id":"f"}]"#,
            "file-id",
        ),
    ] {
        t.uncacheable(
            &format!("responses: {name}"),
            response_with(&format!(",{members}")),
            reason,
        );
    }
    t.uncacheable(
        "responses: store",
        Ask::post("/v1/responses", r#"{"model":"m","input":"i","store":true}"#),
        "store",
    );
    for (name, members, reason) in [
        (
            "a tool of the server",
            r#""tools":[{"type":"web_search_20250305","name":"w"}]"#,
            "server-tools",
        ),
        (
            "servers of tools",
            r#""mcp_servers":[{"url":"u"}]"#,
            "mcp-servers",
        ),
        ("a container", r#""container":"c""#, "container"),
        (
            "a file id",
            r#""messages":[{"role":"user","content":[{"source":{"file_id":"f"}}]}]"#,
            "file-id",
        ),
    ] {
        t.uncacheable(
            &format!("messages: {name}"),
            message_with(&format!(",{members}")),
            reason,
        );
    }
    t.uncacheable(
        "completions: an odd prompt",
        Ask::post("/v1/completions", r#"{"model":"m","prompt":{"a":1}}"#),
        "odd-prompt",
    );
    t.uncacheable(
        "completions: an odd n",
        completion_with(r#","n":"2""#),
        "odd-n",
    );
}
