use super::super::tests::*;
use super::super::{Api, Facts, Form, Place, Usage};

const API: Api = Api::OllamaChat;

const WORD: &str =
    r#"{"model":"m","message":{"role":"assistant","content":"h\u00e9 \n"},"done":false}"#;
const THOUGHT: &str =
    r#"{"message":{"role":"assistant","content":"","thinking":"hm"},"done":false}"#;
const DONE: &str = r#"{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":26,"eval_count":298}"#;
const ERROR: &str = r#"{"error":"an error was encountered while running the model"}"#;

fn lines(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn an_answer_in_lines_ends_with_the_line_that_says_so() {
    let whole = lines(&[THOUGHT, WORD, WORD, DONE]);
    check_lines(API, &whole, Ok(()), false);
    check_lines(API, &lines(&["", WORD, "  ", DONE, ""]), Ok(()), false);
    // A JSON object says itself where it ends.
    check_lines(API, whole.trim_end(), Ok(()), false);
    for end in 0..whole.trim_end().len() {
        check_lines(API, &whole[..end], Err("cut"), true);
    }
    let table: &[(&[&str], Keep, bool)] = &[
        (&[WORD, ERROR], Err("error-object"), false),
        (&[ERROR], Err("error-object"), false),
        (&[WORD, DONE, ERROR], Err("after-end"), false),
        (&[WORD, DONE, DONE], Err("after-end"), false),
        (&[WORD, "<html>", DONE], Err("bad-frame"), false),
        (&[WORD, "[]", DONE], Err("bad-frame"), false),
        (&[WORD, "{\"message\":", DONE], Err("bad-frame"), false),
        (&[&format!("{WORD}{WORD}"), DONE], Err("bad-frame"), false),
        (&[WORD, r#"{"done":"true"}"#], Err("bad-frame"), true),
        (&[WORD, r#"{"done":null}"#], Err("cut"), true),
        (&[THOUGHT, DONE], Err("empty"), false),
        (&[DONE], Err("empty"), false),
    ];
    for (table, keep, cut) in table {
        check_lines(API, &lines(table), *keep, *cut);
    }
}

#[test]
fn an_answer_in_one_piece_says_that_it_is_done() {
    let asked = Facts::default();
    let whole = WORD.replace("false", "true");
    check_whole_json(API, &asked, &whole);
    for (body, keep) in [
        (WORD, Err("incomplete-status")),
        (DONE, Err("empty")),
        (ERROR, Err("error-object")),
        (r#"{"message":{"content":"a"}}"#, Err("bad-shape")),
        (r#"{"message":"a","done":true}"#, Err("bad-shape")),
        (r#"{"message":null,"done":true}"#, Err("empty")),
    ] {
        check_json(API, &asked, body, keep, false);
    }
    check_json(API, &asked, &lines(&[WORD, DONE]), Err("not-json"), false);
    for form in [Form::Stream, Form::Text, Form::Binary] {
        assert!(API.judge(&asked, form, Default::default()).is_none());
    }
}

#[test]
fn a_complete_answer_that_a_retry_would_mend_is_not_kept() {
    for (message, reason, keep) in [
        (r#""content":"a""#, "stop", Ok(())),
        (r#""content":"a""#, "", Ok(())),
        (r#""content":"a""#, "from_the_future", Err("error-finish")),
        (r#""content":"a""#, "length", Err("length")),
        (r#""content":"a""#, "load", Err("empty")),
        (r#""content":"a""#, "unload", Err("empty")),
        (r#""content":"","images":["AAAA"]"#, "stop", Ok(())),
        (r#""content":"","tool_calls":[]"#, "stop", Err("empty")),
        (
            r#""tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]"#,
            "stop",
            Ok(()),
        ),
        (
            r#""tool_calls":[{"function":{"name":"f"}}]"#,
            "stop",
            Ok(()),
        ),
        (
            r#""tool_calls":[{"function":{"name":"f","arguments":"{}"}}]"#,
            "stop",
            Err("bad-tool-call"),
        ),
        (r#""tool_calls":[{}]"#, "stop", Err("bad-tool-call")),
    ] {
        let body = format!(
            r#"{{"message":{{"role":"assistant",{message}}},"done":true,"done_reason":"{reason}"}}"#
        );
        check_json(API, &Facts::default(), &body, keep, false);
        check_lines(API, &body, keep, false);
        let first = format!(r#"{{"message":{{{message}}},"done":false}}"#);
        let last = format!(r#"{{"message":{{}},"done":true,"done_reason":"{reason}"}}"#);
        check_lines(API, &lines(&[&first, &last]), keep, false);
    }
}

#[test]
fn usage_is_in_the_last_line() {
    let usage = Usage {
        input: 26,
        output: 298,
    };
    for (body, expected) in [
        (lines(&[WORD, DONE]), Some(usage)),
        (lines(&[WORD]), None),
        (lines(&[WORD, r#"{"done":true,"eval_count":"7"}"#]), None),
    ] {
        let found = verdict(API, &Facts::default(), Form::Lines, &body);
        assert_eq!(found.usage, expected, "{body}");
    }
    let found = verdict(API, &Facts::default(), Form::Json, DONE);
    assert_eq!(found.usage, Some(usage));
}

#[test]
fn lines_come_unless_stream_is_false() {
    let question = |stream: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{}}]{stream}}}"#);
        API.question(&Place::default(), "application/json", body.as_bytes())
    };
    let plain = question("").digest;
    for (stream, form, tag, bypass) in [
        ("", Form::Lines, "lines", None),
        (r#","stream":true"#, Form::Lines, "lines", None),
        (r#","stream":null"#, Form::Lines, "lines", None),
        (r#","stream":false"#, Form::Json, "json", None),
        (
            r#","stream":"false""#,
            Form::Lines,
            "lines",
            Some("odd-stream"),
        ),
        (r#","stream":0"#, Form::Lines, "lines", Some("odd-stream")),
    ] {
        let found = question(stream);
        assert_eq!(
            (found.facts.form, found.facts.variant.tag()),
            (form, tag),
            "{stream}"
        );
        assert_eq!(found.facts.bypass, bypass, "{stream}");
        let digest = bypass.map_or_else(|| plain, Err);
        assert_eq!(found.digest, digest, "{stream}");
    }
}

#[test]
fn a_request_that_asks_nothing_is_not_cached() {
    for (members, reason) in [
        (r#""messages":[{"role":"user","content":"hi"}]"#, None),
        (r#""messages":[]"#, Some("model-load")),
        (r#""messages":null,"keep_alive":0"#, Some("model-load")),
        (r#""keep_alive":-1"#, Some("model-load")),
    ] {
        assert_eq!(bypass(API, members), reason, "{members}");
    }
    assert_eq!(facts(API, r#"{"messages":[{}]}"#).bypass, Some("no-model"));
}

#[test]
fn order_counts_but_for_options_and_loading_never_does() {
    let digest = |members: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{}}],{members}}}"#);
        API.question(&Place::default(), "application/json", body.as_bytes())
            .digest
    };
    for (one, other, same) in [
        (
            r#""options":{"seed":1,"temperature":0}"#,
            r#""options":{"temperature":0,"seed":1}"#,
            true,
        ),
        (r#""keep_alive":"5m""#, r#""keep_alive":0"#, true),
        (r#""options":{"seed":1}"#, r#""options":{"seed":2}"#, false),
        (r#""think":true"#, r#""think":false"#, false),
        (
            r#""format":{"properties":{"a":1,"b":2}}"#,
            r#""format":{"properties":{"b":2,"a":1}}"#,
            false,
        ),
    ] {
        assert_eq!(digest(one) == digest(other), same, "{one} {other}");
    }
}
