//! `stream` and `stream_options`: which form of an answer is asked for.

use super::{
    Table, chat_with, completion_with, embedding_with, message_with, response_with, value,
};
use crate::harness::Ask;

/// Whether `stream` is read as a form of its own: absent, null and false are then one question, and
/// another form may be answered from the same entry.
const FORMS_ARE_SPLIT: bool = true;

type Of = fn(&str) -> Ask;

/// The APIs that stream. The first three have the forms.
const APIS: [(&str, Of); 4] = [
    ("chat", |more| chat_with(&format!("\"x\":1{more}"))),
    ("responses", |more| {
        response_with(&format!(r#","input":"i"{more}"#))
    }),
    ("messages", |more| {
        message_with(&format!(r#","messages":[]{more}"#))
    }),
    ("completions", completion_with),
];

pub fn rows(t: &mut Table) {
    t.theme("forms");
    for (api, of) in APIS {
        let forms = FORMS_ARE_SPLIT && api != "completions";
        for (name, a, b) in [
            ("absent and false", "", r#","stream":false"#),
            ("absent and null", "", r#","stream":null"#),
            ("false and null", r#","stream":false"#, r#","stream":null"#),
        ] {
            let name = format!("{api}: {name}");
            match forms {
                true => t.same(&name, of(a), of(b)),
                false => t.different(&name, of(a), of(b)),
            }
        }
        for (name, a, b) in [
            ("absent and true", "", r#","stream":true"#),
            ("false and true", r#","stream":false"#, r#","stream":true"#),
            ("null and true", r#","stream":null"#, r#","stream":true"#),
            (
                "a stream, with usage and without",
                r#","stream":true"#,
                r#","stream":true,"stream_options":{"include_usage":true}"#,
            ),
            (
                "no stream, and a stream with usage",
                "",
                r#","stream":true,"stream_options":{"include_usage":true}"#,
            ),
            (
                "a stream, with usage or not",
                r#","stream":true,"stream_options":{"include_usage":true}"#,
                r#","stream":true,"stream_options":{"include_usage":false}"#,
            ),
        ] {
            let name = format!("{api}: {name}");
            match forms {
                true => t.other_form(&name, of(a), of(b)),
                false => t.different(&name, of(a), of(b)),
            }
        }
        for odd in ["\"true\"", "1", "0", "\"\"", "[]", "{}", "\"false\""] {
            let ask = of(&format!(",\"stream\":{odd}"));
            t.uncacheable(&format!("{api}: {odd}"), ask, "odd-stream");
        }
        t.uncacheable(
            &format!("{api}: twice"),
            of(r#","stream":true,"stream":true"#),
            "duplicate-key",
        );
        t.uncacheable(
            &format!("{api}: twice, escaped"),
            of(r#","stream":true,"\u0073tream":false"#),
            "duplicate-key",
        );
        t.uncacheable(
            &format!("{api}: options with a key twice"),
            of(r#","stream":true,"stream_options":{"a":1,"a":1}"#),
            "duplicate-key",
        );
        t.different(
            &format!("{api}: another case"),
            of(""),
            of(r#","Stream":true"#),
        );
        t.different(
            &format!("{api}: streams of two questions"),
            of(r#","stream":true,"y":1"#),
            of(r#","stream":true,"y":2"#),
        );
        t.different(
            &format!("{api}: options nobody knows"),
            of(r#","stream":true,"stream_options":{"include_usage":true}"#),
            of(r#","stream":true,"stream_options":{"include_usage":true,"y":1}"#),
        );
    }
    t.same(
        "chat: a stream, spelled otherwise",
        chat_with(r#""stream":true,"x":1"#),
        chat_with(r#""x":1, "str\u0065am" : true"#),
    );
    t.same(
        "chat: options, spelled otherwise",
        chat_with(r#""stream":true,"stream_options":{"include_usage":true}"#),
        chat_with(r#""stream_options":{"\u0069nclude_usage" : true},"stream":true"#),
    );
    t.same(
        "chat: order of options",
        chat_with(r#""stream":true,"stream_options":{"include_usage":true,"y":1}"#),
        chat_with(r#""stream":true,"stream_options":{"y":1,"include_usage":true}"#),
    );
    t.same(
        "messages: a stream, spelled otherwise",
        message_with(r#","messages":[],"stream":true"#),
        message_with(r#","stream": true,"messages":[]"#),
    );
    t.different(
        "below the top",
        value(r#"{"stream":true}"#),
        value(r#"{"stream":false}"#),
    );
    t.different(
        "embeddings have one form",
        embedding_with(""),
        embedding_with(r#","stream":false"#),
    );
}
