use super::super::tests::*;
use super::super::{Api, Facts, Form, Usage};

const API: Api = Api::Rerank;

fn asked(items: Option<u32>, among: Option<u32>) -> Facts {
    Facts {
        items,
        among,
        ..Facts::default()
    }
}

fn results(indices: &[u32]) -> String {
    let result = |index: &u32| format!(r#"{{"index":{index},"relevance_score":0.5}}"#);
    let results: Vec<String> = indices.iter().map(result).collect();
    format!(r#"{{"results":[{}]}}"#, results.join(","))
}

#[test]
fn a_whole_answer_is_kept_and_none_of_its_beginnings() {
    check_whole_json(API, &asked(Some(2), Some(3)), &results(&[2, 0]));
    check_whole_json(API, &asked(Some(3), Some(3)), &results(&[1, 2, 0]));
    for (indices, items, among) in [
        (&[0, 1][..], Some(1), Some(2)),
        (&[0], Some(2), Some(2)),
        (&[0, 0], Some(2), Some(2)),
        (&[0, 2], Some(2), Some(2)),
        (&[0], None, None),
        (&[], Some(0), Some(0)),
    ] {
        let (body, asked) = (results(indices), asked(items, among));
        check_json(API, &asked, &body, Err("wrong-count"), false);
    }
}

#[test]
fn every_result_has_a_score_and_an_index() {
    for (result, keep) in [
        (
            r#"{"index":0,"relevance_score":1,"document":{"text":"a"}}"#,
            Ok(()),
        ),
        (r#"{"index":0,"relevance_score":null}"#, Err("null-item")),
        (r#"{"index":0}"#, Err("null-item")),
        ("null", Err("null-item")),
        (r#"{"relevance_score":1}"#, Err("wrong-count")),
        (r#"{"index":-1,"relevance_score":1}"#, Err("bad-shape")),
        (r#"{"index":0,"relevance_score":"1"}"#, Err("bad-shape")),
    ] {
        let body = format!(r#"{{"results":[{result}]}}"#);
        check_json(API, &asked(Some(1), Some(1)), &body, keep, false);
    }
}

#[test]
fn tokens_are_counted_wherever_a_provider_says_them() {
    for (more, usage) in [
        ("", None),
        (r#","usage":{"total_tokens":15}"#, Some((15, 0))),
        (
            r#","usage":{"prompt_tokens":12,"total_tokens":15}"#,
            Some((12, 0)),
        ),
        (
            r#","meta":{"billed_units":{"search_units":1},"tokens":{"input_tokens":30,"output_tokens":2}}"#,
            Some((30, 2)),
        ),
        (r#","meta":{"billed_units":{"search_units":1}}"#, None),
        (
            r#","meta":{"billed_units":{"input_tokens":9},"tokens":{"input_tokens":30}}"#,
            Some((9, 0)),
        ),
    ] {
        let body = results(&[0]).replace("]}", &format!("]{more}}}"));
        let found = verdict(API, &asked(Some(1), Some(1)), Form::Json, &body);
        let usage = usage.map(|(input, output)| Usage { input, output });
        assert_eq!((found.keep, found.usage), (Ok(()), usage), "{more}");
    }
}

#[test]
fn the_request_says_how_many_of_how_many() {
    for (members, items, among) in [
        (r#""documents":["a","b","c"]"#, Some(3), Some(3)),
        (r#""documents":["a","b"],"top_n":null"#, Some(2), Some(2)),
        (r#""documents":["a","b"],"top_n":1"#, Some(1), Some(2)),
        (r#""documents":["a","b"],"top_n":9"#, Some(2), Some(2)),
        (r#""documents":[{"text":"a"}]"#, Some(1), Some(1)),
        (r#""documents":["a","b"],"top_n":0"#, None, Some(2)),
        (r#""documents":["a","b"],"top_n":1.5"#, None, Some(2)),
        (r#""documents":["a","b"],"top_k":1"#, Some(1), Some(2)),
        (
            r#""documents":["a","b"],"top_k":null,"top_n":1"#,
            Some(1),
            Some(2),
        ),
        (r#""documents":["a","b"],"top_k":0"#, None, Some(2)),
        (
            r#""documents":["a","b"],"top_k":1,"top_n":1"#,
            None,
            Some(2),
        ),
        (r#""documents":[]"#, None, None),
        (r#""texts":["a"],"top_n":1"#, None, None),
    ] {
        let found = facts(API, &format!(r#"{{"model":"m",{members}}}"#));
        let found = (found.items, found.among, found.bypass);
        assert_eq!(found, (items, among, None), "{members}");
    }
}
