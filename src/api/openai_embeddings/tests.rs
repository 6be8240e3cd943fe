use super::super::tests::*;
use super::super::{Api, Facts, Form, Usage};

const API: Api = Api::OpenAiEmbeddings;

fn asked(items: Option<u32>) -> Facts {
    Facts {
        items,
        ..Facts::default()
    }
}

fn answer(items: &str) -> String {
    format!(
        r#"{{"object":"list","data":[{items}],"model":"m","usage":{{"prompt_tokens":8,"total_tokens":8}}}}"#
    )
}

#[test]
fn a_whole_answer_is_kept_and_none_of_its_beginnings() {
    let one = answer(r#"{"object":"embedding","index":0,"embedding":[-0.1,2e-3,7]}"#);
    check_whole_json(API, &asked(Some(1)), &one);
    let two = answer(r#"{"index":1,"embedding":"AACAPw=="},{"index":0,"embedding":"AACAPw"}"#);
    check_whole_json(API, &asked(Some(2)), &two);
    let found = verdict(API, &asked(Some(1)), Form::Json, &one);
    assert_eq!(
        found.usage,
        Some(Usage {
            input: 8,
            output: 0
        })
    );
    for body in [&one, &two] {
        for other in [None, Some(0), Some(3)] {
            check_json(API, &asked(other), body, Err("wrong-count"), false);
        }
    }
}

#[test]
fn every_item_is_there_once_and_whole() {
    let good = r#"{"index":0,"embedding":[0.5]}"#;
    for (second, keep) in [
        (r#"{"index":1,"embedding":[0.5]}"#, Ok(())),
        (r#"{"embedding":[0.5]}"#, Ok(())),
        (r#"{"index":0,"embedding":[0.5]}"#, Err("wrong-count")),
        (r#"{"index":2,"embedding":[0.5]}"#, Err("wrong-count")),
        (
            r#"{"index":1,"embedding":[0.5]},{"index":2,"embedding":[0.5]}"#,
            Err("wrong-count"),
        ),
        (r#"{"index":1,"embedding":[]}"#, Err("null-item")),
        (r#"{"index":1,"embedding":[0.5,null]}"#, Err("null-item")),
        (r#"{"index":1,"embedding":null}"#, Err("null-item")),
        (r#"{"index":1,"embedding":""}"#, Err("null-item")),
        (r#"{"index":1,"embedding":"AACAPwAAgL8="}"#, Ok(())),
        (r#"{"index":1,"embedding":"__9_fwAAAAA"}"#, Ok(())),
        // Not a number, infinite, half a number, nothing but padding.
        (
            r#"{"index":1,"embedding":"AACAPwAAwH8="}"#,
            Err("null-item"),
        ),
        (r#"{"index":1,"embedding":"AACA_w"}"#, Err("null-item")),
        (r#"{"index":1,"embedding":"AACAPwAA"}"#, Err("null-item")),
        (r#"{"index":1,"embedding":"A"}"#, Err("null-item")),
        (r#"{"index":1,"embedding":"===="}"#, Err("null-item")),
        (r#"{"index":1,"embedding":"AA==APw="}"#, Err("null-item")),
        (r#"{"index":1}"#, Err("null-item")),
        ("null", Err("null-item")),
        (r#"{"index":1,"embedding":["NaN"]}"#, Err("bad-shape")),
        (r#"{"index":1,"embedding":[true]}"#, Err("bad-shape")),
        (r#"{"index":1,"embedding":[[0.5]]}"#, Err("bad-shape")),
        (r#"{"index":1,"embedding":{"a":1}}"#, Err("bad-shape")),
        (r#"{"index":1,"embedding":"not base64"}"#, Err("bad-shape")),
        (r#"{"index":1,"embedding":7}"#, Err("bad-shape")),
        (r#"[1,[0.5]]"#, Err("bad-shape")),
        (r#"{"index":1,"embedding":[NaN]}"#, Err("not-json")),
    ] {
        check_json(
            API,
            &asked(Some(2)),
            &answer(&format!("{good},{second}")),
            keep,
            false,
        );
    }
    for body in [r#"{"data":null}"#, r#"{"data":[]}"#, r#"{"object":"list"}"#] {
        check_json(API, &asked(Some(1)), body, Err("wrong-count"), false);
    }
    check_json(
        API,
        &asked(Some(0)),
        r#"{"data":[]}"#,
        Err("wrong-count"),
        false,
    );
    let error = r#"{"object":"error","data":[{"index":0,"embedding":[0.5]}]}"#;
    check_json(API, &asked(Some(1)), error, Err("error-object"), false);
}

#[test]
fn an_event_stream_is_not_kept() {
    let body = frames(&[&answer(r#"{"index":0,"embedding":[0.5]}"#), "[DONE]"]);
    let found = verdict(API, &asked(Some(1)), Form::Stream, &body);
    assert_eq!((found.keep, found.cut), (Err("not-json"), false));
}

#[test]
fn the_input_says_how_many_items_are_asked_for() {
    for (members, items) in [
        (r#""input":"a""#, Some(1)),
        (r#""input":["a","b"]"#, Some(2)),
        (r#""input":[1,2,3]"#, Some(1)),
        (r#""input":[[1,2],[3]]"#, Some(2)),
        (r#""input":[{"text":"a"}]"#, Some(1)),
        (r#""input":[{"text":"a"},{"image":"aQ=="}]"#, Some(2)),
        (r#""input":[{"text":"a"},null]"#, None),
        (r#""input":[{"text":"a"},[1]]"#, None),
        (r#""input":[]"#, None),
        (r#""input":null"#, None),
        (r#""n":1"#, None),
    ] {
        let found = facts(API, &format!(r#"{{"model":"m",{members}}}"#));
        assert_eq!((found.items, found.bypass), (items, None), "{members}");
    }
}

#[test]
fn base64_is_of_floats_unless_other_numbers_are_asked_for() {
    let body = answer(r#"{"index":0,"embedding":"/wB/gMA="}"#);
    for (members, keep) in [
        ("", Err("null-item")),
        (r#","encoding_format":"base64""#, Err("null-item")),
        (r#","output_dtype":null"#, Err("null-item")),
        (r#","output_dtype":"int8""#, Ok(())),
        (r#","embedding_type":"binary""#, Ok(())),
        (r#","embed_dtype":"float16""#, Ok(())),
        (r#","endianness":"big""#, Ok(())),
    ] {
        let asked = facts(API, &format!(r#"{{"model":"m","input":"a"{members}}}"#));
        check_json(API, &asked, &body, keep, false);
    }
}
