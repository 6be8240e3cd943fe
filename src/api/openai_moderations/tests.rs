use super::super::tests::*;
use super::super::{Api, Facts, Form, Usage};

const API: Api = Api::OpenAiModerations;
const WHOLE: &str = r#"{"flagged":true,"categories":{"hate":true,"illicit":null},"category_scores":{"hate":0.9,"illicit":1e-7},"category_applied_input_types":{"hate":["text"]}}"#;

fn asked(items: Option<u32>) -> Facts {
    Facts {
        items,
        ..Facts::default()
    }
}

fn answer(results: &str) -> String {
    format!(r#"{{"id":"modr-1","model":"omni-moderation-latest","results":[{results}]}}"#)
}

#[test]
fn a_whole_answer_is_kept_and_none_of_its_beginnings() {
    let two = answer(&format!("{WHOLE},{WHOLE}"));
    check_whole_json(API, &asked(Some(2)), &two);
    for other in [None, Some(0), Some(1), Some(3)] {
        check_json(API, &asked(other), &two, Err("wrong-count"), false);
    }
    let mistral = r#"{"results":[{"categories":{"pii":false},"category_scores":{"pii":0.5}}],"usage":{"prompt_tokens":4,"completion_tokens":0}}"#;
    let found = verdict(API, &asked(Some(1)), Form::Json, mistral);
    let spent = Usage {
        input: 4,
        output: 0,
    };
    assert_eq!((found.keep, found.usage), (Ok(()), Some(spent)));
}

#[test]
fn every_result_is_whole() {
    for (result, keep) in [
        ("null", Err("null-item")),
        ("{}", Err("null-item")),
        (r#"{"categories":{"a":true}}"#, Err("null-item")),
        (
            r#"{"categories":null,"category_scores":{"a":1}}"#,
            Err("null-item"),
        ),
        (
            r#"{"categories":{},"category_scores":{}}"#,
            Err("null-item"),
        ),
        (
            r#"{"categories":{"a":true},"category_scores":{"a":null}}"#,
            Err("null-item"),
        ),
        (
            r#"{"categories":{"a":true},"category_scores":{"a":"high"}}"#,
            Err("bad-shape"),
        ),
        (
            r#"{"categories":[],"category_scores":[]}"#,
            Err("bad-shape"),
        ),
        ("[]", Err("bad-shape")),
    ] {
        let body = answer(&format!("{WHOLE},{result}"));
        check_json(API, &asked(Some(2)), &body, keep, false);
    }
}

#[test]
fn a_request_needs_no_model_and_counts_its_inputs() {
    for (json, items, bypass) in [
        (r#"{"input":"a"}"#, Some(1), None),
        (r#"{"input":["a","b"]}"#, Some(2), None),
        (
            r#"{"input":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"b"}}]}"#,
            Some(1),
            None,
        ),
        (r#"{"input":["a",{"type":"text"}]}"#, None, None),
        (r#"{"input":[]}"#, None, None),
        (r#"{"model":null,"input":"a"}"#, Some(1), None),
        (r#"{"model":7,"input":"a"}"#, Some(1), Some("no-model")),
        (r#"{"model":"","input":"a"}"#, Some(1), Some("no-model")),
    ] {
        let found = facts(API, json);
        assert_eq!((found.items, found.bypass), (items, bypass), "{json}");
        assert_eq!(found.model, None);
    }
    assert_eq!(facts(API, r#"{"model":"m"}"#).model.as_deref(), Some("m"));
}

#[test]
fn there_are_no_streams() {
    for form in [Form::Stream, Form::Lines, Form::Text, Form::Binary] {
        assert!(
            API.judge(&asked(Some(1)), form, Default::default())
                .is_none()
        );
    }
}
