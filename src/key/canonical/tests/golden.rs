//! Pinned digests. If one of these changes, every stored entry is lost: raise the key's schema
//! version and say so in the change log.

use super::*;

#[track_caller]
fn pin(body: &str, ignored: &[&str], text: &str, digest: &str) {
    let canonical = canonicalize(body.as_bytes(), ignored, Sorting::Everywhere).unwrap();
    assert_eq!(String::from_utf8_lossy(canonical.as_bytes()), text);
    assert_eq!(hex::encode(canonical.digest_without(&[])), digest);
}

#[test]
fn empty_object() {
    pin(
        "{}",
        &[],
        "{}",
        "6e46dd10defc9b56c29a6ec56b508c21f54c08192194e4df25bf36f0c9c3c279",
    );
}

#[test]
fn chat() {
    pin(
        r#"{"model":"gpt-4o","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"2+2?"}],"temperature":0.70,"stream":true,"user":"u-1"}"#,
        &["user"],
        r#"{"messages":[{"content":"Be brief.","role":"system"},{"content":"2+2?","role":"user"}],"model":"gpt-4o","stream":true,"temperature":0.70}"#,
        "e0a3e0eb28aa254918e1ae3dab857bb91024c6ef09da387e3deb6080133ed4e7",
    );
}

#[test]
fn escapes() {
    pin(
        r#"{"prompt":"caf\u00e9 \ud83d\ude00\n\t\"q\" a\/b \\ \u007f","\u0061":null}"#,
        &[],
        "{\"a\":null,\"prompt\":\"café 😀\\u000a\\u0009\\\"q\\\" a/b \\\\ \u{7f}\"}",
        "db66080e24c0dd706f7832a3342393adc2fb1d37666fef35a62ff831307420ee",
    );
}

#[test]
fn numbers() {
    pin(
        r#"{"n":[0,-0,1,1.0,1e0,1E+0,9007199254740993,0.1]}"#,
        &[],
        r#"{"n":[0,-0,1,1.0,1e0,1E+0,9007199254740993,0.1]}"#,
        "2205ee02bccccf95c4bedca97e08826735ea149c07079a9c47844077de7ed239",
    );
}

#[test]
fn nested() {
    pin(
        r#"{ "tools": [ { "type": "function", "function": { "parameters": { "type": "object", "properties": { "b": {}, "a": {} } }, "name": "f" } } ], "model": "m" }"#,
        &[],
        r#"{"model":"m","tools":[{"function":{"name":"f","parameters":{"properties":{"a":{},"b":{}},"type":"object"}},"type":"function"}]}"#,
        "8dd39127abab36fdead82a58ed87cfb088606079deef1ba2498a33bc2b3fd863",
    );
}
