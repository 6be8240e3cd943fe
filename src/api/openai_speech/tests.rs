use super::super::tests::*;
use super::super::{Api, Facts, Form, Usage, Worth};

const API: Api = Api::OpenAiSpeech;
const PIECE: (&str, &str) = ("speech.audio.delta", r#","audio":"SUQz""#);
const DONE: (&str, &str) = (
    "speech.audio.done",
    r#","usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}"#,
);

#[test]
fn sound_is_kept_if_there_is_any() {
    for (body, keep) in [
        (&b"ID3\x04\xff\xfb"[..], Ok(())),
        (b"", Err("empty")),
        (br#"{"error":{"message":"busy"}}"#, Err("error-object")),
    ] {
        let judge = API.judge(&Facts::default(), Form::Binary, Worth::default());
        let mut judge = judge.unwrap();
        judge.push(body);
        let found = judge.finish();
        assert_eq!((found.keep, found.cut), (keep, false));
    }
    for form in [Form::Json, Form::Lines, Form::Text] {
        let judge = API.judge(&Facts::default(), form, Worth::default());
        assert!(judge.is_none(), "{form:?}");
    }
}

#[test]
fn a_stream_of_sound_has_an_end() {
    let asked = Facts::default();
    let whole = events(&[PIECE, PIECE, DONE]);
    check_whole_stream(API, &asked, &whole);
    let spent = Usage {
        input: 14,
        output: 101,
    };
    let found = verdict(API, &asked, Form::Stream, &whole);
    assert_eq!(found.usage, Some(spent));
    let empty = ("speech.audio.delta", r#","audio":"""#);
    let odd = ("speech.audio.delta", r#","audio":7"#);
    let error = ("error", r#","error":{"message":"x"}"#);
    for (body, keep, cut) in [
        (events(&[PIECE, PIECE]), Err("cut"), true),
        (events(&[DONE]), Err("empty"), false),
        (events(&[empty, DONE]), Err("empty"), false),
        (events(&[PIECE, odd, DONE]), Err("bad-frame"), false),
        (events(&[PIECE, DONE, PIECE]), Err("after-end"), false),
        (events(&[PIECE, error]), Err("error-object"), false),
    ] {
        check_stream(API, &asked, &body, keep, cut);
    }
}

#[test]
fn the_request_says_in_which_form_sound_comes() {
    for (members, form, reason) in [
        (r#""input":"a""#, Form::Binary, None),
        (r#""stream_format":null"#, Form::Binary, None),
        (r#""stream_format":"audio""#, Form::Binary, None),
        (r#""stream_format":"sse""#, Form::Stream, None),
        (r#""stream_format":"ws""#, Form::Binary, Some("odd-format")),
        (r#""stream_format":true"#, Form::Binary, Some("odd-format")),
    ] {
        let found = facts(API, &format!(r#"{{"model":"m",{members}}}"#));
        assert_eq!((found.form, found.bypass), (form, reason), "{members}");
    }
}
