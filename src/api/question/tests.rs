use super::super::{Api, Place};

#[test]
fn two_names_that_a_server_takes_for_one_are_refused() {
    let reason = |path: &str, members: &str| {
        let (api, model) = Api::from_path(path).unwrap();
        let place = Place {
            path,
            model,
            ..Place::default()
        };
        let body = format!(r#"{{"model":"m",{members}}}"#);
        let question = api.question(&place, "application/json", body.as_bytes());
        question.digest.err()
    };
    let gemini = "v1beta/models/m:generateContent";
    for (path, members) in [
        (gemini, r#""systemInstruction":1,"system_instruction":2"#),
        (
            gemini,
            r#""system_instruction":1,"contents":[],"systemInstruction":2"#,
        ),
        (
            gemini,
            r#""generationConfig":{"candidateCount":2},"generation_config":{"candidateCount":2}"#,
        ),
        (
            gemini,
            r#""toolConfig":{"retrievalConfig":1,"retrieval_config":2}"#,
        ),
        (
            "v1beta/models/m:embedContent",
            r#""content":{"parts":[],"Parts":[]}"#,
        ),
        (
            "v1beta/models/m:countTokens",
            r#""contents":[],"Contents":[]"#,
        ),
        ("api/generate", r#""prompt":"a","Prompt":"b""#),
        ("api/generate", "\"prompt\":\"a\",\"x\u{212a}\":1,\"xk\":2"),
        ("api/chat", r#""messages":[1],"X":1,"x":2"#),
        (
            "api/embed",
            r#""input":"a","options":{"num_ctx":1,"Num_Ctx":2}"#,
        ),
    ] {
        assert_eq!(
            reason(path, members),
            Some("duplicate-key"),
            "{path} {members}"
        );
    }
    for (path, members) in [
        // Where order is kept, it tells the two apart.
        (gemini, r#""generationConfig":{"aB":1,"a_b":2}"#),
        (
            gemini,
            r#""contents":[{"parts":[{"functionCall":{"args":{"a":1,"A":2}}}]}]"#,
        ),
        // Elsewhere they are two names.
        ("chat/completions", r#""messages":[],"a":1,"A":2"#),
        ("messages", r#""messages":[],"a_b":1,"ab":2"#),
    ] {
        assert_eq!(reason(path, members), None, "{path} {members}");
    }
}
