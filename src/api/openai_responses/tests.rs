use super::super::tests::*;
use super::super::{Api, Facts, Form, Usage};

const API: Api = Api::OpenAiResponses;

const CREATED: (&str, &str) = (
    "response.created",
    r#","sequence_number":0,"response":{"status":"in_progress","error":null,"usage":null}"#,
);
const DELTA: (&str, &str) = (
    "response.output_text.delta",
    r#","delta":"hi","logprobs":[]"#,
);
const COMPLETED: (&str, &str) = (
    "response.completed",
    r#","response":{"object":"response","status":"completed","error":null,"output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}],"usage":{"input_tokens":3,"output_tokens":5,"total_tokens":8}}"#,
);
const INCOMPLETE: (&str, &str) = (
    "response.incomplete",
    r#","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"usage":{"input_tokens":3,"output_tokens":5}}"#,
);
const FAILED: (&str, &str) = (
    "response.failed",
    r#","response":{"status":"failed","error":{"code":"server_error"}}"#,
);
const ERROR: (&str, &str) = ("error", r#","code":"rate_limit","message":"slow down""#);

fn stream(table: &[(&str, &str)], keep: Keep, cut: bool) {
    check_stream(API, &Facts::default(), &events(table), keep, cut);
}

#[test]
fn a_whole_stream_is_kept_and_none_of_its_beginnings() {
    let asked = Facts::default();
    let whole = events(&[CREATED, DELTA, ("response.from.the.future", ""), COMPLETED]);
    check_whole_stream(API, &asked, &whole);
    let unnamed: String = whole
        .lines()
        .filter(|line| !line.starts_with("event:"))
        .map(|line| line.to_owned() + "\n")
        .collect();
    check_whole_stream(API, &asked, &unnamed);
    let untyped = "event: response.completed\ndata: {\"response\":{\"status\":\"completed\",\"output\":[{}]}}\n\n";
    check_whole_stream(API, &asked, untyped);
    let generic = unnamed.replace("data:", "event: message\ndata:");
    check_whole_stream(API, &asked, &generic);
    // Some gateways end every stream in the same way.
    check_stream(API, &asked, &(whole + "data: [DONE]\n\n"), Ok(()), false);
}

#[test]
fn a_stream_ends_with_completed_and_nothing_else() {
    stream(&[CREATED, DELTA], Err("cut"), true);
    stream(
        &[CREATED, DELTA, INCOMPLETE],
        Err("incomplete-status"),
        false,
    );
    stream(&[CREATED, DELTA, FAILED], Err("error-object"), false);
    stream(&[CREATED, ERROR], Err("error-object"), false);
    stream(
        &[CREATED, DELTA, ERROR, COMPLETED],
        Err("error-object"),
        false,
    );
    stream(&[CREATED, COMPLETED, DELTA], Err("after-end"), false);
    stream(&[CREATED, COMPLETED, COMPLETED], Err("after-end"), false);
    stream(&[CREATED, COMPLETED, ERROR], Err("after-end"), false);
    stream(
        &[CREATED, ("response.completed", "")],
        Err("bad-frame"),
        false,
    );
    stream(
        &[("response.completed", r#","response":[]"#)],
        Err("bad-frame"),
        false,
    );
    stream(
        &[("response.completed", r#","response":{}"#)],
        Err("incomplete-status"),
        false,
    );
    let other = (COMPLETED.0, r#","response":{"status":"in_progress"}"#);
    stream(&[CREATED, other], Err("incomplete-status"), false);
    let error = (
        COMPLETED.0,
        r#","response":{"status":"completed","error":{"code":"x"}}"#,
    );
    stream(&[CREATED, error], Err("error-object"), false);
}

#[test]
fn odd_frames_are_not_kept() {
    let asked = Facts::default();
    let end = events(&[COMPLETED]);
    for (frame, keep) in [
        ("event: error\n\n", Err("error-object")),
        ("event: error\ndata: busy\n\n", Err("error-object")),
        ("data: {\"error\":{\"code\":500}}\n\n", Err("error-object")),
    ] {
        check_stream(API, &asked, &format!("{frame}{end}"), keep, false);
        check_stream(API, &asked, frame, keep, false);
    }
    for frame in [
        "data: {}\n\n",
        "data: {\"type\":7}\n\n",
        "data: [DONE]\n\n",
        "data: {\"type\":\"a\"\n\n",
        "event: a\n\n",
        "event: a\ndata: {\"type\":\"b\"}\n\n",
        "event: response.completed\ndata: {\"type\":\"response.created\"}\n\n",
    ] {
        check_stream(
            API,
            &asked,
            &format!("{frame}{end}"),
            Err("bad-frame"),
            false,
        );
        check_stream(API, &asked, frame, Err("bad-frame"), true);
    }
    check_stream(API, &asked, end.trim_end(), Err("cut"), true);
    check_stream(API, &asked, &(end + "event: x\n"), Err("cut"), true);
}

#[test]
fn a_json_answer_is_completed_and_without_error() {
    let asked = Facts::default();
    let whole = r#"{"id":"r","object":"response","status":"completed","error":null,"output":[{"type":"reasoning","content":null},{"type":"message","content":[{"type":"output_text","text":"a"}]}],"usage":{"input_tokens":3,"output_tokens":5}}"#;
    check_whole_json(API, &asked, whole);
    for (body, keep) in [
        (r#"{"status":"completed"}"#, Err("empty")),
        (r#"{"status":"incomplete"}"#, Err("incomplete-status")),
        (r#"{"status":"queued"}"#, Err("incomplete-status")),
        (r#"{"status":null}"#, Err("incomplete-status")),
        (r#"{"status":["completed"]}"#, Err("bad-shape")),
        (
            r#"{"object":"error","status":"completed"}"#,
            Err("error-object"),
        ),
        (
            r#"{"status":"failed","error":{"code":"x"}}"#,
            Err("error-object"),
        ),
        (
            r#"{"status":"completed","error":{"code":"x"}}"#,
            Err("error-object"),
        ),
    ] {
        check_json(API, &asked, body, keep, false);
    }
}

#[test]
fn a_complete_answer_that_a_retry_would_mend_is_not_kept() {
    let asked = Facts::default();
    let table: &[(&str, Keep)] = &[
        (
            r#"{"type":"message","content":[{"type":"output_text","text":"a"}]}"#,
            Ok(()),
        ),
        (
            r#"{"type":"message","content":[{"type":"refusal","refusal":"no"}]}"#,
            Err("refused"),
        ),
        (
            r#"{"type":"message","content":[{"type":"output_text","text":""}]}"#,
            Err("empty"),
        ),
        (r#"{"type":"message","content":[]}"#, Err("empty")),
        (r#"{"type":"reasoning","summary":["hm"]}"#, Err("empty")),
        ("", Err("empty")),
        (r#"{"type":"custom_tool_call","input":"a b"}"#, Ok(())),
        (
            r#"{"type":"function_call","arguments":"{\"a\":1}"}"#,
            Ok(()),
        ),
        (
            r#"{"type":"function_call","arguments":"{\"a\":"}"#,
            Err("bad-tool-call"),
        ),
        (r#"{"type":"function_call"}"#, Err("bad-tool-call")),
    ];
    for (item, keep) in table {
        let response = format!(r#"{{"status":"completed","output":[{item}]}}"#);
        check_json(API, &asked, &response, *keep, false);
        stream(
            &[(COMPLETED.0, &format!(r#","response":{response}"#))],
            *keep,
            false,
        );
        if !item.is_empty() {
            let done = format!(r#","item":{item}"#);
            let end = r#","response":{"status":"completed","output":[]}"#;
            stream(
                &[("response.output_item.done", &done), (COMPLETED.0, end)],
                *keep,
                false,
            );
        }
    }
    let end = (
        COMPLETED.0,
        r#","response":{"status":"completed","output":[]}"#,
    );
    stream(&[DELTA, end], Ok(()), false);
    stream(&[(DELTA.0, r#","delta":"""#), end], Err("empty"), false);
    stream(
        &[("response.reasoning_text.delta", r#","delta":"hm""#), end],
        Err("empty"),
        false,
    );
    stream(
        &[(DELTA.0, r#","delta":7"#), COMPLETED],
        Err("bad-frame"),
        false,
    );
}

#[test]
fn usage_is_that_of_the_last_event() {
    let spent = Some(Usage {
        input: 3,
        output: 5,
    });
    for (table, usage) in [
        (&[CREATED, DELTA, COMPLETED][..], spent),
        (&[CREATED, INCOMPLETE], spent),
        (&[CREATED, FAILED], None),
        (&[CREATED, DELTA], None),
    ] {
        let found = verdict(API, &Facts::default(), Form::Stream, &events(table));
        assert_eq!(found.usage, usage, "{table:?}");
    }
    let body = r#"{"status":"incomplete","usage":{"input_tokens":3,"output_tokens":5}}"#;
    assert_eq!(
        verdict(API, &Facts::default(), Form::Json, body).usage,
        spent
    );
}

#[test]
fn state_and_side_effects_are_not_cached() {
    for (members, reason) in [
        (r#""input":"hi","n":"ignored here""#, None),
        (r#""previous_response_id":"r-1""#, Some("previous-response")),
        (r#""previous_response_id":null"#, None),
        (r#""conversation":"c-1""#, Some("conversation")),
        (r#""conversation":{"id":"c-1"}"#, Some("conversation")),
        (r#""background":true"#, Some("background")),
        (r#""background":false"#, None),
        (r#""store":true"#, Some("store")),
        (r#""store":false"#, None),
        (r#""prompt":{"id":"p-1"}"#, Some("prompt-template")),
        (
            r#""tools":[{"type":"function","name":"f"},{"type":"custom","name":"g"}]"#,
            None,
        ),
        (r#""tools":[{"type":"web_search"}]"#, Some("server-tools")),
        (
            r#""tools":[{"type":"mcp","server_url":"https://x"}]"#,
            Some("server-tools"),
        ),
        (r#""tools":[{"name":"f"}]"#, Some("server-tools")),
        (
            r#""input":[{"content":[{"type":"input_file","file_id":"f-1"}]}]"#,
            Some("file-id"),
        ),
        (
            r#""input":[{"type":"item_reference","id":"msg-1"}]"#,
            Some("item-reference"),
        ),
        (
            r#""input":"{\"file_id\":1,\"type\":\"item_reference\"}""#,
            None,
        ),
    ] {
        assert_eq!(bypass(API, members), reason, "{members}");
    }
}
