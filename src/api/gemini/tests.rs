use super::super::{Api, Facts, Form, Place, Variant};

const GENERATE: &str = "models/m:generateContent";

/// Facts of a request to this path and query.
pub(in super::super) fn facts(path: &str, query: &str, json: &str) -> Facts {
    let (api, model) = Api::from_path(path).unwrap();
    let place = Place { path, query, model };
    let question = api.question(&place, "application/json", json.as_bytes());
    assert_eq!(question.facts.bypass, question.digest.err(), "{json}");
    question.facts
}

/// The bypass reason of a body made of these members, to a path that ends so.
pub(in super::super) fn bypass(path: &str, members: &str) -> Option<&'static str> {
    facts(path, "", &format!("{{{members}}}")).bypass
}

#[test]
fn the_path_names_model_and_method() {
    for (path, found) in [
        (
            "models/gemini-2.5-pro:generateContent",
            Some((Api::GeminiGenerate, Some("gemini-2.5-pro"))),
        ),
        (
            "v1beta/models/m:streamGenerateContent",
            Some((Api::GeminiStream, Some("m"))),
        ),
        (
            "v1/models/m:embedContent",
            Some((Api::GeminiEmbed, Some("m"))),
        ),
        (
            "v1alpha/models/m:batchEmbedContents",
            Some((Api::GeminiEmbed, Some("m"))),
        ),
        (
            "v1beta/tunedModels/t-1:countTokens",
            Some((Api::GeminiCountTokens, Some("t-1"))),
        ),
        (
            "v1/projects/p/locations/eu/publishers/google/models/m:generateContent",
            Some((Api::GeminiGenerate, Some("m"))),
        ),
        (
            "v1beta1/projects/p/locations/eu/publishers/google/models/m:streamGenerateContent",
            Some((Api::GeminiStream, Some("m"))),
        ),
        (
            "v1/publishers/google/models/m:generateContent",
            Some((Api::GeminiGenerate, Some("m"))),
        ),
        (
            "v1/projects/p/locations/eu/publishers/anthropic/models/m:rawPredict",
            None,
        ),
        (
            "v1/projects/p/locations/eu/publishers/meta/models/m:generateContent",
            None,
        ),
        ("v2/models/m:generateContent", None),
        ("v1beta/models/m:generatecontent", None),
        ("v1beta/models/m%3AgenerateContent", None),
        ("v1beta/models/:generateContent", None),
        ("v1beta/models/m", None),
        ("v1beta/models/m:batchGenerateContent", None),
        ("v1beta/models/m:asyncBatchEmbedContent", None),
    ] {
        assert_eq!(Api::from_path(path), found, "{path}");
    }
}

#[test]
fn the_model_of_the_path_counts() {
    for json in ["{}", r#"{"model":"models/other"}"#, r#"{"model":7}"#] {
        let found = facts(GENERATE, "", json);
        assert_eq!((found.model.as_deref(), found.bypass), (Some("m"), None));
    }
    let question =
        Api::GeminiGenerate.question(&Place::default(), "application/json", br#"{"model":"m"}"#);
    assert_eq!(question.facts.bypass, Some("no-model"));
}

#[test]
fn the_query_says_whether_events_come() {
    for (query, form) in [
        ("", Form::Json),
        ("alt=sse", Form::Stream),
        ("key=k&alt=sse", Form::Stream),
        ("$alt=sse&x", Form::Stream),
        ("alt=json", Form::Json),
        ("alt=sse2", Form::Json),
        ("salt=sse", Form::Json),
        ("alt=%73se", Form::Json),
        ("Alt=sse", Form::Json),
    ] {
        let found = facts(
            "models/m:streamGenerateContent",
            query,
            r#"{"stream":true}"#,
        );
        assert_eq!(found.form, form, "{query}");
        // Path and query are in the key.
        assert_eq!(found.variant, Variant::InBody);
    }
}

#[test]
fn candidates_are_counted_in_both_spellings() {
    for (config, expected) in [
        (r#""contents":[]"#, Ok(1)),
        (r#""generationConfig":{}"#, Ok(1)),
        (r#""generationConfig":null"#, Ok(1)),
        (r#""generationConfig":{"candidateCount":null}"#, Ok(1)),
        (r#""generationConfig":{"candidateCount":3}"#, Ok(3)),
        (
            r#""generation_config":{"candidate_count":2,"seed":1}"#,
            Ok(2),
        ),
        (r#""generationConfig":{"candidate_count":2}"#, Ok(2)),
        (
            r#""generationConfig":{"candidateCount":2,"candidate_count":1}"#,
            Err("odd-n"),
        ),
        (r#""generationConfig":{"candidateCount":0}"#, Err("odd-n")),
        (r#""generationConfig":{"candidateCount":"2"}"#, Err("odd-n")),
        (r#""generationConfig":[2]"#, Err("odd-n")),
    ] {
        let found = facts(GENERATE, "", &format!("{{{config}}}"));
        let found = found.bypass.map_or(Ok(found.choices), Err);
        assert_eq!(found, expected, "{config}");
    }
}

#[test]
fn state_and_side_effects_are_not_cached() {
    for (members, reason) in [
        (
            r#""tools":[{"functionDeclarations":[{"name":"f","parameters":{"properties":{"googleSearch":{}}}}]}]"#,
            None,
        ),
        (r#""tools":[{"function_declarations":[]},{}]"#, None),
        (r#""tools":[]"#, None),
        (r#""tools":null"#, None),
        (r#""tools":[{"googleSearch":null}]"#, None),
        (r#""tools":[{"googleSearch":{}}]"#, Some("server-tools")),
        (r#""tools":[{"google_search":{}}]"#, Some("server-tools")),
        (
            r#""tools":[{"functionDeclarations":[]},{"codeExecution":{}}]"#,
            Some("server-tools"),
        ),
        (
            r#""tools":[{"functionDeclarations":[],"urlContext":{}}]"#,
            Some("server-tools"),
        ),
        (
            r#""tools":[{"google\u0053earchRetrieval":{}}]"#,
            Some("server-tools"),
        ),
        (r#""tools":[{"fileSearch":{}}]"#, Some("server-tools")),
        (r#""tools":[{"computerUse":{}}]"#, Some("server-tools")),
        (r#""tools":[{"googleMaps":{}}]"#, Some("server-tools")),
        (
            r#""tools":[{"from_the_future":false}]"#,
            Some("server-tools"),
        ),
        (r#""tools":{"googleSearch":{}}"#, Some("server-tools")),
        (r#""tools":["googleSearch"]"#, Some("server-tools")),
        (r#""tools":[null]"#, Some("server-tools")),
        (
            r#""cachedContent":"cachedContents/c""#,
            Some("cached-content"),
        ),
        (
            r#""cached_content":"cachedContents/c""#,
            Some("cached-content"),
        ),
        (r#""cachedContent":null"#, None),
        (r#""continuationToken":"AA==""#, Some("previous-response")),
        (r#""continuation_token":"AA==""#, Some("previous-response")),
        (
            r#""outputConfig":{"outputUriPrefix":"gs://b"}"#,
            Some("store"),
        ),
        (r#""output_config":{}"#, Some("store")),
        (r#""store":true"#, Some("store")),
        (r#""store":false"#, None),
        (
            r#""contents":[{"parts":[{"fileData":{"fileUri":"gs://b/o"}}]}]"#,
            Some("file-id"),
        ),
        (
            r#""contents":[{"parts":[{"file_data":{"file_uri":"gs://b/o"}}]}]"#,
            Some("file-id"),
        ),
        (
            r#""contents":[{"parts":[{"file\u0044ata":{}}]}]"#,
            Some("file-id"),
        ),
        (
            r#""systemInstruction":{"parts":[{"fileData":{}}]}"#,
            Some("file-id"),
        ),
        (
            r#""system_instruction":{"parts":[{"file_data":{}}]}"#,
            Some("file-id"),
        ),
        (r#""contents":[{"parts":[{"text":"\"fileData\":"}]}]"#, None),
        (
            r#""contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}]"#,
            None,
        ),
    ] {
        assert_eq!(bypass(GENERATE, members), reason, "{members}");
    }
}

#[test]
fn order_counts_where_schemas_and_calls_are_and_labels_never_do() {
    let digest = |members: &str| {
        let place = Place {
            model: Some("m"),
            ..Place::default()
        };
        let body = format!("{{{members}}}");
        Api::GeminiGenerate
            .question(&place, "application/json", body.as_bytes())
            .digest
    };
    for (one, other, same) in [
        (
            r#""safetySettings":[{"category":"C","threshold":"T"}],"contents":[]"#,
            r#""contents":[],"safetySettings":[{"threshold":"T","category":"C"}]"#,
            true,
        ),
        (
            r#""systemInstruction":{"parts":[],"role":"system"}"#,
            r#""systemInstruction":{"role":"system","parts":[]}"#,
            true,
        ),
        (r#""labels":{"team":"a"}"#, r#""labels":{"team":"b"}"#, true),
        (
            r#""contents":[{"parts":[{"functionCall":{"args":{"a":1,"b":2}}}]}]"#,
            r#""contents":[{"parts":[{"functionCall":{"args":{"b":2,"a":1}}}]}]"#,
            false,
        ),
        (
            r#""generationConfig":{"responseSchema":{"properties":{"a":1,"b":2}}}"#,
            r#""generationConfig":{"responseSchema":{"properties":{"b":2,"a":1}}}"#,
            false,
        ),
        (
            r#""tools":[{"functionDeclarations":[{"parameters":{"a":1,"b":2}}]}]"#,
            r#""tools":[{"functionDeclarations":[{"parameters":{"b":2,"a":1}}]}]"#,
            false,
        ),
        (
            r#""systemInstruction":{"parts":[]}"#,
            r#""system_instruction":{"parts":[]}"#,
            false,
        ),
    ] {
        assert_eq!(digest(one) == digest(other), same, "{one} {other}");
    }
}
