use super::super::tests::*;
use super::super::{Api, Facts, Form};

const API: Api = Api::AnthropicCountTokens;

#[test]
fn a_count_is_kept_and_costs_nothing() {
    let asked = Facts::default();
    for body in [
        r#"{"input_tokens":2095}"#,
        r#"{"input_tokens":0,"context_management":{"original_input_tokens":7}}"#,
    ] {
        check_whole_json(API, &asked, body);
        assert_eq!(verdict(API, &asked, Form::Json, body).usage, None);
    }
    for (body, keep) in [
        (r#"{"input_tokens":null}"#, Err("bad-shape")),
        (r#"{"input_tokens":-1}"#, Err("bad-shape")),
        (r#"{"input_tokens":1.5}"#, Err("bad-shape")),
        (r#"{"input_tokens":"7"}"#, Err("bad-shape")),
        (r#"{"input_tokens":7,"error":{}}"#, Err("error-object")),
    ] {
        check_json(API, &asked, body, keep, false);
    }
}

#[test]
fn a_prompt_is_refused_as_it_is_for_messages() {
    for members in [
        r#""messages":[]"#,
        r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#,
        r#""tools":[{"name":"f","input_schema":{}}]"#,
        r#""mcp_servers":[{"url":"x"}]"#,
        r#""container":"c""#,
        r#""messages":[{"content":[{"source":{"file_id":"f"}}]}]"#,
    ] {
        let as_message = bypass(Api::AnthropicMessages, members);
        assert_eq!(bypass(API, members), as_message, "{members}");
    }
    assert_eq!(bypass(API, r#""container":"c""#), Some("container"));
}
