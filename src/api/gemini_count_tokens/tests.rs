use super::super::gemini::tests as gemini;
use super::super::tests::*;
use super::super::{Api, Facts, Form};

const API: Api = Api::GeminiCountTokens;

#[test]
fn an_answer_is_a_count() {
    let asked = Facts::default();
    let whole = r#"{"totalTokens":31,"promptTokensDetails":[{"modality":"TEXT","tokenCount":31}]}"#;
    check_whole_json(API, &asked, whole);
    assert_eq!(verdict(API, &asked, Form::Json, whole).usage, None);
    for (body, keep) in [
        ("{}", Err("bad-shape")),
        (r#"{"totalTokens":null}"#, Err("bad-shape")),
        (r#"{"totalTokens":"31"}"#, Err("bad-shape")),
        (r#"{"totalTokens":1.5}"#, Err("bad-shape")),
        (r#"{"totalTokens":-1}"#, Err("bad-shape")),
        (r#"[{"totalTokens":31}]"#, Err("bad-shape")),
        (
            r#"{"totalTokens":31,"error":{"code":500}}"#,
            Err("error-object"),
        ),
    ] {
        check_json(API, &asked, body, keep, false);
    }
    for form in [Form::Stream, Form::Lines, Form::Text, Form::Binary] {
        assert!(API.judge(&asked, form, Default::default()).is_none());
    }
}

#[test]
fn state_is_not_counted_from_memory() {
    for (members, reason) in [
        (r#""contents":[{"parts":[{"text":"hi"}]}]"#, None),
        (
            r#""generateContentRequest":{"model":"models/m","contents":[],"tools":[{"googleSearch":{}}]}"#,
            None,
        ),
        (
            r#""contents":[{"parts":[{"fileData":{}}]}]"#,
            Some("file-id"),
        ),
        (
            r#""system_instruction":{"parts":[{"file_data":{}}]}"#,
            Some("file-id"),
        ),
        (
            r#""generateContentRequest":{"contents":[{"parts":[{"fileData":{}}]}]}"#,
            Some("file-id"),
        ),
        (
            r#""contents":[],"cachedContent":"cachedContents/c""#,
            Some("cached-content"),
        ),
        (
            r#""contents":[],"cached_content":"cachedContents/c""#,
            Some("cached-content"),
        ),
        (r#""contents":[],"cachedContent":null"#, None),
        (
            r#""generateContentRequest":{"cachedContent":"cachedContents/c"}"#,
            Some("cached-content"),
        ),
        (
            r#""generate_content_request":{"cached_content":"cachedContents/c"}"#,
            Some("cached-content"),
        ),
    ] {
        let found = gemini::bypass("v1beta/models/m:countTokens", members);
        assert_eq!(found, reason, "{members}");
    }
}
