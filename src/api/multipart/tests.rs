use std::collections::HashSet;

use super::*;

const TYPE: &str = "multipart/form-data; boundary=XX";

/// A body with this boundary, of header lines and content for each part.
fn body(boundary: &str, parts: &[(&str, &str)]) -> String {
    let part =
        |(head, content): &(&str, &str)| format!("--{boundary}\r\n{head}\r\n\r\n{content}\r\n");
    let parts: String = parts.iter().map(part).collect();
    format!("{parts}--{boundary}--\r\n")
}

fn field<'a>(name: &'static str, content: &'a str) -> (&'static str, &'a str) {
    (name, content)
}

const MODEL: &str = r#"Content-Disposition: form-data; name="model""#;
const FILE: &str =
    "Content-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg";

fn reject(content_type: &str, body: &str) -> Option<Reject> {
    Parts::read(content_type, body.as_bytes()).err()
}

#[test]
fn parts_are_read() {
    let text = body(
        "XX",
        &[field(FILE, "\r\n\0--X\r\n"), field(MODEL, "whisper-1")],
    );
    for text in [&text, text.trim_end()] {
        let parts = Parts::read(TYPE, text.as_bytes()).unwrap();
        assert_eq!(parts.text("model"), Some("whisper-1"));
        assert_eq!(parts.text("file"), None);
        assert!(parts.has("file") && !parts.has("prompt"));
        assert_eq!(parts.0[0].content, b"\r\n\0--X\r\n");
    }
}

#[test]
fn every_beginning_and_every_lost_byte_of_the_frame_is_refused() {
    let text = body("XX", &[field(MODEL, "m")]);
    for end in 0..text.len() - 2 {
        assert!(reject(TYPE, &text[..end]).is_some(), "{:?}", &text[..end]);
    }
    for bad in [
        format!("preamble\r\n{text}"),
        format!("\r\n{text}"),
        format!("{text}epilogue"),
        format!("{text}\r\n"),
        text.replace("\r\n", "\n"),
        text.replace("XX\r\n", "XX \r\n"),
        text.replace("m\r\n--XX--", "m\n--XX--"),
        text.replace("m\r\n--XX--", "m--XX--"),
        text.replace("\nm", "\nm --XX m"),
        text.replace("\nm", "\nm\r\n--XXY\r\nm"),
        text.replace("--XX--", "--XX-"),
        "--XX--\r\n".to_owned(),
        "--XX\r\n--XX--\r\n".to_owned(),
    ] {
        assert_eq!(reject(TYPE, &bad), Some(Reject::BadMultipart), "{bad:?}");
    }
}

#[test]
fn the_boundary_is_clear() {
    let text = body("XX", &[field(MODEL, "m")]);
    for good in [
        "multipart/form-data; boundary=XX",
        "Multipart/Form-Data;boundary=XX",
        "multipart/form-data ; Boundary=\"XX\"",
    ] {
        assert_eq!(reject(good, &text), None, "{good}");
    }
    for bad in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"XX",
        "multipart/form-data; boundary=XX\"",
        "multipart/form-data; boundary=XX; charset=utf-8",
        "multipart/form-data; charset=utf-8; boundary=XX",
        "multipart/form-data; boundary=YY; boundary=XX",
        "multipart/form-data; boundary=XX, multipart/form-data",
        "multipart/form-data; boundary=X\\X",
        "multipart/form-data; boundary=XX\u{e9}",
        "multipart/mixed; boundary=XX",
        "application/json",
        "",
    ] {
        assert_eq!(reject(bad, &text), Some(Reject::BadBoundary), "{bad}");
    }
    let long = "X".repeat(70);
    let of = |boundary: &str| format!("multipart/form-data; boundary={boundary}");
    assert_eq!(reject(&of(&long), &body(&long, &[field(MODEL, "m")])), None);
    let long = "X".repeat(71);
    let found = reject(&of(&long), &body(&long, &[field(MODEL, "m")]));
    assert_eq!(found, Some(Reject::BadBoundary));
}

#[test]
fn every_part_has_a_header_that_reads_in_one_way() {
    let disposition = |rest: &str| format!("Content-Disposition: form-data; {rest}");
    for good in [
        disposition("name=a"),
        disposition("name=\"a\"; filename=\"b \u{e9};.mp3\""),
        disposition("filename=\"b\"; name=\"a\"; filename*=utf-8''b%20c"),
        disposition("name=\"a\"\r\nContent-Type: text/plain; charset=utf-8"),
        disposition("name=\"a\"\r\nContent-Length: 1\r\nX-Odd:"),
        disposition("name=\"a\"").to_uppercase(),
    ] {
        let text = body("XX", &[(&good, "m")]);
        assert_eq!(reject(TYPE, &text), None, "{good}");
    }
    for bad in [
        "Content-Type: text/plain".to_owned(),
        "Content-Disposition: form-data".to_owned(),
        "Content-Disposition: attachment; name=\"a\"".to_owned(),
        disposition("name=\"\""),
        disposition("filename=\"a\""),
        disposition("name=\"a\"; name=\"a\""),
        disposition("name=\"a\"; size=1"),
        disposition("name=\"a\"x"),
        disposition("name=\"a\";"),
        disposition("name=\"a"),
        disposition("name=\"a\\\"b\""),
        disposition("name*=utf-8''a"),
        disposition("name=a/b"),
        disposition("name = \"a\""),
        disposition("name=\"a\"\r\n folded: yes"),
        disposition("name=\"a\"\r\nContent-Type : text/plain"),
        disposition("name=\"a\"\r\nno colon"),
        disposition("name=\"a\"\r\nX: a\nY: b"),
        disposition("name=\"a\"\r\nX: a\0"),
        disposition("name=\"a\"\r\nX: 1\r\nx: 1"),
        disposition("name=\"a\"\r\nContent-Length: 2"),
        disposition("name=\"a\"\r\nContent-Transfer-Encoding: base64"),
        disposition(&format!(
            "name=\"a\"\r\nX: {}",
            "x".repeat(HEADER_BYTES_MAX)
        )),
    ] {
        let text = body("XX", &[(&bad, "m")]);
        assert_eq!(reject(TYPE, &text), Some(Reject::BadPartHeader), "{bad}");
    }
    let headless = "--XX\r\n\r\nm\r\n--XX--\r\n";
    assert_eq!(reject(TYPE, headless), Some(Reject::BadPartHeader));
    let nested = disposition("name=\"a\"\r\nContent-Type: Multipart/mixed; boundary=Y");
    let nested = body("XX", &[(&nested, "m")]);
    assert_eq!(reject(TYPE, &nested), Some(Reject::NestedMultipart));
}

#[test]
fn a_name_comes_once_unless_it_is_a_list() {
    let list = "Content-Disposition: form-data; name=\"include[]\"";
    assert_eq!(
        reject(TYPE, &body("XX", &[field(list, "a"), field(list, "b")])),
        None
    );
    let twice = body(
        "XX",
        &[field(MODEL, "a"), field(list, "b"), field(MODEL, "a")],
    );
    assert_eq!(reject(TYPE, &twice), Some(Reject::DuplicatePart));
    let many = vec![field(list, "a"); PARTS_MAX];
    assert_eq!(reject(TYPE, &body("XX", &many)), None);
    let many = vec![field(list, "a"); PARTS_MAX + 1];
    assert_eq!(reject(TYPE, &body("XX", &many)), Some(Reject::TooManyParts));
}

#[test]
fn the_digest_is_of_the_parts_and_not_of_the_boundary() {
    let digest = |boundary: &str, parts: &[(&str, &str)]| {
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let body = body(boundary, parts);
        Parts::read(&content_type, body.as_bytes())
            .unwrap()
            .digest()
    };
    let parts = [field(MODEL, "m"), field(FILE, "abc")];
    let plain = digest("XX", &parts);
    assert_eq!(digest("another-boundary", &parts), plain);
    let shouted = MODEL.replace("Content-Disposition", "CONTENT-DISPOSITION");
    assert_eq!(digest("XX", &[(&shouted, "m"), parts[1]]), plain);
    let (renamed, retyped) = (FILE.replace("a.mp3", "b.mp3"), FILE.replace("mpeg", "wav"));
    let other_name = MODEL.replace("model", "prompt");
    let spaced = MODEL.replace(": form", ":  form");
    let others = [
        digest("XX", &[parts[1], parts[0]]),
        digest("XX", &[parts[0]]),
        digest("XX", &[parts[0], (FILE, "abd")]),
        digest("XX", &[parts[0], (FILE, "")]),
        digest("XX", &[parts[0], (&renamed, "abc")]),
        digest("XX", &[parts[0], (&retyped, "abc")]),
        digest("XX", &[(&other_name, "m"), parts[1]]),
        digest("XX", &[(&spaced, "m"), parts[1]]),
        plain,
    ];
    assert_eq!(HashSet::from(others).len(), others.len());
}

/// If this changes, all entries of multipart requests are lost: raise [`SCHEMA`].
#[test]
fn golden() {
    let text = body("XX", &[field(MODEL, "whisper-1"), field(FILE, "abc")]);
    let digest = Parts::read(TYPE, text.as_bytes()).unwrap().digest();
    assert_eq!(
        hex::encode(digest),
        "f8c95c1acd7a76f4007f65bc716a3cb7b203af3f0b83013bd3a062c41b56673b"
    );
}
