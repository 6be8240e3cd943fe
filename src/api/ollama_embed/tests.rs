use super::super::tests::*;
use super::super::{Api, Facts, Form, Place, Usage};

const API: Api = Api::OllamaEmbed;

fn asked(items: Option<u32>) -> Facts {
    Facts {
        items,
        ..Facts::default()
    }
}

#[test]
fn a_whole_answer_is_kept_and_none_of_its_beginnings() {
    let two = r#"{"model":"m","embeddings":[[-0.1,2e-3],[1]],"prompt_eval_count":8}"#;
    check_whole_json(API, &asked(Some(2)), two);
    check_whole_json(API, &asked(Some(1)), r#"{"embedding":[0.5,1]}"#);
    for other in [None, Some(0), Some(3)] {
        check_json(API, &asked(other), two, Err("wrong-count"), false);
    }
    let found = verdict(API, &asked(Some(2)), Form::Json, two);
    let usage = Usage {
        input: 8,
        output: 0,
    };
    assert_eq!(found.usage, Some(usage));
    for (body, keep) in [
        (r#"{"embeddings":[[1],[]]}"#, Err("null-item")),
        (r#"{"embeddings":[[1],null]}"#, Err("null-item")),
        (r#"{"embeddings":[[1],[null]]}"#, Err("null-item")),
        (r#"{"embeddings":[[1],["a"]]}"#, Err("bad-shape")),
        (r#"{"embeddings":[[1],"AA"]}"#, Err("bad-shape")),
        (r#"{"embeddings":[[1]]}"#, Err("wrong-count")),
        (
            r#"{"embedding":[1],"embeddings":[[1],[1]]}"#,
            Err("wrong-count"),
        ),
        (
            r#"{"embeddings":[[1],[1]],"error":"no"}"#,
            Err("error-object"),
        ),
        ("{}", Err("wrong-count")),
    ] {
        check_json(API, &asked(Some(2)), body, keep, false);
    }
    check_json(
        API,
        &asked(Some(1)),
        r#"{"embedding":[]}"#,
        Err("null-item"),
        false,
    );
    assert!(
        API.judge(&asked(Some(1)), Form::Lines, Default::default())
            .is_none()
    );
}

#[test]
fn the_input_says_how_many_are_asked_for() {
    let legacy = "api/embeddings";
    for (path, members, items, reason) in [
        ("api/embed", r#""input":"a""#, Some(1), None),
        ("api/embed", r#""input":["a","b"]"#, Some(2), None),
        ("api/embed", r#""input":[{}]"#, None, None),
        ("api/embed", r#""input":[]"#, None, Some("model-load")),
        ("api/embed", r#""input":"""#, Some(1), Some("model-load")),
        ("api/embed", r#""prompt":"a""#, None, Some("model-load")),
        (legacy, r#""prompt":"a""#, Some(1), None),
        (legacy, r#""prompt":"""#, Some(1), Some("model-load")),
        (legacy, r#""input":["a","b"]"#, Some(1), Some("model-load")),
    ] {
        assert_eq!(Api::from_path(path), Some((API, None)));
        let place = Place {
            path,
            ..Place::default()
        };
        let body = format!(r#"{{"model":"m",{members}}}"#);
        let found = API.question(&place, body.as_bytes()).facts;
        assert_eq!(
            (found.items, found.bypass),
            (items, reason),
            "{path} {members}"
        );
        assert_eq!(found.form, Form::Json);
    }
}
