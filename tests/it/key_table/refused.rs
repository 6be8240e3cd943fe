//! Bodies with two readings, or none.

use super::{Table, chat, chat_with, response_with, value};
use crate::harness::Ask;

pub fn rows(t: &mut Table) {
    duplicates(t);
    not_an_object(t);
    not_json(t);
    trailing(t);
}

fn duplicates(t: &mut Table) {
    t.theme("duplicate keys");
    for (name, members) in [
        ("an unknown one", r#""a":1,"a":2"#),
        ("with one value", r#""a":1,"a":1"#),
        ("far apart", r#""a":1,"b":[],"c":{},"a":2"#),
        ("the model", r#""model":"n""#),
        ("the messages", r#""messages":[]"#),
        ("escaped", r#""a":1,"\u0061":2"#),
        ("both escaped", r#""\u00e9":1,"\u00E9":2"#),
        ("a slash", r#""a/b":1,"a\/b":2"#),
        ("beyond the plane", "\"😀\":1,\"\\ud83d\\ude00\":2"),
        ("a line feed", r#""\n":1,"\u000a":2"#),
        ("empty", r#""":1,"":2"#),
        ("below", r#""x":{"a":1,"a":2}"#),
        ("below, escaped", r#""x":{"a":1,"\u0061":2}"#),
        ("in an array", r#""x":[{"a":1,"a":2}]"#),
        ("in a sorted field", r#""tool_choice":{"a":1,"b":2,"a":3}"#),
        (
            "in a schema",
            r#""response_format":{"properties":{"a":{},"b":{},"a":{}}}"#,
        ),
        (
            "deep in a tool",
            r#""tools":[{"type":"function","function":{"name":"f","name":"g"}}]"#,
        ),
        ("an ignored one", r#""user":"a","user":"b""#),
        ("an ignored one, escaped", r#""user":"a","us\u0065r":"b""#),
        (
            "an ignored one, far apart",
            r#""metadata":{},"a":1,"metadata":{}"#,
        ),
        ("inside an ignored one", r#""metadata":{"a":1,"a":2}"#),
        (
            "inside an ignored one, escaped",
            r#""metadata":{"a":1,"\u0061":2}"#,
        ),
        (
            "deep inside an ignored one",
            r#""metadata":{"x":[{"a":1,"a":1}]}"#,
        ),
    ] {
        t.uncacheable(name, chat_with(members), "duplicate-key");
    }
    t.uncacheable(
        "in a message",
        chat(r#"{"model":"m","messages":[{"role":"user","role":"system","content":"a"}]}"#),
        "duplicate-key",
    );
    t.uncacheable(
        "responses: in the input",
        response_with(r#","input":[{"role":"user","content":"a","content":"b"}]"#),
        "duplicate-key",
    );
    let gemini = |members: &str| {
        let path = "/v1beta/models/m:generateContent";
        Ask::post(path, format!(r#"{{"contents":[],{members}}}"#))
    };
    let ollama =
        |members: &str| Ask::post("/api/generate", format!(r#"{{"model":"m",{members}}}"#));
    for (name, ask) in [
        (
            "two spellings of a field",
            gemini(r#""systemInstruction":{},"system_instruction":{}"#),
        ),
        (
            "two spellings inside a field",
            gemini(r#""toolConfig":{"retrievalConfig":{},"retrieval_config":{}}"#),
        ),
        ("two cases", ollama(r#""prompt":"a","Prompt":"b""#)),
        ("two cases of none", ollama(r#""prompt":"a","x":1,"X":2"#)),
        (
            "a letter that folds",
            ollama("\"prompt\":\"a\",\"system\":\"b\",\"\u{17f}ystem\":\"c\""),
        ),
    ] {
        t.uncacheable(name, ask, "duplicate-key");
    }
    for (name, members) in [
        ("a field in another case", r#""Prompt":"a""#),
        (
            "another field in another case",
            r#""prompt":"a","SYSTEM":"b""#,
        ),
        (
            "a field with a letter that folds",
            "\"prompt\":\"a\",\"\u{212a}eep_alive\":0",
        ),
    ] {
        t.uncacheable(name, ollama(members), "odd-field");
    }
    t.theme("no duplicate keys");
    t.different(
        "two spellings, in a schema",
        gemini(r#""generationConfig":{"responseSchema":{"properties":{"aB":{},"a_b":{}}}}"#),
        gemini(r#""generationConfig":{"responseSchema":{"properties":{"a_b":{},"aB":{}}}}"#),
    );
    t.same(
        "in two objects",
        value(r#"[{"a":1},{"a":2}]"#),
        value(r#"[{"a":1}, {"a":2}]"#),
    );
    t.same(
        "one inside the other",
        value(r#"{"a":{"a":{"a":1}}}"#),
        value(r#"{"a":{"a":{"a": 1}}}"#),
    );
    t.same(
        "key and value",
        value(r#"{"a":"a"}"#),
        value(r#"{"a": "a"}"#),
    );
    t.same(
        "another case",
        chat_with(r#""a":1,"A":2"#),
        chat_with(r#""A":2,"a":1"#),
    );
}

fn not_an_object(t: &mut Table) {
    t.theme("not an object");
    for body in [
        "[]",
        r#"[{"model":"m"}]"#,
        "null",
        "true",
        "false",
        "1",
        "-1",
        r#""m""#,
        " [ ] ",
    ] {
        t.uncacheable(body, chat(body), "not-an-object");
    }
}

fn not_json(t: &mut Table) {
    t.theme("not JSON");
    for (name, body) in [
        ("no body", &b""[..]),
        ("white space", b" \r\n\t"),
        ("NUL", b"\0"),
        ("a BOM", b"\xef\xbb\xbf{\"model\":\"m\"}"),
        ("a BOM behind a space", b" \xef\xbb\xbf{\"model\":\"m\"}"),
        ("NUL before the object", b"\0{\"model\":\"m\"}"),
        ("NUL inside", b"{\"model\":\0\"m\"}"),
        ("a word", b"model"),
        ("a form", b"model=m&messages=x"),
        ("a comma too many", b"{\"model\":\"m\",}"),
        ("a comma before", b"{,\"model\":\"m\"}"),
        ("two commas", b"{\"model\":\"m\",,\"a\":1}"),
        (
            "a comma too many in an array",
            b"{\"model\":\"m\",\"a\":[1,]}",
        ),
        ("no comma", b"{\"model\":\"m\" \"a\":1}"),
        ("no colon", b"{\"model\" \"m\"}"),
        ("two colons", b"{\"model\"::\"m\"}"),
        ("no value", b"{\"model\":}"),
        ("no key", b"{:\"m\"}"),
        ("a bare key", b"{model:\"m\"}"),
        ("a number as key", b"{1:\"m\"}"),
        ("null as key", b"{null:\"m\"}"),
        ("not closed", b"{\"model\":\"m\""),
        ("closed by a bracket", b"{\"model\":\"m\"]"),
        ("an array closed by a brace", b"{\"model\":\"m\",\"a\":[1}"),
        ("a string not closed", b"{\"model\":\"m"),
        ("a comment", b"{\"model\":\"m\"/* x */}"),
        ("a line comment", b"{\"model\":\"m\" // x\n}"),
        ("a form feed", b"{\x0c\"model\":\"m\"}"),
        ("a vertical tab", b"{\x0b\"model\":\"m\"}"),
        ("a hard space", b"{\xc2\xa0\"model\":\"m\"}"),
        ("True", b"{\"model\":\"m\",\"a\":True}"),
        ("None", b"{\"model\":\"m\",\"a\":None}"),
        ("undefined", b"{\"model\":\"m\",\"a\":undefined}"),
        ("half a word", b"{\"model\":\"m\",\"a\":nul}"),
        ("a word too long", b"{\"model\":\"m\",\"a\":nulll}"),
    ] {
        t.uncacheable(name, chat(body), "invalid-json");
    }
}

fn trailing(t: &mut Table) {
    t.theme("trailing bytes");
    for (name, rest) in [
        ("another object", "{}"),
        ("another line", "\n{\"model\":\"m\"}\n"),
        ("a letter", "x"),
        ("a brace", "}"),
        ("a comma", ","),
        ("NUL", "\0"),
        ("a BOM", "\u{feff}"),
        ("a hard space", "\u{a0}"),
        ("a form feed", "\u{c}"),
        ("a comment", " // x"),
        ("the end of an event", "\n\ndata: [DONE]"),
    ] {
        t.uncacheable(
            name,
            chat(format!("{{\"model\":\"m\"}}{rest}")),
            "trailing-bytes",
        );
    }
}
