use super::super::tests::*;
use super::super::{Api, Facts, Form, Usage};

const API: Api = Api::AnthropicMessages;

const START: (&str, &str) = (
    "message_start",
    r#","message":{"type":"message","stop_reason":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":2,"cache_read_input_tokens":30,"output_tokens":1}}"#,
);
const BLOCK: (&str, &str) = (
    "content_block_start",
    r#","index":0,"content_block":{"type":"text","text":""}"#,
);
const PING: (&str, &str) = ("ping", "");
const TEXT: (&str, &str) = (
    "content_block_delta",
    r#","index":0,"delta":{"type":"text_delta","text":"hi"}"#,
);
const BLOCK_STOP: (&str, &str) = ("content_block_stop", r#","index":0"#);
const DELTA: (&str, &str) = (
    "message_delta",
    r#","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":15}"#,
);
const STOP: (&str, &str) = ("message_stop", "");
const ERROR: (&str, &str) = (
    "error",
    r#","error":{"type":"overloaded_error","message":"Overloaded"}"#,
);

fn stream(table: &[(&str, &str)], keep: Keep, cut: bool) {
    check_stream(API, &Facts::default(), &events(table), keep, cut);
}

#[test]
fn a_whole_stream_is_kept_and_none_of_its_beginnings() {
    let asked = Facts::default();
    let whole = events(&[START, BLOCK, PING, TEXT, BLOCK_STOP, DELTA, STOP]);
    check_whole_stream(API, &asked, &whole);
    let strange = (
        "from_the_future",
        r#","delta":"text","message":7,"usage":[1]"#,
    );
    check_whole_stream(
        API,
        &asked,
        &events(&[PING, START, strange, TEXT, PING, DELTA, PING, STOP]),
    );
    check_whole_stream(API, &asked, &format!("event: ping\n\n{whole}"));
    check_whole_stream(API, &asked, &format!("event: ping\ndata:\n\n{whole}"));
    let unnamed: String = whole
        .lines()
        .filter(|line| !line.starts_with("event:"))
        .map(|line| line.to_owned() + "\n")
        .collect();
    check_whole_stream(API, &asked, &unnamed);
    // Some gateways end every stream in the same way.
    check_stream(API, &asked, &(whole + "data: [DONE]\n\n"), Ok(()), false);
}

#[test]
fn a_stream_has_all_its_parts_and_no_error() {
    let null = (
        "message_delta",
        r#","delta":{"stop_reason":null},"usage":{"output_tokens":15}"#,
    );
    stream(&[START, BLOCK, TEXT], Err("cut"), true);
    stream(&[START, BLOCK, TEXT, BLOCK_STOP, DELTA], Err("cut"), true);
    stream(&[START, TEXT, STOP], Err("no-finish-reason"), false);
    stream(&[START, TEXT, null, STOP], Err("no-finish-reason"), false);
    stream(&[START, TEXT, null, DELTA, STOP], Ok(()), false);
    stream(&[START, TEXT, DELTA, null, STOP], Ok(()), false);
    stream(&[TEXT, DELTA, STOP], Err("bad-shape"), false);
    stream(&[START, ERROR], Err("error-object"), false);
    stream(
        &[START, TEXT, ERROR, DELTA, STOP],
        Err("error-object"),
        false,
    );
    stream(&[START, TEXT, DELTA, STOP, PING], Ok(()), false);
    stream(&[START, TEXT, DELTA, STOP, STOP], Err("after-end"), false);
    stream(&[START, TEXT, DELTA, STOP, ERROR], Err("after-end"), false);
    stream(&[START, TEXT, START, DELTA, STOP], Err("bad-frame"), false);
    stream(
        &[("message_start", ""), DELTA, STOP],
        Err("bad-frame"),
        false,
    );
    stream(
        &[("message_start", r#","message":[]"#), DELTA, STOP],
        Err("bad-frame"),
        false,
    );
    stream(
        &[START, ("message_delta", r#","delta":7"#), DELTA, STOP],
        Err("bad-frame"),
        false,
    );
    stream(
        &[START, ("message_delta", ""), DELTA, STOP],
        Err("bad-frame"),
        false,
    );
}

#[test]
fn odd_frames_are_not_kept() {
    let asked = Facts::default();
    let whole = events(&[START, TEXT, DELTA, STOP]);
    for (frame, keep) in [
        ("event: error\n\n", Err("error-object")),
        ("event: error\ndata: busy\n\n", Err("error-object")),
        ("data: {\"type\":\"error\"}\n\n", Err("error-object")),
        (
            "data: {\"type\":\"ping\",\"error\":{}}\n\n",
            Err("error-object"),
        ),
    ] {
        check_stream(API, &asked, &format!("{frame}{whole}"), keep, false);
        check_stream(API, &asked, frame, keep, false);
    }
    for frame in [
        "data: {}\n\n",
        "data: hello\n\n",
        "data: [DONE]\n\n",
        "event: message_stop\n\n",
        "event: message_stop\ndata: {\"type\":\"message_delta\"}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\"\n\n",
    ] {
        check_stream(
            API,
            &asked,
            &format!("{frame}{whole}"),
            Err("bad-frame"),
            false,
        );
        check_stream(API, &asked, frame, Err("bad-frame"), true);
    }
    check_stream(API, &asked, whole.trim_end(), Err("cut"), true);
    check_stream(API, &asked, &(whole + "event: x\n"), Err("cut"), true);
}

#[test]
fn a_json_answer_is_a_message_that_says_why_it_ended() {
    let asked = Facts::default();
    let whole = r#"{"id":"m","type":"message","role":"assistant","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}"#;
    check_whole_json(API, &asked, whole);
    for (body, keep) in [
        (
            r#"{"type":"message","stop_reason":null}"#,
            Err("no-finish-reason"),
        ),
        (r#"{"type":"message"}"#, Err("no-finish-reason")),
        (r#"{"stop_reason":"end_turn"}"#, Err("bad-shape")),
        (
            r#"{"type":"completion","stop_reason":"end_turn"}"#,
            Err("bad-shape"),
        ),
        (r#"{"type":"message","stop_reason":7}"#, Err("bad-shape")),
        (
            r#"{"type":"message","stop_reason":"end_turn","error":{}}"#,
            Err("error-object"),
        ),
        (r#"{"type":"error"}"#, Err("error-object")),
    ] {
        check_json(API, &asked, body, keep, false);
    }
}

#[test]
fn a_complete_message_that_a_retry_would_mend_is_not_kept() {
    let asked = Facts::default();
    let table: &[(&str, &str, Keep)] = &[
        (r#"{"type":"text","text":"a"}"#, "end_turn", Ok(())),
        (
            r#"{"type":"text","text":"a"}"#,
            "a_reason_from_the_future",
            Err("error-finish"),
        ),
        (r#"{"type":"text","text":"a"}"#, "max_tokens", Err("length")),
        (
            r#"{"type":"text","text":"a"}"#,
            "model_context_window_exceeded",
            Err("length"),
        ),
        (r#"{"type":"text","text":"a"}"#, "refusal", Err("refused")),
        (
            r#"{"type":"text","text":"a"}"#,
            "pause_turn",
            Err("incomplete-status"),
        ),
        (r#"{"type":"text","text":""}"#, "end_turn", Err("empty")),
        (
            r#"{"type":"thinking","thinking":"hm"}"#,
            "end_turn",
            Err("empty"),
        ),
        (
            r#"{"type":"tool_use","name":"f","input":{}}"#,
            "tool_use",
            Ok(()),
        ),
    ];
    for (block, reason, keep) in table {
        let body = format!(r#"{{"type":"message","content":[{block}],"stop_reason":"{reason}"}}"#);
        check_json(API, &asked, &body, *keep, false);
        let start = format!(r#","index":0,"content_block":{block}"#);
        let delta = format!(r#","delta":{{"stop_reason":"{reason}"}}"#);
        let whole = [
            START,
            (BLOCK.0, &start),
            BLOCK_STOP,
            (DELTA.0, &delta),
            STOP,
        ];
        stream(&whole, *keep, false);
        stream(&whole[..4], Err("cut"), true);
    }
    stream(&[START, DELTA, STOP], Err("empty"), false);
    stream(&[START, BLOCK, DELTA, STOP], Err("empty"), false);
    let thought = (
        TEXT.0,
        r#","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}"#,
    );
    stream(&[START, thought, DELTA, STOP], Err("empty"), false);
    let body = r#"{"type":"message","content":[],"stop_reason":"end_turn"}"#;
    check_json(API, &asked, body, Err("empty"), false);
}

#[test]
fn tool_input_comes_in_pieces() {
    let tool = (
        BLOCK.0,
        r#","index":1,"content_block":{"type":"tool_use","input":{}}"#,
    );
    let piece = |json: &str| {
        let json = serde_json::Value::from(json);
        format!(r#","index":1,"delta":{{"type":"input_json_delta","partial_json":{json}}}"#)
    };
    for (pieces, keep) in [
        (["", "{\"a\":", "1}"], Ok(())),
        (["", "", ""], Ok(())),
        (["", "{\"a\":", ""], Err("bad-tool-call")),
        (["{}", "{}", ""], Err("bad-tool-call")),
    ] {
        let [a, b, c] = pieces.map(piece);
        let pieces = [(TEXT.0, &*a), (TEXT.0, &b), (TEXT.0, &c)];
        stream(
            &[&[START, tool][..], &pieces, &[DELTA, STOP]].concat(),
            keep,
            false,
        );
    }
}

#[test]
fn usage_is_cumulative_and_counts_the_prompt_cache() {
    let late = (
        "message_delta",
        r#","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":20,"output_tokens":16}"#,
    );
    for (table, usage) in [
        (
            &[START, TEXT][..],
            Some(Usage {
                input: 42,
                output: 1,
            }),
        ),
        (
            &[START, TEXT, DELTA, STOP],
            Some(Usage {
                input: 42,
                output: 15,
            }),
        ),
        (
            &[START, DELTA, late, STOP],
            Some(Usage {
                input: 52,
                output: 16,
            }),
        ),
        (
            &[START, DELTA, ERROR],
            Some(Usage {
                input: 42,
                output: 15,
            }),
        ),
        (&[PING, STOP], None),
    ] {
        let found = verdict(API, &Facts::default(), Form::Stream, &events(table));
        assert_eq!(found.usage, usage, "{table:?}");
    }
    let json = r#"{"type":"message","usage":{"input_tokens":1,"cache_read_input_tokens":4,"output_tokens":2}}"#;
    let found = verdict(API, &Facts::default(), Form::Json, json);
    assert_eq!(
        found.usage,
        Some(Usage {
            input: 5,
            output: 2
        })
    );
}

#[test]
fn state_and_side_effects_are_not_cached() {
    for (members, reason) in [
        (
            r#""max_tokens":9,"messages":[{"role":"user","content":"hi"}]"#,
            None,
        ),
        (
            r#""tools":[{"name":"f","input_schema":{}},{"type":"custom","name":"g"},{"type":null}]"#,
            None,
        ),
        (
            r#""tools":[{"name":"f"},{"type":"web_search_20250305"}]"#,
            Some("server-tools"),
        ),
        (
            r#""tools":[{"type":"bash_20250124"}]"#,
            Some("server-tools"),
        ),
        (r#""tools":[{"type":7}]"#, Some("server-tools")),
        (r#""tools":"all""#, Some("server-tools")),
        (r#""mcp_servers":[]"#, None),
        (r#""mcp_servers":null"#, None),
        (
            r#""mcp_servers":[{"url":"https://x"}]"#,
            Some("mcp-servers"),
        ),
        (r#""container":"c-1""#, Some("container")),
        (r#""container":null"#, None),
        (
            r#""messages":[{"content":[{"source":{"type":"file","file_id":"f-1"}}]}]"#,
            Some("file-id"),
        ),
        (r#""messages":[{"content":"a \"file_id\":\"f-1\""}]"#, None),
    ] {
        assert_eq!(bypass(API, members), reason, "{members}");
    }
}
