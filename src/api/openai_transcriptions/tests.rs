use super::super::tests::*;
use super::super::{Api, Facts, Form, Place, Question, Usage, Worth};

const API: Api = Api::OpenAiTranscriptions;
const TYPE: &str = "multipart/form-data; boundary=XX";

fn asked(place: &Place<'_>, fields: &[(&str, &str)]) -> Question {
    let field = |(name, value): &(&str, &str)| {
        let head = format!("Content-Disposition: form-data; name=\"{name}\"");
        format!("--XX\r\n{head}\r\n\r\n{value}\r\n")
    };
    let fields: String = fields.iter().map(field).collect();
    API.question(place, TYPE, format!("{fields}--XX--\r\n").as_bytes())
}

#[test]
fn the_fields_say_model_and_form() {
    for (fields, form, reason) in [
        (&[("model", "m")][..], Form::Json, None),
        (
            &[("model", "m"), ("response_format", "verbose_json")],
            Form::Json,
            None,
        ),
        (
            &[("model", "m"), ("response_format", "text")],
            Form::Text,
            None,
        ),
        (
            &[("model", "m"), ("response_format", "vtt")],
            Form::Text,
            None,
        ),
        (
            &[("model", "m"), ("response_format", "mp4")],
            Form::Json,
            Some("odd-format"),
        ),
        (&[("model", "m"), ("stream", "true")], Form::Stream, None),
        (&[("model", "m"), ("stream", "false")], Form::Json, None),
        (
            &[("model", "m"), ("stream", "True")],
            Form::Json,
            Some("odd-stream"),
        ),
        (
            &[("model", "m"), ("stream", "")],
            Form::Json,
            Some("odd-stream"),
        ),
        (
            &[("model", "m"), ("url", "https://example.org/a.mp3")],
            Form::Json,
            Some("file-id"),
        ),
        (&[("model", "")], Form::Json, Some("no-model")),
        (&[("prompt", "m")], Form::Json, Some("no-model")),
    ] {
        let Question { facts, digest, .. } = asked(&Place::default(), fields);
        assert_eq!((facts.form, facts.bypass), (form, reason), "{fields:?}");
        assert_eq!(digest.err(), reason, "{fields:?}");
        let named = reason != Some("no-model");
        assert_eq!(facts.model.as_deref(), named.then_some("m"), "{fields:?}");
    }
    let place = Place {
        model: Some("whisper"),
        ..Place::default()
    };
    let found = asked(&place, &[("prompt", "p")]);
    assert_eq!(found.facts.model.as_deref(), Some("whisper"));
}

#[test]
fn a_body_that_reads_in_two_ways_has_no_digest() {
    let twice = asked(&Place::default(), &[("model", "a"), ("model", "b")]);
    assert_eq!(twice.digest, Err("duplicate-part"));
    let json = API.question(&Place::default(), TYPE, b"{}");
    assert_eq!(json.digest, Err("bad-multipart"));
    let unbound = API.question(&Place::default(), "multipart/form-data", b"{}");
    assert_eq!(unbound.digest, Err("bad-boundary"));
    assert!(API.takes("multipart/form-data"));
    assert!(!API.takes("application/json"));
    assert!(!Api::OpenAiChat.takes("multipart/form-data"));
}

#[test]
fn a_json_answer_has_a_text() {
    let asked = Facts::default();
    let whole = r#"{"text":"Hi","usage":{"type":"tokens","input_tokens":14,"output_tokens":4}}"#;
    check_whole_json(API, &asked, whole);
    let spent = Usage {
        input: 14,
        output: 4,
    };
    assert_eq!(verdict(API, &asked, Form::Json, whole).usage, Some(spent));
    for (body, keep) in [
        (
            r#"{"task":"transcribe","duration":1.5,"text":"Hi","segments":[{"id":0}],"usage":{"type":"duration","seconds":2}}"#,
            Ok(()),
        ),
        (r#"{"text":""}"#, Err("empty")),
        (r#"{"text":null}"#, Err("bad-shape")),
        (r#"{"segments":[]}"#, Err("bad-shape")),
        (r#"{"text":7}"#, Err("bad-shape")),
        (r#"{"text":"Hi","error":{"code":1}}"#, Err("error-object")),
    ] {
        check_json(API, &asked, body, keep, false);
    }
}

#[test]
fn a_stream_ends_with_the_whole_text() {
    let asked = Facts::default();
    let delta = ("transcript.text.delta", r#","delta":"Hi""#);
    let done = (
        "transcript.text.done",
        r#","text":"Hi","usage":{"input_tokens":14,"output_tokens":4}"#,
    );
    check_whole_stream(API, &asked, &events(&[delta, delta, done]));
    check_whole_stream(API, &asked, &events(&[done]));
    let error = ("error", r#","error":{"message":"x"}"#);
    let nothing = ("transcript.text.done", r#","text":"""#);
    for (body, keep, cut) in [
        (events(&[delta]), Err("cut"), true),
        (events(&[delta, error]), Err("error-object"), false),
        (events(&[nothing]), Err("empty"), false),
        (events(&[done, delta]), Err("after-end"), false),
        (
            frames(&[r#"{"object":"transcription.chunk","choices":[]}"#, "[DONE]"]),
            Err("bad-frame"),
            true,
        ),
    ] {
        check_stream(API, &asked, &body, keep, cut);
    }
}

#[test]
fn text_is_kept_if_there_is_any() {
    for (body, keep) in [
        ("Hi\n", Ok(())),
        ("1\n00:00:00,000 --> 00:00:01,000\nHi\n", Ok(())),
        ("\n", Err("empty")),
        ("WEBVTT\n\n", Err("empty")),
    ] {
        let judge = API.judge(&Facts::default(), Form::Text, Worth::default());
        let mut judge = judge.unwrap();
        judge.push(body.as_bytes());
        assert_eq!(judge.finish().keep, keep, "{body:?}");
    }
}
