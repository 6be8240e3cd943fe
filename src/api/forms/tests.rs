use super::*;

mod corpus;
mod properties;
mod refused;
mod usage;

use corpus::pairs;

fn text(bytes: Option<Vec<u8>>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8(bytes).unwrap())
}

fn json_of(api: Api, stream: &str) -> Option<String> {
    text(to_json(api, stream.as_bytes()))
}

fn stream_of(api: Api, json: &str) -> Option<String> {
    let usage = api == Api::OpenAiChat;
    text(to_stream(api, json.as_bytes(), usage))
}

#[test]
fn a_stream_is_the_json_that_was_written_beside_it() {
    for pair in pairs() {
        let made = json_of(pair.api, pair.stream).unwrap_or_else(|| panic!("{}", pair.name));
        assert!(same(&made, pair.json), "{}: {made}", pair.name);
    }
}

#[test]
fn json_becomes_a_stream_and_json_again() {
    for pair in pairs() {
        let stream = stream_of(pair.api, pair.json).unwrap_or_else(|| panic!("{}", pair.name));
        let again = json_of(pair.api, &stream).unwrap();
        assert!(same(&again, pair.json), "{}: {again}", pair.name);
    }
}

#[test]
fn a_stream_becomes_json_and_a_stream_and_json_again() {
    for pair in pairs() {
        let json = json_of(pair.api, pair.stream).unwrap();
        let stream = stream_of(pair.api, &json).unwrap();
        let again = json_of(pair.api, &stream).unwrap();
        assert!(same(&json, &again), "{}", pair.name);
        assert_eq!(stream_of(pair.api, &again), Some(stream), "{}", pair.name);
    }
}

#[test]
fn what_is_made_fits_on_lines() {
    for pair in pairs() {
        let stream = stream_of(pair.api, pair.json).unwrap();
        for line in stream.lines().filter(|line| !line.is_empty()) {
            assert!(line.starts_with("data: ") || line.starts_with("event: "));
        }
        assert!(!stream.contains(['\r', '\u{2028}', '\u{2029}', '\u{85}']));
        assert!(!json_of(pair.api, pair.stream).unwrap().contains('\n'));
    }
}

#[test]
fn no_cut_of_a_stream_is_another_answer() {
    for pair in pairs() {
        let whole = json_of(pair.api, pair.stream);
        for end in 0..pair.stream.len() {
            let cut = to_json(pair.api, &pair.stream.as_bytes()[..end]);
            assert!(cut.is_none() || text(cut) == whole, "{} {end}", pair.name);
        }
    }
}

#[test]
fn what_begins_behind_the_end_must_end() {
    for pair in pairs() {
        for tail in ["data: {", "event: ping\n", ": half a comment"] {
            let stream = format!("{}{tail}", pair.stream);
            assert_eq!(json_of(pair.api, &stream), None, "{} {tail}", pair.name);
        }
    }
}

#[test]
fn no_cut_of_json_is_an_answer() {
    for pair in pairs() {
        let json = pair.json.trim_end().as_bytes();
        for end in 0..json.len() {
            assert!(to_stream(pair.api, &json[..end], false).is_none());
        }
    }
}

/// Every object of a text gets one more member, one object at a time.
fn marked(text: &str) -> Vec<String> {
    let (mut inside, mut escaped) = (false, false);
    let mut marked = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => inside = !inside,
            '{' if !inside => {
                let (head, tail) = text.split_at(at + 1);
                let comma = match tail.trim_start().starts_with('}') {
                    true => "",
                    false => ",",
                };
                marked.push(format!("{head}\"zz_key\":\"zz_value\"{comma}{tail}"));
            }
            _ => {}
        }
        escaped = inside && c == '\\' && !escaped;
    }
    marked
}

#[test]
fn a_member_that_nobody_knows_is_never_lost() {
    let (mut kept, mut refused) = (0, 0);
    for pair in pairs() {
        for stream in marked(pair.stream) {
            match json_of(pair.api, &stream) {
                None => refused += 1,
                Some(json) if json.contains("zz_value") => kept += 1,
                Some(json) => panic!("{}: lost from {stream}: {json}", pair.name),
            }
        }
    }
    // Both happen, so that neither answer is given to everything.
    assert!(kept > 100 && refused > 100, "{kept} {refused}");
    let (mut kept, mut refused) = (0, 0);
    for pair in pairs() {
        for json in marked(pair.json) {
            match stream_of(pair.api, &json) {
                None => refused += 1,
                Some(stream) => {
                    let again = json_of(pair.api, &stream).unwrap();
                    assert!(same(&again, &json), "{}: {again}", pair.name);
                    kept += 1;
                }
            }
        }
    }
    assert!(kept > 100, "{kept} {refused}");
}

/// Members that the folding itself reads or makes.
const KNOWN: &[&str] = &[
    "citations",
    "content",
    "delta",
    "finish_reason",
    "index",
    "input",
    "logprobs",
    "message",
    "output",
    "tool_calls",
    "type",
    "usage",
];

/// What an answer says without the mark: as if its member were not there, or said nothing.
fn unmarked(made: &str, name: &str) -> [String; 3] {
    let member = format!("\"{name}\":\"zz_value\"");
    let without = made.replace(&format!(",{member}"), "");
    let without = without.replace(&format!("{member},"), "");
    [
        without.replace(&member, ""),
        made.replace("\"zz_value\"", "null"),
        made.replace("zz_value", ""),
    ]
}

#[test]
fn a_known_member_in_another_place_takes_nothing_away() {
    let mut kept = 0;
    for pair in pairs() {
        let whole = json_of(pair.api, pair.stream).unwrap();
        for stream in marked(pair.stream) {
            for name in KNOWN {
                let stream = stream.replace("zz_key", name);
                let Some(made) = json_of(pair.api, &stream) else {
                    continue;
                };
                let fits = |left: &String| same(left, &whole);
                let marked = made.contains("zz_value");
                assert!(
                    marked && unmarked(&made, name).iter().any(fits),
                    "{}: {name} in {stream}: {made}",
                    pair.name
                );
                kept += 1;
            }
        }
    }
    assert!(kept > 100, "{kept}");
}

#[test]
fn what_every_piece_would_repeat_has_no_other_form() {
    let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":1}"#;
    let chat = |head: usize, choices: usize| {
        let choice = |index| {
            format!(
                r#"{{"index":{index},"message":{{"role":"assistant","content":"a"}},"finish_reason":"stop"}}"#
            )
        };
        let choices: Vec<String> = (0..choices).map(choice).collect();
        format!(
            r#"{{"id":"c","object":"chat.completion","created":1,"model":"m","search_results":"{}","choices":[{}],{usage}}}"#,
            "y".repeat(head),
            choices.join(",")
        )
    };
    assert!(stream_of(Api::OpenAiChat, &chat(30_000, 1)).is_some());
    assert!(stream_of(Api::OpenAiChat, &chat(10, 170)).is_some());
    assert!(stream_of(Api::OpenAiChat, &chat(30_000, 170)).is_none());
    let responses = |id: usize, parts: usize| {
        let part = r#"{"type":"output_text","text":"a","annotations":[]}"#;
        format!(
            r#"{{"id":"r","object":"response","status":"completed","output":[{{"id":"{}","type":"message","content":[{}]}}]}}"#,
            "y".repeat(id),
            vec![part; parts].join(",")
        )
    };
    assert!(stream_of(Api::OpenAiResponses, &responses(30_000, 1)).is_some());
    assert!(stream_of(Api::OpenAiResponses, &responses(10, 170)).is_some());
    assert!(stream_of(Api::OpenAiResponses, &responses(30_000, 170)).is_none());
}

#[test]
fn other_apis_have_one_form() {
    for api in Api::ALL {
        let (stream, json) = (corpus::CHAT[0].stream, corpus::CHAT[0].json);
        if all(api).is_empty() {
            assert!(json_of(api, stream).is_none());
            assert!(to_stream(api, json.as_bytes(), false).is_none());
        }
    }
}

#[test]
fn answers_beyond_the_limit_are_left_alone() {
    let pair = &corpus::CHAT[0];
    let padded = format!("{}{}", pair.json, " ".repeat(BYTES_MAX));
    assert!(to_stream(pair.api, padded.as_bytes(), false).is_none());
    // Much that all chunks must say, and many chunks.
    let head = format!("{{\"x\":\"{}\",", "y".repeat(BYTES_MAX / 2));
    let large = pair.json.replacen('{', &head, 1);
    assert!(to_stream(pair.api, large.as_bytes(), false).is_none());
    let padded = format!("{}{}", ":\n".repeat(BYTES_MAX / 2), pair.stream);
    assert!(to_json(pair.api, padded.as_bytes()).is_none());
    assert!(without_usage(pair.api, padded.as_bytes()).is_none());
}
