use super::super::tests::*;
use super::super::{Api, Facts, Place};

const API: Api = Api::OllamaGenerate;

#[test]
fn an_answer_has_a_response_or_a_picture() {
    for (members, keep) in [
        (r#""response":"hi","context":[1,2]"#, Ok(())),
        (r#""response":"","image":"iVBORw0KGgo=""#, Ok(())),
        (r#""response":"","thinking":"hm""#, Err("empty")),
        (r#""response":"","done_reason":"load""#, Err("empty")),
        (r#""response":"hi","done_reason":"length""#, Err("length")),
    ] {
        let body = format!(r#"{{"model":"m",{members},"done":true}}"#);
        check_json(API, &Facts::default(), &body, keep, false);
        check_lines(API, &format!("{body}\n"), keep, false);
    }
    let first = r#"{"response":"hi","done":false}"#;
    let last = r#"{"response":"","done":true,"context":[1]}"#;
    check_lines(API, &format!("{first}\n{last}\n"), Ok(()), false);
    check_lines(API, &format!("{first}\n"), Err("cut"), true);
    check_json(
        API,
        &Facts::default(),
        first,
        Err("incomplete-status"),
        false,
    );
}

#[test]
fn a_request_that_asks_nothing_is_not_cached() {
    for (members, reason) in [
        (r#""prompt":"hi","suffix":"x""#, None),
        (r#""prompt":"hi","images":["AA"],"context":[1]"#, None),
        (r#""prompt":"""#, Some("model-load")),
        (r#""prompt":"","images":["AA"]"#, Some("model-load")),
        (r#""prompt":null"#, Some("model-load")),
        (r#""keep_alive":0"#, Some("model-load")),
        (r#""Prompt":"hi""#, Some("odd-field")),
        (r#""prompt":"hi","STREAM":false"#, Some("odd-field")),
        (
            "\"prompt\":\"hi\",\"\u{17f}uffix\":\"x\"",
            Some("odd-field"),
        ),
        (r#""prompt":"hi","keepalive":0"#, None),
        (r#""prompt":"hi","X":1"#, None),
    ] {
        assert_eq!(bypass(API, members), reason, "{members}");
    }
}

#[test]
fn the_context_of_an_earlier_answer_is_part_of_the_question() {
    let digest = |context: &str| {
        let body = format!(r#"{{"model":"m","prompt":"a","context":{context}}}"#);
        API.question(&Place::default(), "application/json", body.as_bytes())
            .digest
    };
    assert_eq!(digest("[1, 2]"), digest("[1,2]"));
    assert_ne!(digest("[1,2]"), digest("[2,1]"));
}
