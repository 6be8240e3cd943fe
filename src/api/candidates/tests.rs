use super::super::tests::*;
use super::super::{Api, Facts, Fault, Form, Usage, Worth};

const API: Api = Api::GeminiStream;

const WORD: &str = r#"{"candidates":[{"content":{"parts":[{"text":"h\u00e9 [DONE]"}],"role":"model"}}],"usageMetadata":{"promptTokenCount":9,"totalTokenCount":9}}"#;
const STOP: &str = r#"{"candidates":[{"content":{"parts":[{"text":"o"}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":4,"thoughtsTokenCount":30}}"#;
const SPENT: &str = r#"{"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":5}}"#;
const ERROR: &str = r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#;
const BLOCKED: &str = r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":9}}"#;

/// A piece for one candidate, without usage.
fn candidate(index: u32, rest: &str) -> String {
    format!(
        r#"{{"candidates":[{{"index":{index},"content":{{"parts":[{{"text":"a"}}]}}{rest}}}]}}"#
    )
}

fn asked(choices: u32) -> Facts {
    Facts {
        choices,
        ..Facts::default()
    }
}

fn array(pieces: &[&str]) -> String {
    format!("[{}\n]", pieces.join("\n,\r\n"))
}

#[test]
fn a_whole_stream_is_kept_and_none_of_its_beginnings() {
    for body in [
        frames(&[STOP]),
        frames(&[WORD, WORD, STOP]),
        frames(&["{}", r#"{"candidates":null,"error":null}"#, WORD, STOP]),
        frames(&[r#"{"promptFeedback":{"safetyRatings":[]}}"#, WORD, STOP]),
        frames(&[
            r#"{"promptFeedback":{"blockReason":"BLOCKED_REASON_UNSPECIFIED"}}"#,
            STOP,
        ]),
        frames(&[WORD, &candidate(0, r#","finishReason":"STOP""#), SPENT]),
        frames(&[
            &candidate(0, ""),
            &candidate(0, r#","finishReason":"STOP""#),
        ]),
    ] {
        check_whole_stream(API, &asked(1), &body);
    }
    // Some gateways end every stream in the same way.
    check_stream(
        API,
        &asked(1),
        &frames(&[WORD, STOP, "[DONE]"]),
        Ok(()),
        false,
    );
    check_stream(API, &asked(1), &frames(&[WORD, STOP, SPENT]), Ok(()), false);
}

#[test]
fn a_stream_is_judged_by_its_last_pieces() {
    let plain = &candidate(0, "");
    let stop = &candidate(0, r#","finishReason":"STOP""#);
    let table: &[(&[&str], Keep, bool)] = &[
        (&[WORD], Err("cut"), true),
        (&[WORD, WORD], Err("cut"), true),
        (&[SPENT], Err("cut"), true),
        // Older models say STOP with every piece.
        (&[stop, stop], Ok(()), false),
        (&[stop, plain], Err("cut"), true),
        (&[stop, plain, "[DONE]"], Err("no-finish-reason"), false),
        // Tokens were counted before: the count at the end is missing.
        (&[WORD, stop], Err("cut"), true),
        (&[WORD, stop, "{}"], Err("cut"), true),
        (
            &[stop, r#"{"candidates":[{"index":0,"finishReason":""}]}"#],
            Err("cut"),
            true,
        ),
        (
            &[r#"{"candidates":[{"finishReason":"FINISH_REASON_UNSPECIFIED"}]}"#],
            Err("cut"),
            true,
        ),
        (&[WORD, ERROR], Err("error-object"), false),
        (&[STOP, ERROR], Err("error-object"), false),
        (&[ERROR, STOP], Err("error-object"), false),
        (&[WORD, &format!("[{ERROR}]")], Err("error-object"), false),
        (&[BLOCKED], Err("filtered"), false),
        (&[WORD, BLOCKED], Err("filtered"), false),
        (&["[DONE]"], Err("missing-choices"), false),
        (&["[DONE] ", STOP], Err("bad-frame"), false),
        (&[STOP, "[DONE]", STOP], Err("after-end"), false),
        (&["{\"candidates\":[", STOP], Err("bad-frame"), false),
        (&[&format!("[{STOP}]"), STOP], Err("bad-frame"), false),
        (&[r#"{"candidates":{}}"#, STOP], Err("bad-frame"), false),
        (&[r#"{"candidates":[null]}"#, STOP], Err("bad-frame"), false),
        (
            &[r#"{"candidates":[{"index":-1}]}"#, STOP],
            Err("bad-frame"),
            false,
        ),
        (
            &[r#"{"candidates":[{"index":9999999}]}"#, STOP],
            Err("wrong-count"),
            false,
        ),
    ];
    for (data, keep, cut) in table {
        check_stream(API, &asked(1), &frames(data), *keep, *cut);
    }
    let named = format!("event: error\ndata: {{}}\n\n{}", frames(&[STOP]));
    check_stream(API, &asked(1), &named, Err("error-object"), false);
    let whole = frames(&[WORD, STOP]);
    check_stream(API, &asked(1), whole.trim_end(), Err("cut"), true);
    check_stream(API, &asked(1), &(whole + "data: {\"can"), Err("cut"), true);
}

#[test]
fn an_array_is_whole_when_it_is_closed() {
    check_whole_json(API, &asked(1), &array(&[STOP]));
    check_whole_json(API, &asked(1), &array(&[WORD, WORD, STOP]));
    let stop = candidate(0, r#","finishReason":"STOP""#);
    check_whole_json(API, &asked(1), &array(&[WORD, &stop]));
    for (body, keep) in [
        (array(&[WORD]), Err("no-finish-reason")),
        (array(&[&stop, WORD]), Err("no-finish-reason")),
        (array(&[WORD, ERROR]), Err("error-object")),
        (array(&[ERROR]), Err("error-object")),
        (array(&[ERROR, STOP]), Err("error-object")),
        (array(&[BLOCKED]), Err("filtered")),
        (array(&["{}"]), Err("missing-choices")),
        (array(&[WORD, "null", STOP]), Err("bad-shape")),
        (STOP.to_owned(), Err("bad-shape")),
        (array(&[STOP]) + "]", Err("not-json")),
        (array(&[STOP]).replace('\n', "7\n"), Err("not-json")),
    ] {
        check_json(API, &asked(1), &body, keep, false);
    }
}

#[test]
fn an_answer_in_one_piece_is_an_object() {
    let api = Api::GeminiGenerate;
    check_whole_json(api, &asked(1), STOP);
    check_whole_stream(api, &asked(1), &frames(&[STOP]));
    for (body, keep) in [
        (WORD.to_owned(), Err("no-finish-reason")),
        (ERROR.to_owned(), Err("error-object")),
        (array(&[ERROR]), Err("error-object")),
        (array(&[STOP]), Err("bad-shape")),
        (BLOCKED.to_owned(), Err("filtered")),
        (SPENT.to_owned(), Err("missing-choices")),
        ("{}".to_owned(), Err("missing-choices")),
        (r#"{"candidates":[]}"#.to_owned(), Err("missing-choices")),
    ] {
        check_json(api, &asked(1), &body, keep, false);
    }
}

#[test]
fn only_stop_is_a_good_end() {
    for (reason, keep) in [
        ("STOP", Ok(())),
        ("MAX_TOKENS", Err("length")),
        ("SAFETY", Err("filtered")),
        ("RECITATION", Err("filtered")),
        ("LANGUAGE", Err("filtered")),
        ("BLOCKLIST", Err("filtered")),
        ("PROHIBITED_CONTENT", Err("filtered")),
        ("SPII", Err("filtered")),
        ("IMAGE_SAFETY", Err("filtered")),
        ("MODEL_ARMOR", Err("filtered")),
        ("ESCALATION", Err("filtered")),
        ("CONTINUATION", Err("incomplete-status")),
        ("MALFORMED_FUNCTION_CALL", Err("bad-tool-call")),
        ("UNEXPECTED_TOOL_CALL", Err("error-finish")),
        ("OTHER", Err("error-finish")),
        ("A_REASON_FROM_THE_FUTURE", Err("error-finish")),
    ] {
        let piece = candidate(0, &format!(r#","finishReason":"{reason}""#));
        check_stream(API, &asked(1), &frames(&[&piece]), keep, false);
        check_json(API, &asked(1), &array(&[&piece]), keep, false);
        check_json(Api::GeminiGenerate, &asked(1), &piece, keep, false);
    }
}

#[test]
fn every_candidate_is_there_and_finished() {
    let stop = |index| candidate(index, r#","finishReason":"STOP""#);
    let open = |index| candidate(index, "");
    for (pieces, keep, cut) in [
        (vec![stop(0), stop(1)], Ok(()), false),
        (vec![open(0), open(1), stop(1), stop(0)], Ok(()), false),
        (vec![open(0), stop(0)], Err("missing-choices"), false),
        (vec![stop(0), open(1)], Err("cut"), true),
        (vec![stop(0), stop(1), open(0)], Err("cut"), true),
    ] {
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        check_stream(API, &asked(2), &frames(&pieces), keep, cut);
        let keep = keep.map_err(|fault| match fault {
            "cut" => "no-finish-reason",
            fault => fault,
        });
        check_json(API, &asked(2), &array(&pieces), keep, false);
    }
}

#[test]
fn a_candidate_holds_something_a_user_or_tool_could_take() {
    for (parts, keep) in [
        (r#"{"text":"a"}"#, Ok(())),
        (r#"{"thought":false,"text":"a"}"#, Ok(())),
        (
            r#"{"inlineData":{"mimeType":"image/png","data":"AA"}}"#,
            Ok(()),
        ),
        (r#"{"functionCall":{"name":"f","args":{"a":1}}}"#, Ok(())),
        (r#"{"functionCall":{"name":"f","args":null}}"#, Ok(())),
        (
            r#"{"functionCall":{"name":"f"}},{"functionCall":{"name":"g"}}"#,
            Ok(()),
        ),
        (
            r#"{"functionCall":{"name":"f","args":"{}"}}"#,
            Err("bad-tool-call"),
        ),
        (
            r#"{"functionCall":{"name":"f","args":[1]}}"#,
            Err("bad-tool-call"),
        ),
        (
            r#"{"functionCall":{"name":"f","willContinue":true}}"#,
            Err("bad-tool-call"),
        ),
        (
            r#"{"functionCall":{"name":"f","willContinue":true}},{"functionCall":{"partialArgs":[]}}"#,
            Ok(()),
        ),
        (r#"{"text":""}"#, Err("empty")),
        (r#"{"thought":true,"text":"hm"}"#, Err("empty")),
        (r#"{"text":"","thoughtSignature":"AA"}"#, Err("empty")),
        ("", Err("empty")),
    ] {
        let piece = format!(
            r#"{{"candidates":[{{"content":{{"parts":[{parts}]}},"finishReason":"STOP"}}]}}"#
        );
        check_stream(API, &asked(1), &frames(&[&piece]), keep, false);
        check_json(Api::GeminiGenerate, &asked(1), &piece, keep, false);
    }
    let bare = r#"{"candidates":[{"finishReason":"STOP"}]}"#;
    check_json(Api::GeminiGenerate, &asked(1), bare, Err("empty"), false);
    check_stream(
        API,
        &asked(1),
        &frames(&[&candidate(0, ""), bare]),
        Ok(()),
        false,
    );
}

#[test]
fn the_operator_may_keep_blocked_prompts_and_cut_candidates() {
    let keep = |body: &str, faults: &[Fault]| {
        let worth = faults
            .iter()
            .fold(Worth::default(), |worth, f| worth.and(*f));
        let mut judge = Api::GeminiGenerate
            .judge(&asked(1), Form::Json, worth)
            .unwrap();
        judge.push(body.as_bytes());
        judge.finish().keep
    };
    assert_eq!(keep(BLOCKED, &[Fault::Filtered]), Ok(()));
    assert_eq!(keep(BLOCKED, &[Fault::Length]), Err("filtered"));
    let long = candidate(0, r#","finishReason":"MAX_TOKENS""#);
    assert_eq!(keep(&long, &[Fault::Length]), Ok(()));
    let thought = long.replace("text", "thoughts");
    assert_eq!(keep(&thought, &[Fault::Length]), Err("empty"));
    assert_eq!(keep(&thought, &[Fault::Length, Fault::Empty]), Ok(()));
    let other = candidate(0, r#","finishReason":"OTHER""#);
    assert_eq!(keep(&other, &Fault::ALL), Err("error-finish"));
}

#[test]
fn the_last_usage_counts() {
    let usage = |input, output| Some(Usage { input, output });
    let tools = r#"{"usageMetadata":{"promptTokenCount":9,"toolUsePromptTokenCount":3,"candidatesTokenCount":-1}}"#;
    for (pieces, expected) in [
        (&[WORD][..], usage(9, 0)),
        (&[WORD, STOP], usage(9, 34)),
        (&[WORD, STOP, SPENT], usage(9, 5)),
        (&[STOP, ERROR], usage(9, 34)),
        (&[tools], usage(12, 0)),
        (&[r#"{"usageMetadata":{"promptTokenCount":"9"}}"#], None),
        (&["{}"], None),
    ] {
        let found = verdict(API, &asked(1), Form::Stream, &frames(pieces));
        assert_eq!(found.usage, expected, "{pieces:?}");
        let found = verdict(API, &asked(1), Form::Json, &array(pieces));
        assert_eq!(found.usage, expected, "{pieces:?}");
    }
}
