use super::super::gemini::tests as gemini;
use super::super::tests::*;
use super::super::{Api, Facts, Form, Usage};

const API: Api = Api::GeminiEmbed;

fn asked(items: Option<u32>) -> Facts {
    Facts {
        items,
        ..Facts::default()
    }
}

#[test]
fn a_whole_answer_is_kept_and_none_of_its_beginnings() {
    let one = r#"{"embedding":{"values":[-0.1,2e-3,7]},"usageMetadata":{"promptTokenCount":8}}"#;
    check_whole_json(API, &asked(Some(1)), one);
    let two = r#"{"embeddings":[{"values":[0.5]},{"values":[1],"shape":[1]}]}"#;
    check_whole_json(API, &asked(Some(2)), two);
    for body in [one, two] {
        for other in [None, Some(0), Some(3)] {
            check_json(API, &asked(other), body, Err("wrong-count"), false);
        }
    }
    let found = verdict(API, &asked(Some(1)), Form::Json, one);
    let usage = Usage {
        input: 8,
        output: 0,
    };
    assert_eq!(found.usage, Some(usage));
}

#[test]
fn every_embedding_is_whole() {
    for (second, keep) in [
        (r#"{"values":[0.5]}"#, Ok(())),
        (r#"{"values":[]}"#, Err("null-item")),
        (r#"{"values":[0.5,null]}"#, Err("null-item")),
        (r#"{"values":null}"#, Err("null-item")),
        ("{}", Err("null-item")),
        ("null", Err("null-item")),
        (r#"{"values":["NaN"]}"#, Err("bad-shape")),
        (r#"{"values":"AACAPw=="}"#, Err("bad-shape")),
        ("[0.5]", Err("bad-shape")),
        (r#"{"values":[NaN]}"#, Err("not-json")),
        (r#"{"values":[1]},{"values":[1]}"#, Err("wrong-count")),
    ] {
        let body = format!(r#"{{"embeddings":[{{"values":[0.5]}},{second}]}}"#);
        check_json(API, &asked(Some(2)), &body, keep, false);
    }
    let both = r#"{"embedding":{"values":[1]},"embeddings":[{"values":[1]}]}"#;
    check_json(API, &asked(Some(1)), both, Err("wrong-count"), false);
    check_json(API, &asked(Some(1)), "{}", Err("wrong-count"), false);
    assert!(
        API.judge(&asked(Some(1)), Form::Stream, Default::default())
            .is_none()
    );
}

#[test]
fn the_path_and_the_requests_say_how_many_are_asked_for() {
    let one = "v1beta/models/m:embedContent";
    let many = "v1beta/models/m:batchEmbedContents";
    for (path, json, items) in [
        (
            one,
            r#"{"content":{"parts":[{"text":"a"},{"text":"b"}]}}"#,
            Some(1),
        ),
        (one, r#"{"requests":[{},{}]}"#, Some(1)),
        (
            many,
            r#"{"requests":[{"model":"models/m","content":{}},{}]}"#,
            Some(2),
        ),
        (many, r#"{"requests":[]}"#, Some(0)),
        (many, r#"{"requests":[null]}"#, None),
        (many, r#"{"requests":{}}"#, None),
        (many, r#"{"content":{}}"#, None),
    ] {
        let found = gemini::facts(path, "", json);
        let found = (found.model.as_deref(), found.items, found.bypass);
        assert_eq!(found, (Some("m"), items, None), "{path} {json}");
    }
    for (path, members) in [
        (
            one,
            r#""content":{"parts":[{"fileData":{"fileUri":"gs://b/o"}}]}"#,
        ),
        (
            many,
            r#""requests":[{"content":{"parts":[{"file_data":{}}]}}]"#,
        ),
    ] {
        assert_eq!(gemini::bypass(path, members), Some("file-id"), "{members}");
    }
    let cached = r#""content":{},"cachedContent":"cachedContents/c""#;
    assert_eq!(gemini::bypass(one, cached), Some("cached-content"));
}
