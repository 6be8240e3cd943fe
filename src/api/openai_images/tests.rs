use super::super::tests::*;
use super::super::{Api, Facts, Form, Usage};

const API: Api = Api::OpenAiImages;
const PICTURE: &str = r#"{"b64_json":"iVBORw0KGgo=","revised_prompt":"a cat"}"#;
const USAGE: &str = r#""usage":{"input_tokens":50,"output_tokens":4160,"total_tokens":4210}"#;

fn asked(choices: u32) -> Facts {
    Facts {
        choices,
        ..Facts::default()
    }
}

fn answer(pictures: &str) -> String {
    format!(r#"{{"created":1,"data":[{pictures}],{USAGE}}}"#)
}

#[test]
fn a_whole_answer_is_kept_and_none_of_its_beginnings() {
    let two = answer(&format!("{PICTURE},{PICTURE}"));
    check_whole_json(API, &asked(2), &two);
    let spent = Usage {
        input: 50,
        output: 4160,
    };
    let found = verdict(API, &asked(2), Form::Json, &two);
    assert_eq!(found.usage, Some(spent));
    for other in [1, 3] {
        check_json(API, &asked(other), &two, Err("wrong-count"), false);
    }
}

#[test]
fn every_picture_is_in_the_answer_itself() {
    for (picture, keep) in [
        (r#"{"b64_json":"aQ==","url":null}"#, Ok(())),
        (
            r#"{"b64_json":null,"url":"data:image/png;base64,aQ=="}"#,
            Ok(()),
        ),
        (r#"{"url":"data:"}"#, Err("null-item")),
        (r#"{"url":"data:image/png;base64,"}"#, Err("null-item")),
        (r#"{"b64_json":"aQ==","url":"data:"}"#, Ok(())),
        (r#"{"url":"https://x/y.png?se=1"}"#, Err("expiring-link")),
        (
            r#"{"b64_json":"aQ==","url":"https://x/y.png"}"#,
            Err("expiring-link"),
        ),
        (r#"{"b64_json":""}"#, Err("null-item")),
        (r#"{"b64_json":null}"#, Err("null-item")),
        ("{}", Err("null-item")),
        ("null", Err("null-item")),
        (r#"{"b64_json":7}"#, Err("bad-shape")),
        ("[]", Err("bad-shape")),
    ] {
        check_json(API, &asked(1), &answer(picture), keep, false);
    }
    check_json(
        API,
        &asked(1),
        r#"{"created":1}"#,
        Err("wrong-count"),
        false,
    );
}

#[test]
fn a_stream_ends_with_the_finished_picture() {
    let partial = ("image_generation.partial_image", r#","b64_json":"aQ==""#);
    let done = (
        "image_generation.completed",
        r#","b64_json":"aQ==","usage":{"input_tokens":5,"output_tokens":6}"#,
    );
    let whole = events(&[partial, done]);
    check_whole_stream(API, &asked(1), &whole);
    let spent = Usage {
        input: 5,
        output: 6,
    };
    let found = verdict(API, &asked(1), Form::Stream, &whole);
    assert_eq!(found.usage, Some(spent));
    for (body, keep, cut) in [
        (events(&[partial]), Err("cut"), true),
        (
            events(&[partial, ("error", r#","error":{}"#), done]),
            Err("error-object"),
            false,
        ),
        (events(&[done, partial]), Err("after-end"), false),
        (
            events(&[("image_generation.completed", r#","b64_json":null"#)]),
            Err("null-item"),
            false,
        ),
        (
            events(&[("image_generation.completed", r#","b64_json":7"#)]),
            Err("bad-frame"),
            false,
        ),
    ] {
        check_stream(API, &asked(1), &body, keep, cut);
    }
    check_stream(API, &asked(1), &(whole + "data: [DONE]\n\n"), Ok(()), false);
}

#[test]
fn several_pictures_come_in_one_piece_only() {
    for (members, choices, form, reason) in [
        (r#""n":3"#, 3, Form::Json, None),
        (r#""n":null"#, 1, Form::Json, None),
        (r#""n":1,"stream":true"#, 1, Form::Stream, None),
        (r#""stream":true"#, 1, Form::Stream, None),
        (r#""n":2,"stream":true"#, 2, Form::Stream, Some("odd-n")),
        (r#""n":0"#, 1, Form::Json, Some("odd-n")),
    ] {
        let found = facts(API, &format!(r#"{{"model":"m",{members}}}"#));
        let found = (found.choices, found.form, found.bypass);
        assert_eq!(found, (choices, form, reason), "{members}");
    }
}
