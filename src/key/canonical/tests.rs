//! Tables: what is one request, what is not, and what is refused.

use super::*;

mod golden;
mod limits;
mod properties;
mod reference;
mod refused;
mod values;

/// The canonical text, or the reason there is none.
fn canonical(body: &[u8]) -> Result<String, &'static str> {
    canonical_without(body, &[])
}

fn canonical_without(body: &[u8], ignored: &[&str]) -> Result<String, &'static str> {
    match canonicalize(body, ignored, Sorting::Everywhere) {
        Ok(canonical) => Ok(String::from_utf8(canonical.as_bytes().to_vec()).unwrap()),
        Err(reject) => Err(reject.reason()),
    }
}

#[track_caller]
fn check(body: &str, expected: &str) {
    assert_eq!(
        canonical(body.as_bytes()).as_deref(),
        Ok(expected),
        "{body}"
    );
}

#[track_caller]
fn check_reject(body: &[u8], expected: Reject) {
    let reject = canonicalize(body, &[], Sorting::Everywhere).map(|canonical| canonical.text);
    assert_eq!(reject, Err(expected), "{}", String::from_utf8_lossy(body));
}

#[test]
fn keys_are_sorted_and_white_space_is_gone() {
    check("{}", "{}");
    check(" \t\r\n{ \t\r\n} \t\r\n", "{}");
    check(r#"{"a":1}"#, r#"{"a":1}"#);
    check(r#"{"b":1,"a":2}"#, r#"{"a":2,"b":1}"#);
    check(
        r#"{"b":1,"a":2,"ab":3,"":4,"B":5}"#,
        r#"{"":4,"B":5,"a":2,"ab":3,"b":1}"#,
    );
    check(
        "{ \"b\" : [ 1 , 2 ] ,\n\"a\" : { } }",
        r#"{"a":{},"b":[1,2]}"#,
    );
    check(
        r#"{"z":{"y":{"b":[],"a":[{"d":1,"c":2}]},"x":null},"a":true}"#,
        r#"{"a":true,"z":{"x":null,"y":{"a":[{"c":2,"d":1}],"b":[]}}}"#,
    );
    check(
        r#"{"long":"0123456789","b":1,"c":2}"#,
        r#"{"b":1,"c":2,"long":"0123456789"}"#,
    );
    check(
        r#"{"c":2,"a":"0123456789","b":1}"#,
        r#"{"a":"0123456789","b":1,"c":2}"#,
    );
    check(
        r#"{"c":1,"a":2,"b":"0123456789"}"#,
        r#"{"a":2,"b":"0123456789","c":1}"#,
    );
}

#[test]
fn the_order_of_arrays_and_white_space_inside_of_strings_stay() {
    check(
        r#"{"a":[3,1,2,[],{}," a  b "]}"#,
        r#"{"a":[3,1,2,[],{}," a  b "]}"#,
    );
}

#[test]
fn a_string_has_one_spelling() {
    let table = [
        (r#""""#, r#""""#),
        (r#""\u0041\u00e9\u20AC\u20ac""#, r#""Aé€€""#),
        (r#""\ud83d\ude00\uD83D\uDE00😀""#, r#""😀😀😀""#),
        (r#""\udbff\udfff\ud800\udc00""#, "\"\u{10ffff}\u{10000}\""),
        (r#""\/\u002f/""#, r#""///""#),
        (r#""\"\u0022\\\u005c\u005C""#, r#""\"\"\\\\\\""#),
        (r#""\\u0041\\n""#, r#""\\u0041\\n""#),
        (r#""\b\f\n\r\t""#, r#""\u0008\u000c\u000a\u000d\u0009""#),
        (
            r#""\u0008\u000C\u000A\u000D\u0009""#,
            r#""\u0008\u000c\u000a\u000d\u0009""#,
        ),
        (r#""\u0000\u001F\u001f\u0020""#, r#""\u0000\u001f\u001f ""#),
        (
            r#""\u007f\u0080\u2028\uFEFF\uffff\ufdd0""#,
            "\"\u{7f}\u{80}\u{2028}\u{feff}\u{ffff}\u{fdd0}\"",
        ),
        (
            "\"\u{7f}\u{80}\u{2028}\u{feff}\"",
            "\"\u{7f}\u{80}\u{2028}\u{feff}\"",
        ),
        // Not normalised: composed, decomposed, compatibility forms.
        (
            "\"\u{e9} e\u{301} \u{fb01} \u{212b}\"",
            "\"\u{e9} e\u{301} \u{fb01} \u{212b}\"",
        ),
    ];
    for (sent, expected) in table {
        check(
            &format!(r#"{{"a":{sent}}}"#),
            &format!(r#"{{"a":{expected}}}"#),
        );
        check(&format!(r#"{{{sent}:1}}"#), &format!(r#"{{{expected}:1}}"#));
        check(
            &format!(r#"{{"a":[{sent},{sent}]}}"#),
            &format!(r#"{{"a":[{expected},{expected}]}}"#),
        );
    }
}

/// Escapes and quotes at every distance from the words that strings are read in.
#[test]
fn an_escape_is_found_at_every_offset() {
    for before in 0..40 {
        for after in 0..20 {
            let (before, after) = ("x".repeat(before), "y".repeat(after));
            let sent = format!(r#"{{"a":"{before}\u0022{after}","b":"{before}\n{after}"}}"#);
            let expected = format!(r#"{{"a":"{before}\"{after}","b":"{before}\u000a{after}"}}"#);
            check(&sent, &expected);
        }
    }
}

#[test]
fn keys_are_sorted_by_their_canonical_text() {
    check(r#"{"b":1,"\u0061":2}"#, r#"{"a":2,"b":1}"#);
    // The backslash of an escape counts: it is above all capitals and below all small letters.
    check(
        r#"{"a":1,"\n":2,"Z":3,"\"":4,"!":5}"#,
        r#"{"!":5,"Z":3,"\"":4,"\u000a":2,"a":1}"#,
    );
    check(
        "{\"\u{ffff}\":1,\"\u{10000}\":2}",
        "{\"\u{ffff}\":1,\"\u{10000}\":2}",
    );
    check(
        "{\"\u{10000}\":2,\"\u{ffff}\":1}",
        "{\"\u{ffff}\":1,\"\u{10000}\":2}",
    );
}

#[test]
fn the_lexeme_of_a_number_stays() {
    let numbers = [
        "0",
        "-0",
        "1",
        "1.0",
        "1.00",
        "10",
        "1e0",
        "1E0",
        "1e+0",
        "1e-0",
        "0.1",
        "0.10",
        "-0.0e-00",
        "9007199254740992",
        "9007199254740993",
        "100",
        "1e2",
        "1e400",
        "-1e-400",
        "123456789012345678901234567890.5",
        "0e0",
    ];
    let mut digests = std::collections::HashSet::new();
    for number in numbers {
        check(
            &format!("{{ \"a\" : {number} }}"),
            &format!(r#"{{"a":{number}}}"#),
        );
        check(
            &format!("{{\"a\":[{number},{number}]}}"),
            &format!(r#"{{"a":[{number},{number}]}}"#),
        );
        let digest = canonicalize(
            format!(r#"{{"a":{number}}}"#).as_bytes(),
            &[],
            Sorting::Everywhere,
        )
        .unwrap()
        .digest_without(&[]);
        assert!(
            digests.insert(digest),
            "{number} has the digest of another number"
        );
    }
}

#[test]
fn same_requests() {
    let pairs = [
        (
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
            "{\"messages\": [{\"content\": \"hi\", \"role\": \"user\"}],\n  \"model\": \"m\"}",
        ),
        (r#"{"a":"é"}"#, r#"{"a":"\u00e9"}"#),
        (r#"{"a":"\n"}"#, r#"{"a":"\u000A"}"#),
        (r#"{"\u0061":1}"#, r#"{"a":1}"#),
        (r#"{"a":"a/b"}"#, r#"{"a":"a\/b"}"#),
    ];
    for (a, b) in pairs {
        assert_eq!(
            canonical(a.as_bytes()).unwrap(),
            canonical(b.as_bytes()).unwrap()
        );
    }
}

#[test]
fn different_requests() {
    let pairs = [
        (r#"{"a":1}"#, r#"{"a":"1"}"#),
        (r#"{"a":1}"#, r#"{"a":1.0}"#),
        (r#"{"a":0}"#, r#"{"a":-0}"#),
        (r#"{"a":true}"#, r#"{"a":"true"}"#),
        (r#"{"a":null}"#, r#"{}"#),
        (r#"{"a":null}"#, r#"{"a":"null"}"#),
        (r#"{"a":[]}"#, r#"{"a":{}}"#),
        (r#"{"a":[]}"#, r#"{"a":[[]]}"#),
        (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
        (r#"{"a":[12]}"#, r#"{"a":[1,2]}"#),
        (r#"{"a":[[1],2]}"#, r#"{"a":[[1,2]]}"#),
        (r#"{"a":{"b":1},"c":2}"#, r#"{"a":{"b":1,"c":2}}"#),
        (r#"{"a":1,"b":2}"#, r#"{"a":2,"b":1}"#),
        (r#"{"a":"b"}"#, r#"{"b":"a"}"#),
        (r#"{"a":"b"}"#, r#"{"A":"b"}"#),
        (r#"{"a":"x"}"#, r#"{"a":"x "}"#),
        (r#"{"a":""}"#, r#"{"a":"\u0000"}"#),
        (r#"{"a":"\\n"}"#, r#"{"a":"\n"}"#),
        (r#"{"a":"\\u0041"}"#, r#"{"a":"\u0041"}"#),
        (r#"{"a":"\\"}"#, r#"{"a":"\\\\"}"#),
        (r#"{"a":"1","b":"2"}"#, r#"{"a":"1\",\"b\":\"2"}"#),
        // Composed and decomposed.
        (r#"{"a":"\u00e9"}"#, r#"{"a":"e\u0301"}"#),
        (r#"{"a":"\ud83d\ude00"}"#, r#"{"a":"\\ud83d\\ude00"}"#),
    ];
    for (a, b) in pairs {
        assert_ne!(
            canonical(a.as_bytes()).unwrap(),
            canonical(b.as_bytes()).unwrap()
        );
    }
}

#[test]
fn ignored_members_are_left_out_at_the_top_only() {
    let table = [
        (r#"{"a":1}"#, r#"{"a":1}"#),
        (r#"{"x":1}"#, r#"{}"#),
        (r#"{"x":1,"y":2}"#, r#"{}"#),
        (r#"{"x":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"a":2,"x":1}"#, r#"{"a":2}"#),
        (r#"{"a":1,"x":2,"b":3}"#, r#"{"a":1,"b":3}"#),
        (r#"{"b":1,"x":2,"a":3,"y":4}"#, r#"{"a":3,"b":1}"#),
        (
            r#" { "x" : [ 1 ] , "b" : 1 , "y" : { "q" : "\n" } , "a" : 3 } "#,
            r#"{"a":3,"b":1}"#,
        ),
        (r#"{"b":1,"a":3,"x":{"x":2},"y":"y"}"#, r#"{"a":3,"b":1}"#),
        (r#"{"\u0078":1,"a":2}"#, r#"{"a":2}"#),
        (
            r#"{"a":{"x":1},"b":[{"x":2}]}"#,
            r#"{"a":{"x":1},"b":[{"x":2}]}"#,
        ),
        (r#"{"X":1,"xx":2,"":3}"#, r#"{"":3,"X":1,"xx":2}"#),
        (r#"{"\"\n":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"\\\"\\n":1,"a":2}"#, r#"{"\\\"\\n":1,"a":2}"#),
    ];
    for (body, expected) in table {
        let found = canonical_without(body.as_bytes(), &["x", "y", "\"\n"]);
        assert_eq!(found.as_deref(), Ok(expected), "{body}");
    }
}

#[test]
fn top_level_members_are_found_by_their_key() {
    let body =
        r#"{ "z" : [1, {"b":2,"a":1}], "x":1, "model":"\u0067pt", "\n\"":true, "é": "", "n":-0 }"#;
    let canonical = canonicalize(body.as_bytes(), &["x"], Sorting::Everywhere).unwrap();
    for (key, expected) in [
        ("z", Some(r#"[1,{"a":1,"b":2}]"#)),
        ("model", Some(r#""gpt""#)),
        ("\n\"", Some("true")),
        ("é", Some(r#""""#)),
        ("n", Some("-0")),
        ("x", None),
        ("a", None),
        ("", None),
        (r#"\u000a\""#, None),
        ("\"model\"", None),
    ] {
        assert_eq!(canonical.get(key), expected.map(str::as_bytes), "{key:?}");
    }
    assert_eq!(
        canonicalize(b"{}", &[], Sorting::Everywhere)
            .unwrap()
            .get(""),
        None
    );
}

#[test]
fn members_keep_their_order_where_it_means_something() {
    let text = |body: &str| {
        let canonical = canonicalize(body.as_bytes(), &[], Sorting::Within(&["z"]));
        canonical.map(|c| String::from_utf8(c.as_bytes().to_vec()).unwrap())
    };
    let body = r#"{"z":{"b":1,"a":2},"schema": {"b":{"y":1,"x":2},"a":[{"d":1,"c":2}]},"a":1}"#;
    let kept = r#"{"a":1,"schema":{"b":{"y":1,"x":2},"a":[{"d":1,"c":2}]},"z":{"a":2,"b":1}}"#;
    assert_eq!(text(body).as_deref(), Ok(kept));
    assert_eq!(text(kept).as_deref(), Ok(kept));
    // An escaped spelling of the key is the same key; a deeper one is another.
    let escaped = body.replace("\"schema\"", "\"\\u0073chema\"");
    assert_eq!(text(&escaped).as_deref(), Ok(kept));
    // Below the parts of messages and tool calls sorting goes on, below anything else it does not.
    assert_eq!(
        text(r#"{"z":[{"role":1,"content":[{"type":2,"text":3}],"b":{"y":1,"x":2}}]}"#).as_deref(),
        Ok(r#"{"z":[{"b":{"y":1,"x":2},"content":[{"text":3,"type":2}],"role":1}]}"#)
    );
    let call = r#"{"z":{"tool_calls":[{"function":{"name":1,"arguments":{"y":1,"x":2}}}]}}"#;
    assert_eq!(
        text(call).as_deref(),
        Ok(r#"{"z":{"tool_calls":[{"function":{"arguments":{"y":1,"x":2},"name":1}}]}}"#)
    );
    for twice in [
        r#"{"schema":{"b":1,"a":2,"b":3}}"#,
        r#"{"schema":[{"x":{"k":1,"k":1}}]}"#,
    ] {
        assert_eq!(text(twice), Err(Reject::DuplicateKey));
    }
}
