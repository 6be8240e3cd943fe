use super::super::tests::*;
use super::super::{Api, Facts, Form, Usage};

const API: Api = Api::OpenAiCompletions;

fn asked(choices: u32) -> Facts {
    Facts {
        choices,
        ..Facts::default()
    }
}

#[test]
fn a_whole_stream_is_kept_and_none_of_its_beginnings() {
    let text = r#"{"object":"text_completion","choices":[{"text":"hi","index":0,"logprobs":null,"finish_reason":null}]}"#;
    let last = r#"{"choices":[{"text":"","index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7}}"#;
    let whole = frames(&[text, last, "[DONE]"]);
    check_whole_stream(API, &asked(1), &whole);
    check_stream(API, &asked(2), &whole, Err("missing-choices"), false);
    check_stream(API, &asked(1), &frames(&[text, last]), Err("cut"), true);
    check_stream(
        API,
        &asked(1),
        &frames(&[text, "[DONE]"]),
        Err("no-finish-reason"),
        false,
    );
    let empty = frames(&[last, "[DONE]"]);
    check_stream(API, &asked(1), &empty, Err("empty"), false);
    let long = whole.replace("\"stop\"", "\"length\"");
    check_stream(API, &asked(1), &long, Err("length"), false);
    let usage = verdict(API, &asked(1), Form::Stream, &whole).usage;
    assert_eq!(
        usage,
        Some(Usage {
            input: 5,
            output: 7
        })
    );
}

#[test]
fn a_whole_json_answer_is_kept_and_none_of_its_beginnings() {
    let two = r#"{"object":"text_completion","choices":[{"text":"a","index":1,"finish_reason":"stop"},{"text":"b","index":0,"finish_reason":"stop"}]}"#;
    check_whole_json(API, &asked(2), two);
    check_json(API, &asked(3), two, Err("missing-choices"), false);
    check_json(
        API,
        &asked(2),
        &two.replace(":0,", ":1,"),
        Err("missing-choices"),
        false,
    );
}

#[test]
fn every_prompt_is_answered_n_times() {
    for (members, choices, reason) in [
        (r#""prompt":"a""#, 1, None),
        (r#""prompt":"a","n":2,"best_of":5"#, 2, None),
        (r#""prompt":["a"]"#, 1, None),
        (r#""prompt":["a","b","c"],"n":2"#, 6, None),
        (r#""prompt":[1,2,3],"n":2"#, 2, None),
        (r#""prompt":[[1,2],[3]],"n":2"#, 4, None),
        (r#""prompt":null,"n":2"#, 2, None),
        (r#""n":2"#, 2, None),
        (r#""prompt":[]"#, 1, Some("odd-prompt")),
        (r#""prompt":["a",1]"#, 1, Some("odd-prompt")),
        (r#""prompt":{"text":"a"}"#, 1, Some("odd-prompt")),
        (r#""prompt":["a","b"],"n":0"#, 1, Some("odd-n")),
        (r#""prompt":["a","b"],"n":4294967295"#, 1, Some("odd-n")),
    ] {
        let found = facts(API, &format!(r#"{{"model":"m",{members}}}"#));
        assert_eq!(
            (found.choices, found.bypass),
            (choices, reason),
            "{members}"
        );
    }
}
