use super::super::tests::*;
use super::super::{Api, Facts, Form, Usage};

const API: Api = Api::OpenAiChat;

const ROLE: &str = r#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
const WORD: &str = r#"{"choices":[{"index":0,"delta":{"content":"h\u00e9 \"x\" [DONE]"},"finish_reason":null}],"usage":null}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const SPENT: &str = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":0}}}"#;
const ERROR: &str = r#"{"error":{"message":"overloaded","code":502}}"#;
const DONE: &str = "[DONE]";

/// A frame for one choice.
fn choice(index: u32, finish_reason: &str) -> String {
    format!(
        r#"{{"choices":[{{"index":{index},"delta":{{"content":"a"}},"finish_reason":{finish_reason}}}]}}"#
    )
}

fn asked(choices: u32) -> Facts {
    Facts {
        choices,
        ..Facts::default()
    }
}

#[test]
fn a_whole_stream_is_kept_and_none_of_its_beginnings() {
    for body in [
        frames(&[ROLE, WORD, WORD, STOP, DONE]),
        frames(&[ROLE, WORD, STOP, SPENT, DONE]),
        frames(&[r#"{"choices":[],"prompt_filter_results":[]}"#, WORD, STOP, DONE]),
        frames(&[r#"{"choices":null}"#, r#"{"error":null}"#, WORD, STOP, DONE]),
        frames(&[r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#, DONE]),
        "data: {\"choices\":\ndata: [{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata:[DONE]\n\n".into(),
        "event: chunk\nid: 1\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
            .into(),
    ] {
        check_whole_stream(API, &asked(1), &body);
    }
    let comments =
        frames(&[ROLE, WORD, STOP, DONE]).replace("data:", ": OPENROUTER PROCESSING\n\ndata:");
    check_whole_stream(API, &asked(1), &comments);
    check_stream(API, &asked(1), &(comments + ": bye\n\n\n"), Ok(()), false);
}

#[test]
fn a_stream_is_judged_by_its_worst_frame() {
    let table: &[(&[&str], Keep, bool)] = &[
        (&[ROLE, WORD], Err("cut"), true),
        (&[ROLE, WORD, STOP], Err("cut"), true),
        (&[ROLE, WORD, STOP, SPENT], Err("cut"), true),
        (&[DONE], Err("missing-choices"), false),
        (&[SPENT, DONE], Err("missing-choices"), false),
        (&[ROLE, WORD, DONE], Err("no-finish-reason"), false),
        (
            &[
                ROLE,
                r#"{"choices":[{"index":0,"finish_reason":""}]}"#,
                DONE,
            ],
            Err("no-finish-reason"),
            false,
        ),
        (&[ROLE, WORD, ERROR, DONE], Err("error-object"), false),
        (&[ROLE, WORD, STOP, ERROR, DONE], Err("error-object"), false),
        (&[ROLE, WORD, ERROR], Err("error-object"), true),
        (
            &[r#"{"object":"error","message":"no"}"#, DONE],
            Err("error-object"),
            false,
        ),
        (
            &[
                r#"{"choices":[{"index":0,"error":{"code":502},"finish_reason":"stop"}]}"#,
                DONE,
            ],
            Err("error-object"),
            false,
        ),
        (
            &[
                ROLE,
                r#"{"choices":[{"index":0,"finish_reason":"error"}]}"#,
                DONE,
            ],
            Err("error-finish"),
            false,
        ),
        (
            &[
                ROLE,
                r#"{"choices":[{"index":0,"finish_reason":"abort"}]}"#,
                DONE,
            ],
            Err("error-finish"),
            false,
        ),
        (
            &[ROLE, "{\"choices\":[", STOP, DONE],
            Err("bad-frame"),
            false,
        ),
        (&[ROLE, "[DONE] ", STOP, DONE], Err("bad-frame"), false),
        (
            &[r#"{"choices":[[0,"stop"]]}"#, STOP, DONE],
            Err("bad-frame"),
            false,
        ),
        (
            &[r#"{"choices":[null]}"#, STOP, DONE],
            Err("bad-frame"),
            false,
        ),
        (
            &[r#"{"choices":[{"index":-1}]}"#, STOP, DONE],
            Err("bad-frame"),
            false,
        ),
        (
            &[r#"{"choices":[],"choices":[]}"#, STOP, DONE],
            Err("bad-frame"),
            false,
        ),
        (&[ROLE, STOP, DONE, DONE], Err("after-end"), false),
        (&[ROLE, STOP, DONE, WORD], Err("after-end"), false),
        (&[ROLE, STOP, DONE, ERROR], Err("after-end"), false),
    ];
    for (data, keep, cut) in table {
        check_stream(API, &asked(1), &frames(data), *keep, *cut);
    }
}

#[test]
fn a_stream_ends_on_a_frame_boundary() {
    let whole = frames(&[ROLE, WORD, STOP, DONE]);
    check_stream(API, &asked(1), whole.trim_end(), Err("cut"), true);
    check_stream(
        API,
        &asked(1),
        &(whole.trim_end().to_owned() + "\n"),
        Err("cut"),
        true,
    );
    check_stream(
        API,
        &asked(1),
        &(whole.clone() + "data: {\"choi"),
        Err("cut"),
        true,
    );
    check_stream(
        API,
        &asked(1),
        &(whole + ": half a comment"),
        Err("cut"),
        true,
    );
}

#[test]
fn an_error_event_counts_whatever_its_data() {
    let whole = frames(&[ROLE, STOP, DONE]);
    for data in ["data: {}\n", "data: busy\n", "data: [DONE]\n", ""] {
        let body = format!("event: error\n{data}\n{whole}");
        check_stream(API, &asked(1), &body, Err("error-object"), false);
    }
}

#[test]
fn every_choice_asked_for_must_finish() {
    let check = |choices: u32, data: &[(u32, &str)], keep: Keep| {
        let data: Vec<String> = data
            .iter()
            .map(|(index, reason)| choice(*index, reason))
            .collect();
        let data: Vec<&str> = data.iter().map(String::as_str).chain([DONE]).collect();
        check_stream(API, &asked(choices), &frames(&data), keep, false);
    };
    check(
        2,
        &[(0, "null"), (1, "null"), (1, "\"stop\""), (0, "\"stop\"")],
        Ok(()),
    );
    check(
        2,
        &[(0, "null"), (1, "null"), (1, "\"stop\"")],
        Err("no-finish-reason"),
    );
    check(
        2,
        &[(0, "\"stop\""), (0, "\"stop\"")],
        Err("missing-choices"),
    );
    check(1, &[(0, "\"stop\""), (1, "null")], Err("no-finish-reason"));
    check(1, &[(0, "\"stop\""), (1, "\"stop\"")], Ok(()));
    check(
        3,
        &[(0, "\"stop\""), (1, "\"stop\"")],
        Err("missing-choices"),
    );
    check(0, &[], Err("missing-choices"));
    check(
        1,
        &[(0, "\"stop\""), (4_000_000_000, "null")],
        Err("wrong-count"),
    );
}

#[test]
fn a_whole_json_answer_is_kept_and_none_of_its_beginnings() {
    let one = r#"{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"h\u00e9","tool_calls":[{"id":"t","function":{"arguments":"{\"a\":1.5}"}}]},"logprobs":-0.5,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    check_whole_json(API, &asked(1), one);
    check_json(API, &asked(1), &format!("\n{one}\n"), Ok(()), false);
    check_json(API, &asked(2), one, Err("missing-choices"), false);
    for (body, keep) in [
        (r#"{"choices":[]}"#, Err("missing-choices")),
        (r#"{"choices":null}"#, Err("missing-choices")),
        (r#"{"detail":"not found"}"#, Err("missing-choices")),
        (
            r#"{"choices":[{"index":0,"finish_reason":null}]}"#,
            Err("no-finish-reason"),
        ),
        (r#"{"choices":[{"index":0}]}"#, Err("no-finish-reason")),
        (
            r#"{"choices":[{"finish_reason":"stop"},{"finish_reason":null}]}"#,
            Err("no-finish-reason"),
        ),
        (
            r#"{"choices":[{"text":"a","finish_reason":"stop"},{"text":"b","finish_reason":"stop"}]}"#,
            Ok(()),
        ),
        (
            r#"{"choices":[{"finish_reason":"error"}]}"#,
            Err("error-finish"),
        ),
        (r#"{"choices":{"finish_reason":"stop"}}"#, Err("bad-shape")),
        (r#"{"object":"error","message":"no"}"#, Err("error-object")),
        (
            r#"{"error":{},"choices":[{"index":0,"finish_reason":"stop"}]}"#,
            Err("error-object"),
        ),
        (
            r#"{"error":null,"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#,
            Ok(()),
        ),
    ] {
        check_json(API, &asked(1), body, keep, false);
    }
    for (members, keep) in [
        (r#""error":false"#, Ok(())),
        (r#""error":"","error_code":"0","base_resp":null"#, Ok(())),
        (r#""error":"no""#, Err("error-object")),
        (r#""error_code":"18""#, Err("error-object")),
        (r#""base_resp":{"status_code":1002}"#, Err("error-object")),
    ] {
        let choice = r#"{"message":{"content":"a"},"finish_reason":"stop","error":""}"#;
        let body = format!(r#"{{{members},"choices":[{choice}]}}"#);
        check_json(API, &asked(1), &body, keep, false);
    }
}

#[test]
fn a_complete_answer_that_a_retry_would_mend_is_not_kept() {
    let call = |arguments: &str| {
        let arguments = serde_json::Value::from(arguments);
        format!(r#""tool_calls":[{{"function":{{"name":"f","arguments":{arguments}}}}}]"#)
    };
    let table: &[(&str, &str, Keep)] = &[
        (r#""content":"a""#, "stop", Ok(())),
        (
            r#""content":"a""#,
            "a_reason_from_the_future",
            Err("error-finish"),
        ),
        (r#""content":"a""#, "length", Err("length")),
        (r#""content":"a""#, "content_filter", Err("filtered")),
        (r#""content":"""#, "length", Err("length")),
        (r#""content":"""#, "stop", Err("empty")),
        (r#""content":null"#, "stop", Err("empty")),
        (
            r#""content":[],"tool_calls":[],"reasoning_content":"hm""#,
            "stop",
            Err("empty"),
        ),
        (r#""content":[{"type":"text"}]"#, "stop", Ok(())),
        (r#""content":"\ud83d""#, "stop", Ok(())),
        (r#""content":null,"refusal":"no""#, "stop", Err("refused")),
        (r#""content":null,"audio":{"id":"a"}"#, "stop", Ok(())),
        (
            r#""tool_calls":[{"type":"custom","custom":{"input":"a b"}}]"#,
            "tool_calls",
            Ok(()),
        ),
        (&call(r#"{"a":"\\n"}"#), "tool_calls", Ok(())),
        (&call("{}"), "tool_calls", Ok(())),
        (&call(r#"{"a":"#), "tool_calls", Err("bad-tool-call")),
        (&call(r#"{"a":"#), "length", Err("length")),
        (&call(""), "tool_calls", Ok(())),
        (&call(""), "TOOL_CALL", Ok(())),
        (&call(""), "stop", Err("bad-tool-call")),
        (&call(""), "length", Err("length")),
        (&call(" "), "tool_calls", Err("bad-tool-call")),
        (
            r#""tool_calls":[{"function":{"name":"f"}},{"function":{"arguments":null}}]"#,
            "tool_calls",
            Ok(()),
        ),
        (
            r#""function_call":{"name":"f","arguments":""}"#,
            "function_call",
            Ok(()),
        ),
        (
            r#""function_call":{"name":"f","arguments":"{}"}"#,
            "function_call",
            Ok(()),
        ),
        (
            r#""function_call":{"name":"f","arguments":"{"}"#,
            "stop",
            Err("bad-tool-call"),
        ),
    ];
    for (output, reason, keep) in table {
        let json = r#"{"choices":[{"index":0,"KIND":{OUTPUT},"finish_reason":"REASON"}]}"#;
        let json = json.replace("OUTPUT", output).replace("REASON", reason);
        check_json(
            API,
            &asked(1),
            &json.replace("KIND", "message"),
            *keep,
            false,
        );
        let frame = json.replace("KIND", "delta");
        check_stream(API, &asked(1), &frames(&[ROLE, &frame, DONE]), *keep, false);
        check_stream(API, &asked(1), &frames(&[ROLE, &frame]), Err("cut"), true);
    }
}

#[test]
fn tool_arguments_come_in_pieces() {
    let piece = |choice: u32, call: u32, arguments: &str| {
        let arguments = serde_json::Value::from(arguments);
        format!(
            r#"{{"choices":[{{"index":{choice},"delta":{{"tool_calls":[{{"index":{call},"function":{{"arguments":{arguments}}}}}]}}}}]}}"#
        )
    };
    let [first, second] = [0, 1].map(|index| choice(index, "\"tool_calls\""));
    let pieces = [
        piece(0, 0, ""),
        piece(1, 0, "[1"),
        piece(0, 0, "{\"a"),
        piece(0, 1, "{}"),
        piece(0, 0, "\":1}"),
        piece(1, 0, "]"),
    ];
    let body = |left_out: usize| {
        let kept = pieces.iter().enumerate().filter(|(at, _)| *at != left_out);
        let ends = [&*first, &second, DONE];
        frames(
            &kept
                .map(|(_, piece)| &**piece)
                .chain(ends)
                .collect::<Vec<_>>(),
        )
    };
    check_whole_stream(API, &asked(2), &body(pieces.len()));
    for left_out in [1, 2, 4, 5] {
        check_stream(API, &asked(2), &body(left_out), Err("bad-tool-call"), false);
    }
    check_stream(API, &asked(2), &body(3), Ok(()), false);
}

#[test]
fn the_last_usage_counts_also_of_answers_not_kept() {
    let early = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1}}"#;
    let odd = r#"{"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":{"a":[1.5]},"total_tokens":"x"}}"#;
    let spent = Some(Usage {
        input: 9,
        output: 4,
    });
    for (data, usage) in [
        (&[ROLE, early, STOP, SPENT, DONE][..], spent),
        (&[ROLE, SPENT, ERROR, DONE], spent),
        (&[ROLE, SPENT, WORD, odd, STOP, DONE], spent),
        (&[ROLE, STOP, DONE], None),
        (&[ROLE, odd, STOP, DONE], None),
    ] {
        assert_eq!(
            verdict(API, &asked(1), Form::Stream, &frames(data)).usage,
            usage,
            "{data:?}"
        );
    }
    assert_eq!(verdict(API, &asked(1), Form::Json, SPENT).usage, spent);
}

#[test]
fn n_says_how_many_choices_are_asked_for() {
    for (members, choices, reason) in [
        (r#""n":3"#, 3, None),
        (r#""n":null"#, 1, None),
        (r#""n":0"#, 1, Some("odd-n")),
        (r#""n":-1"#, 1, Some("odd-n")),
        (r#""n":1.0"#, 1, Some("odd-n")),
        (r#""n":"2""#, 1, Some("odd-n")),
        (r#""n":5000000000"#, 1, Some("odd-n")),
    ] {
        let found = facts(API, &format!(r#"{{"model":"m",{members}}}"#));
        assert_eq!(
            (found.choices, found.bypass),
            (choices, reason),
            "{members}"
        );
    }
}

#[test]
fn state_and_side_effects_are_not_cached() {
    for (members, reason) in [
        (
            r#""messages":[{"role":"user","content":"hi"}],"temperature":0"#,
            None,
        ),
        (r#""store":true"#, Some("store")),
        (r#""store":"yes""#, Some("store")),
        (r#""store":false"#, None),
        (r#""store":null"#, None),
        (r#""web_search_options":{}"#, Some("web-search")),
        (r#""web_search_options":null"#, None),
        (r#""tools":[]"#, None),
        (r#""tools":null"#, None),
        (
            r#""tools":[{"type":"function","function":{"name":"f"}},{"type":"custom"}]"#,
            None,
        ),
        (
            r#""tools":[{"type":"function"},{"type":"web_search"}]"#,
            Some("server-tools"),
        ),
        (
            r#""tools":[{"function":{"name":"f"}}]"#,
            Some("server-tools"),
        ),
        (r#""tools":[["function"]]"#, Some("server-tools")),
        (r#""tools":{"type":"function"}"#, Some("server-tools")),
        (
            r#""messages":[{"content":[{"type":"file","file":{"file_id":"f-1"}}]}]"#,
            Some("file-id"),
        ),
        (
            r#""messages":[{"content":[{"type":"file","file":{"file_id" : "f-1"}}]}]"#,
            Some("file-id"),
        ),
        (
            r#""messages":[{"content":"set \"file_id\": 7 in {\"file_id\":1}"}]"#,
            None,
        ),
    ] {
        assert_eq!(bypass(API, members), reason, "{members}");
    }
}

#[test]
fn what_answers_from_the_web_is_refused() {
    for (members, reason) in [
        (r#""search_parameters":{}"#, Some("web-search")),
        (r#""search_settings":{}"#, Some("web-search")),
        (r#""enable_search":false"#, None),
        (r#""enable_search":true"#, Some("web-search")),
        (r#""data_sources":[{}]"#, Some("server-tools")),
    ] {
        assert_eq!(bypass(API, members), reason, "{members}");
    }
    let others = [
        Api::OpenAiCompletions,
        Api::OpenAiResponses,
        Api::AnthropicMessages,
    ];
    for (model, members, reason) in [
        ("m", r#""plugins":[]"#, None),
        ("m", r#""plugins":[{"id":"web"}]"#, Some("server-tools")),
        ("a/b:online", r#""n":1"#, Some("web-search")),
        ("a/b:free", r#""provider":{},"transforms":[]"#, None),
        ("gpt-4o-search-preview", r#""n":1"#, Some("web-search")),
        ("perplexity/sonar-pro", r#""n":1"#, Some("web-search")),
        ("sonar", r#""n":1"#, Some("web-search")),
        ("my-sonar", r#""n":1"#, None),
        ("m", r#""models":["a","b:online"]"#, Some("web-search")),
        ("m", r#""models":["a","b"]"#, None),
    ] {
        let body = format!(r#"{{"model":"{model}",{members}}}"#);
        for api in [API].into_iter().chain(others) {
            assert_eq!(facts(api, &body).bypass, reason, "{api:?} {body}");
        }
    }
}
