use serde_json::{Value, json};

use super::*;
use crate::key::canonical::{Sorting, canonicalize};

fn items(body: &Value) -> Option<Items> {
    let body = body.to_string();
    of(&canonicalize(body.as_bytes(), &["user"], Sorting::Within(&[])).unwrap())
}

fn answer(texts: &[&str]) -> String {
    let item = |(index, text): (usize, &&str)| {
        format!(
            r#"{{"object":"embedding","index":{index},"embedding":[{}.0,1e-7]}}"#,
            text.len()
        )
    };
    let data: Vec<String> = texts.iter().enumerate().map(item).collect();
    let tokens: usize = texts.iter().map(|text| text.len()).sum();
    format!(
        r#"{{"object":"list","data":[{}],"model":"m","usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#,
        data.join(",")
    )
}

fn request(texts: &[&str]) -> Items {
    items(&json!({"model": "m", "input": texts})).unwrap()
}

fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn texts_have_one_key_wherever_they_stand() {
    let both = request(&["a", "b"]);
    let single = items(&json!({"model": "m", "input": "a", "user": "u"})).unwrap();
    assert_eq!(single.texts, both.texts[..1]);
    assert_eq!(request(&["b", "a"]).texts[1], both.texts[0]);
    for other in [
        json!({"model": "n", "input": "a"}),
        json!({"model": "m", "input": "a", "dimensions": 3}),
        json!({"model": "m", "input": "a", "encoding_format": "base64"}),
        json!({"model": "m", "input": "A"}),
        json!({"model": "m", "input": ["a "]}),
    ] {
        assert_ne!(items(&other).unwrap().texts[0], both.texts[0], "{other}");
    }
    let tokens = items(&json!({"model": "m", "input": [[1, 2], [3]]})).unwrap();
    let one = items(&json!({"model": "m", "input": [1, 2]})).unwrap();
    assert_eq!(one.texts, tokens.texts[..1]);
    for odd in [
        json!([]),
        json!(null),
        json!(["a", 1]),
        json!([{"text": "a"}]),
        json!(7),
        json!([-1]),
    ] {
        assert_eq!(items(&json!({"model": "m", "input": odd})), None, "{odd}");
    }
    assert_eq!(
        items(&json!({"model": "m", "input": vec!["a"; ITEMS_MAX + 1]})),
        None
    );
}

#[test]
fn a_smaller_request_leaves_everything_else_as_it_came() {
    let body = r#"{ "user":"u", "input" : ["a","b\u0021", "c"], "x": 1.0 , "model":"m"}"#;
    let smaller = request_for(body.as_bytes(), &[1, 2]).unwrap();
    assert_eq!(
        String::from_utf8(smaller).unwrap(),
        r#"{"user":"u","input":["b\u0021","c"],"x":1.0,"model":"m"}"#
    );
    assert_eq!(request_for(body.as_bytes(), &[3]), None);
    assert_eq!(
        request_for(br#"{"input":"a"}"#, &[0]).unwrap(),
        br#"{"input":["a"]}"#
    );
}

#[test]
fn an_answer_taken_apart_and_put_together_is_the_answer() {
    let texts = ["one", "two!", "three", "4"];
    let whole = answer(&texts);
    let pieces = take_apart(whole.as_bytes(), &request(&texts).texts).unwrap();
    let again = put_together(&pieces).unwrap();
    assert_eq!(value(&again), value(whole.as_bytes()));
    assert!(
        String::from_utf8(again).unwrap().contains("[3.0,1e-7]"),
        "digits stay"
    );
    for piece in &pieces {
        assert_eq!(
            Piece::read(&piece.to_bytes().unwrap()).as_ref(),
            Some(piece)
        );
    }
    // In another order, and with pieces of another batch.
    let more = answer(&["five5"]);
    let mut mixed = take_apart(more.as_bytes(), &request(&["five5"]).texts).unwrap();
    mixed.extend(pieces.iter().rev().cloned());
    let expected = answer(&["five5", "4", "three", "two!", "one"]);
    assert_eq!(
        value(&put_together(&mixed).unwrap()),
        value(expected.as_bytes())
    );
}

#[test]
fn the_items_of_an_answer_may_come_in_any_order() {
    let texts = ["a", "bb"];
    let mut whole = value(answer(&texts).as_bytes());
    whole["data"].as_array_mut().unwrap().reverse();
    let pieces = take_apart(whole.to_string().as_bytes(), &request(&texts).texts).unwrap();
    let again = value(&put_together(&pieces).unwrap());
    assert_eq!(again, value(answer(&texts).as_bytes()));
}

#[test]
fn tokens_are_shared_out_to_the_last_one() {
    let texts = request(&["a", "a", "a", "a much longer text than the others"]).texts;
    for count in [0, 1, 2, 3, 7, 1000, u64::MAX] {
        let usage = BTreeMap::from([("n".to_owned(), Some(count)), ("x".to_owned(), None)]);
        let shares = shares(&usage, &texts).unwrap();
        let sum: u128 = shares.iter().map(|s| u128::from(s["n"].unwrap())).sum();
        assert_eq!(sum, u128::from(count));
        assert!(shares.iter().all(|share| share["x"].is_none()));
    }
}

#[test]
fn what_is_not_plain_is_not_taken_apart() {
    let texts = ["a", "bb"];
    let apart = |change: &dyn Fn(&mut Value)| {
        let mut whole = value(answer(&texts).as_bytes());
        change(&mut whole);
        take_apart(whole.to_string().as_bytes(), &request(&texts).texts)
    };
    assert!(apart(&|_| {}).is_some());
    for (name, change) in [
        (
            "no usage",
            &(|v: &mut Value| v["usage"] = json!(null)) as &dyn Fn(&mut Value),
        ),
        ("nested usage", &|v| v["usage"]["details"] = json!({"a": 1})),
        ("usage in fractions", &|v| {
            v["usage"]["total_tokens"] = json!(1.5)
        }),
        ("one item less", &|v| {
            v["data"] = json!([v["data"][0].clone()])
        }),
        ("an index twice", &|v| v["data"][1]["index"] = json!(0)),
        ("an index out of range", &|v| {
            v["data"][1]["index"] = json!(2)
        }),
        ("no index", &|v| v["data"][1] = json!({"embedding": [1]})),
        ("a null", &|v| v["data"][1]["embedding"] = json!(null)),
        ("nothing", &|v| v["data"][1]["embedding"] = json!([])),
        ("an empty string", &|v| {
            v["data"][1]["embedding"] = json!("")
        }),
    ] {
        assert_eq!(apart(change), None, "{name}");
    }
}

#[test]
fn pieces_of_unlike_answers_do_not_go_together() {
    let piece = |frame: &str, usage: &[(&str, Option<u64>)]| Piece {
        frame: frame.to_owned(),
        usage: usage
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect(),
        item: r#"{"index":0,"embedding":[1]}"#.to_owned(),
    };
    let one = piece(r#"{"id":"1","model":"m"}"#, &[("a", Some(1))]);
    let fits = piece(r#"{"id":"2","model":"m"}"#, &[("a", Some(2))]);
    let both = value(&put_together(&[one.clone(), fits]).unwrap());
    assert_eq!((&both["id"], &both["usage"]["a"]), (&json!("2"), &json!(3)));
    for other in [
        piece(r#"{"id":"1","model":"n"}"#, &[("a", Some(1))]),
        piece(r#"{"id":"1","model":"m","x":1}"#, &[("a", Some(1))]),
        piece(r#"{"id":"1","model":"m"}"#, &[("b", Some(1))]),
        piece(r#"{"id":"1","model":"m"}"#, &[("a", None)]),
        piece(r#"{"id":"1","model":"m"}"#, &[("a", Some(u64::MAX))]),
    ] {
        assert_eq!(
            put_together(&[one.clone(), other.clone()]),
            None,
            "{other:?}"
        );
    }
    assert_eq!(put_together(&[]), None);
}

#[test]
fn texts_that_may_depend_on_each_other_are_one_question() {
    for (name, value) in [
        ("late_chunking", json!(true)),
        ("late_chunking", json!(false)),
        ("x", json!(1)),
        ("Input", json!("a")),
    ] {
        let body = json!({"model": "m", "input": ["a", "b"], name: value});
        assert_eq!(items(&body), None, "{body}");
    }
    for name in OF_EACH_TEXT {
        let mut body = json!({"model": "m", "input": ["a", "b"]});
        body[*name] = match *name {
            "input" => json!(["a", "b"]),
            _ => json!("v"),
        };
        assert_eq!(items(&body).unwrap().texts.len(), 2, "{body}");
    }
}

#[test]
fn an_answer_that_says_much_beside_its_embeddings_is_not_taken_apart() {
    let texts = ["a", "b"];
    let asked = request(&texts).texts;
    let taken = |whole: &Value| take_apart(whole.to_string().as_bytes(), &asked);
    let plain = value(answer(&texts).as_bytes());
    let mut note = plain.clone();
    note["note"] = json!("x".repeat(FRAME_BYTES_MAX / 2));
    assert!(taken(&note).is_some());
    note["note"] = json!("x".repeat(FRAME_BYTES_MAX));
    assert_eq!(taken(&note), None);
    let mut counts = plain;
    for n in counts["usage"].as_object().unwrap().len()..COUNTS_MAX {
        counts["usage"][format!("count_{n}")] = json!(1);
    }
    assert!(taken(&counts).is_some());
    counts["usage"]["one_more"] = json!(1);
    assert_eq!(taken(&counts), None);
}

#[test]
fn an_object_of_very_many_members_is_not_compared_to_itself() {
    let object = |len: usize| {
        let members: Vec<String> = (0..len).map(|n| format!(r#""{n}":0"#)).collect();
        format!("{{{}}}", members.join(","))
    };
    assert!(Members::read(&object(256)).is_some());
    assert!(Members::read(&object(257)).is_none());
}

#[test]
fn tokens_are_not_kept_and_texts_are_counted_while_they_are_read() {
    let many = vec!["1"; ITEMS_MAX + 1].join(",");
    let one = format!("[{many}]");
    assert_eq!(texts(one.as_bytes()).unwrap().len(), 1);
    let entries: Entries<'_> = serde_json::from_str(&one).unwrap();
    assert!(entries.texts.is_empty());
    for text in [r#""a""#, "[1]"] {
        let exactly = format!("[{}]", vec![text; ITEMS_MAX].join(","));
        assert_eq!(texts(exactly.as_bytes()).unwrap().len(), ITEMS_MAX);
        // What follows is not read any more.
        let more = format!("[{},{{", vec![text; ITEMS_MAX + 1].join(","));
        let stopped = serde_json::from_str::<Entries<'_>>(&more).err().unwrap();
        assert!(stopped.is_data(), "{stopped}");
    }
    for odd in [
        r#"["a",[1]]"#,
        r#"[1,"a"]"#,
        "[1,[1]]",
        "[-1]",
        "[1.5]",
        "[null]",
    ] {
        assert!(texts(odd.as_bytes()).is_none(), "{odd}");
    }
}
