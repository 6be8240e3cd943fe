//! What has no canonical form, and why.

use super::*;

#[test]
fn only_an_object_is_a_body() {
    for body in [
        "[]", "[1,", "1", "-1", "\"a\"", "true", "false", "null", " [{}]",
    ] {
        check_reject(body.as_bytes(), Reject::NotAnObject);
    }
    for (body, at) in [
        ("", 0),
        (" ", 1),
        ("\u{feff}{}", 0),
        ("a", 0),
        ("}", 0),
        ("'a'", 0),
    ] {
        check_reject(body.as_bytes(), Reject::InvalidJson { at });
    }
}

#[test]
fn invalid_json_is_refused_where_it_begins_to_be() {
    let table: &[(&[u8], usize)] = &[
        (b"{", 1),
        (b"{\"", 2),
        (b"{\"a", 3),
        (b"{\"a\"", 4),
        (b"{\"a\":", 5),
        (b"{\"a\":1", 6),
        (b"{\"a\":1,", 7),
        (b"{,}", 1),
        (b"{\"a\":1,}", 7),
        (b"{\"a\":1,,\"b\":1}", 7),
        (b"{\"a\" 1}", 5),
        (b"{\"a\"::1}", 5),
        (b"{\"a\":}", 5),
        (b"{\"a\":1 \"b\":2}", 7),
        (b"{\"a\":1;\"b\":2}", 6),
        (b"{a:1}", 1),
        (b"{'a':1}", 1),
        (b"{1:1}", 1),
        (b"{\"a\":1]", 6),
        (b"{\"a\":[}", 6),
        (b"{\"a\":[1}", 7),
        (b"{\"a\":[1,]}", 8),
        (b"{\"a\":[,1]}", 6),
        (b"{\"a\":[1 2]}", 8),
        (b"{\"a\":[", 6),
        (b"{\"a\":01}", 6),
        (b"{\"a\":-01}", 7),
        (b"{\"a\":+1}", 5),
        (b"{\"a\":.5}", 5),
        (b"{\"a\":1.}", 7),
        (b"{\"a\":-}", 6),
        (b"{\"a\":1.e1}", 7),
        (b"{\"a\":1e}", 7),
        (b"{\"a\":1e+}", 8),
        (b"{\"a\":1e1.5}", 8),
        (b"{\"a\":0x1}", 6),
        (b"{\"a\":1_0}", 6),
        (b"{\"a\":--1}", 6),
        (b"{\"a\":1-}", 6),
        (b"{\"a\":NaN}", 5),
        (b"{\"a\":Infinity}", 5),
        (b"{\"a\":-Infinity}", 6),
        (b"{\"a\":1", 6),
        (b"{\"a\":tru}", 5),
        (b"{\"a\":True}", 5),
        (b"{\"a\":truee}", 9),
        (b"{\"a\":nul", 5),
        (b"{\"a\":undefined}", 5),
        (b"{\"a\":fals\xc3\xa9}", 5),
        (b"{\"a\":\"\n\"}", 6),
        (b"{\"a\":\"\t\"}", 6),
        (b"{\"a\":\"\x00\"}", 6),
        (b"{\"a\":\"01234567\x1f\"}", 14),
        (b"{\"\x01\":1}", 2),
        (b"{\"a\":\"\\x\"}", 6),
        (b"{\"a\":\"\\u12\"}", 6),
        (b"{\"a\":\"\\u12g4\"}", 6),
        (b"{\"a\":\"\\u+123\"}", 6),
        (b"{\"a\":\"\\U0041\"}", 6),
        (b"{\"a\":\"\\\"}", 9),
        (b"{\"a\":\"\\", 6),
        (b"{\"a\":\"\\u", 6),
        (b"{\"a\":\"\\ud83d\\u12", 6),
        (b"{\"a\":\"\\'\"}", 6),
        (b"{\"a\":1/**/}", 6),
        (b"{\"a\":1 //\n}", 7),
        (b"{\x0b\"a\":1}", 1),
        (b"{\x0c}", 1),
        (b"{\xc2\xa0}", 1),
        (b"{\xe2\x80\xa8}", 1),
        (b"{\x00}", 1),
    ];
    for (body, at) in table {
        check_reject(body, Reject::InvalidJson { at: *at });
    }
}

#[test]
fn what_readers_disagree_on_is_refused() {
    for body in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"b":2,"a":3}"#,
        r#"{"b":1,"a":2,"c":3,"b":4}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"\n":1,"\u000A":2}"#,
        r#"{"":1,"":2}"#,
        r#"{"😀":1,"\ud83d\ude00":2}"#,
        r#"{"a":[{"b":{"c":1,"d":2,"c":3}}]}"#,
    ] {
        check_reject(body.as_bytes(), Reject::DuplicateKey);
    }
    for string in [
        r"\ud800",
        r"\udc00",
        r"\uDFFF",
        r"\ud83dx",
        r"\ud83d\n",
        r"\ud83d\\ude00",
        r"\ude00\ud83d",
        r"\ud83d\ud83d",
        r"\ud83d\u0041",
        r"\ud83d\ud83d\ude00",
        r"\uDBFF",
        r"\ud83d\ue000",
        r"\ud83d\uffff",
        r"\ud83d\udbff",
        r"\udc00\udc00",
    ] {
        check_reject(
            format!(r#"{{"a":"{string}"}}"#).as_bytes(),
            Reject::LoneSurrogate,
        );
        check_reject(
            format!(r#"{{"{string}":1}}"#).as_bytes(),
            Reject::LoneSurrogate,
        );
    }
    let not_utf8: [&[u8]; 7] = [
        b"\xff",
        b"\x80",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"\xf8\x88\x80\x80\x80",
    ];
    for bytes in not_utf8 {
        check_reject(&[b"{\"a\":\"", bytes, b"\"}"].concat(), Reject::InvalidUtf8);
        check_reject(&[b"{}", bytes].concat(), Reject::InvalidUtf8);
    }
    for (body, at) in [
        ("{}{}", 2),
        ("{} x", 3),
        ("{},", 2),
        ("{}\0", 2),
        ("{\"a\":1}\n}", 8),
        ("{}\u{a0}", 2),
    ] {
        check_reject(body.as_bytes(), Reject::TrailingBytes { at });
    }
}

#[test]
fn ignored_members_are_read_as_strictly() {
    for (body, reason) in [
        (r#"{"x":1,"x":1}"#, "duplicate-key"),
        (r#"{"x":1,"a":2,"\u0078":3}"#, "duplicate-key"),
        (r#"{"x":{"a":1,"a":2}}"#, "duplicate-key"),
        (r#"{"x":01}"#, "invalid-json"),
        (r#"{"x":"\ud800"}"#, "lone-surrogate"),
        (r#"{"x":1,}"#, "invalid-json"),
        (r#"{,"x":1}"#, "invalid-json"),
        (r#"{"a":1,,"x":1}"#, "invalid-json"),
        (r#"{"x":1"#, "invalid-json"),
    ] {
        assert_eq!(
            canonical_without(body.as_bytes(), &["x"]),
            Err(reason),
            "{body}"
        );
    }
}

#[test]
fn names_that_a_loose_reader_takes_for_one_are_refused_where_members_are_sorted() {
    let read = |body: &str| {
        let loosely = canonicalize(body.as_bytes(), &["i_d"], Sorting::Loosely(&["s"]));
        let strictly = canonicalize(body.as_bytes(), &["i_d"], Sorting::Within(&["s"])).unwrap();
        loosely.map(|loosely| assert_eq!(loosely.text, strictly.text))
    };
    for body in [
        r#"{"a":1,"A":2}"#,
        r#"{"aB":1,"x":0,"a_b":2}"#,
        r#"{"_":1,"":2}"#,
        "{\"\u{17f}\":1,\"S\":2}",
        "{\"k\":1,\"\u{212a}\":2}",
        r#"{"s":{"a":1,"A":2}}"#,
        r#"{"s":[{"content":[{"a":1,"A":2}]}]}"#,
    ] {
        assert_eq!(read(body), Err(Reject::DuplicateKey), "{body}");
    }
    for body in [
        r#"{"a":1,"b":2}"#,
        "{\"\u{e9}\":1,\"\u{c9}\":2}",
        r#"{"x":{"a":1,"A":2}}"#,
        r#"{"s":{"content":{"a":1,"A":2}}}"#,
        r#"{"s":{"x":{"a":1,"A":2}}}"#,
        // What is left out cannot matter.
        r#"{"i_d":1,"id":2}"#,
    ] {
        assert_eq!(read(body), Ok(()), "{body}");
    }
}
