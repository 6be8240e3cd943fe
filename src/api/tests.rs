//! What the tests of all grammars share, and what holds for all APIs.

use super::*;

/// The content type of most requests.
pub(super) const JSON: &str = "application/json";

pub(super) type Keep = Result<(), &'static str>;

/// Facts of a request body.
pub(super) fn facts(api: Api, json: &str) -> Facts {
    let question = api.question(&Place::default(), JSON, json.as_bytes());
    match question.digest {
        Ok(_) => assert_eq!(question.facts.bypass, None),
        Err(reason) => assert_eq!(question.facts.bypass, Some(reason), "{json}"),
    }
    question.facts
}

/// The bypass reason of a request body made of a model and these members.
pub(super) fn bypass(api: Api, members: &str) -> Option<&'static str> {
    facts(api, &format!(r#"{{"model":"m",{members}}}"#)).bypass
}

/// A stream of unnamed frames.
pub(super) fn frames(data: &[&str]) -> String {
    data.iter()
        .map(|data| format!("data: {data}\n\n"))
        .collect()
}

/// A stream of named events, each with its `type` in the data as well.
pub(super) fn events(events: &[(&str, &str)]) -> String {
    let frame = |(name, rest): &(&str, &str)| {
        format!("event: {name}\ndata: {{\"type\":\"{name}\"{rest}}}\n\n")
    };
    events.iter().map(frame).collect()
}

fn judged(api: Api, asked: &Facts, form: Form, chunks: &[&[u8]]) -> Verdict {
    let mut judge = api.judge(asked, form, Worth::default()).unwrap();
    chunks.iter().for_each(|chunk| judge.push(chunk));
    judge.finish()
}

/// The verdict on a body; it must be the same wherever the body is cut into chunks.
pub(super) fn verdict(api: Api, asked: &Facts, form: Form, body: &str) -> Verdict {
    let body = body.as_bytes();
    let whole = judged(api, asked, form, &[body]);
    let single: Vec<&[u8]> = body.chunks(1).collect();
    assert_eq!(judged(api, asked, form, &single), whole, "byte by byte");
    for at in 0..body.len() {
        let (head, tail) = body.split_at(at);
        assert_eq!(
            judged(api, asked, form, &[head, tail]),
            whole,
            "cut at {at}"
        );
    }
    whole
}

/// Checks a stream in all three line-end styles, each also behind a byte order mark and comments.
pub(super) fn check_stream(api: Api, asked: &Facts, body: &str, keep: Keep, cut: bool) {
    for line_end in ["\n", "\r\n", "\r"] {
        let body = body.replace('\n', line_end);
        let expected = (keep, cut);
        let found = verdict(api, asked, Form::Stream, &body);
        assert_eq!((found.keep, found.cut), expected, "{body:?}");
        let body = format!("\u{feff}: OPENROUTER PROCESSING\n\n: again\n{body}");
        let found = verdict(api, asked, Form::Stream, &body);
        assert_eq!((found.keep, found.cut), expected, "{body:?}");
    }
}

/// The verdict on an answer in lines.
pub(super) fn check_lines(api: Api, body: &str, keep: Keep, cut: bool) {
    for line_end in ["\n", "\r\n"] {
        let body = body.replace('\n', line_end);
        let found = verdict(api, &Facts::default(), Form::Lines, &body);
        assert_eq!((found.keep, found.cut), (keep, cut), "{body:?}");
    }
}

/// Checks that a stream is kept, and that every beginning of it is called cut.
pub(super) fn check_whole_stream(api: Api, asked: &Facts, body: &str) {
    check_stream(api, asked, body, Ok(()), false);
    for line_end in ["\n", "\r\n", "\r"] {
        check_prefixes(api, asked, Form::Stream, &body.replace('\n', line_end));
    }
}

/// Checks a JSON answer.
pub(super) fn check_json(api: Api, asked: &Facts, body: &str, keep: Keep, cut: bool) {
    let found = verdict(api, asked, Form::Json, body);
    assert_eq!((found.keep, found.cut), (keep, cut), "{body}");
}

/// Checks that a JSON answer is kept, and that every beginning of it is called cut.
pub(super) fn check_whole_json(api: Api, asked: &Facts, body: &str) {
    check_json(api, asked, body, Ok(()), false);
    check_prefixes(api, asked, Form::Json, body);
}

fn check_prefixes(api: Api, asked: &Facts, form: Form, body: &str) {
    for end in 0..body.len() {
        let found = judged(api, asked, form, &[&body.as_bytes()[..end]]);
        assert_eq!(
            (found.keep, found.cut),
            (Err("cut"), true),
            "{:?}",
            &body[..end]
        );
    }
}

#[test]
fn paths_and_labels_lead_to_the_api_and_to_no_other() {
    let table = [
        (Api::OpenAiChat, "chat/completions", "chat"),
        (Api::OpenAiCompletions, "completions", "completions"),
        (Api::OpenAiEmbeddings, "embeddings", "embeddings"),
        (Api::OpenAiResponses, "responses", "responses"),
        (Api::AnthropicMessages, "messages", "messages"),
        (
            Api::GeminiGenerate,
            "models/m:generateContent",
            "generate_content",
        ),
        (
            Api::GeminiStream,
            "models/m:streamGenerateContent",
            "stream_generate_content",
        ),
        (Api::GeminiEmbed, "models/m:embedContent", "embed_content"),
        (
            Api::GeminiCountTokens,
            "models/m:countTokens",
            "gemini_count_tokens",
        ),
        (Api::OllamaChat, "api/chat", "ollama_chat"),
        (Api::OllamaGenerate, "api/generate", "ollama_generate"),
        (Api::OllamaEmbed, "api/embed", "ollama_embed"),
        (
            Api::AnthropicCountTokens,
            "messages/count_tokens",
            "count_tokens",
        ),
        (Api::OpenAiModerations, "moderations", "moderations"),
        (Api::OpenAiImages, "images/generations", "images"),
        (Api::OpenAiSpeech, "audio/speech", "speech"),
        (
            Api::OpenAiTranscriptions,
            "audio/transcriptions",
            "transcriptions",
        ),
        (Api::Rerank, "rerank", "rerank"),
    ];
    assert_eq!(table.map(|(api, ..)| api), Api::ALL);
    for (api, path, label) in table {
        let model = path.contains(":").then_some("m");
        assert_eq!(Api::from_path(path), Some((api, model)));
        assert_eq!(api.label(), label);
    }
    for path in [
        "",
        "/messages",
        "messages/",
        "messages/batches",
        "models",
        "chat",
        "Messages",
    ] {
        assert_eq!(Api::from_path(path), None, "{path}");
    }
}

#[test]
fn azure_has_paths_of_its_own() {
    for (api, path, deployed) in [
        (Api::OpenAiChat, "chat/completions", true),
        (Api::OpenAiCompletions, "completions", true),
        (Api::OpenAiEmbeddings, "embeddings", true),
        (Api::OpenAiImages, "images/generations", true),
        (Api::OpenAiSpeech, "audio/speech", true),
        (Api::OpenAiTranscriptions, "audio/transcriptions", true),
        (Api::OpenAiTranscriptions, "audio/translations", true),
        (Api::OpenAiResponses, "responses", false),
    ] {
        let found = |path: String| Api::from_path(&path).map(|(a, m)| (a, m.map(str::to_owned)));
        let named = deployed.then(|| (api, Some("d".to_owned())));
        assert_eq!(found(format!("openai/v1/{path}")), Some((api, None)));
        assert_eq!(found(format!("openai/deployments/d/{path}")), named);
        assert_eq!(found(format!("deployments/d/{path}")), named);
        let plain = (!deployed).then_some((api, None));
        assert_eq!(found(format!("openai/{path}")), plain);
    }
    assert_eq!(Api::from_path("openai/v1/moderations"), None);
    assert_eq!(Api::from_path("v2/rerank"), Some((Api::Rerank, None)));
}

#[test]
fn ignored_fields_and_key_headers_change_only_with_the_version() {
    let ids = ["user", "safety_identifier", "metadata", "prompt_cache_key"];
    let with_retention = [&ids[..], &["prompt_cache_retention"]].concat();
    assert_eq!(
        IGNORED_FIELDS_VERSION, 2,
        "on a change below, raise the version and mend this"
    );
    assert_eq!(Api::OpenAiChat.ignored_fields(), with_retention);
    assert_eq!(Api::OpenAiCompletions.ignored_fields(), ["user"]);
    assert_eq!(Api::OpenAiEmbeddings.ignored_fields(), ["user"]);
    assert_eq!(Api::OpenAiResponses.ignored_fields(), with_retention);
    assert_eq!(Api::AnthropicMessages.ignored_fields(), ["metadata"]);
    assert_eq!(Api::AnthropicCountTokens.ignored_fields(), ["metadata"]);
    assert_eq!(Api::OpenAiImages.ignored_fields(), ["user"]);
    assert_eq!(Api::Rerank.ignored_fields(), ["user"]);
    for api in [
        Api::OpenAiModerations,
        Api::OpenAiSpeech,
        Api::OpenAiTranscriptions,
    ] {
        assert!(api.ignored_fields().is_empty());
    }
    for api in [Api::GeminiGenerate, Api::GeminiStream] {
        assert_eq!(api.ignored_fields(), ["labels"]);
    }
    for api in [Api::GeminiEmbed, Api::GeminiCountTokens] {
        assert!(api.ignored_fields().is_empty());
    }
    for api in [Api::OllamaChat, Api::OllamaGenerate, Api::OllamaEmbed] {
        assert_eq!(api.ignored_fields(), ["keep_alive"]);
    }
    let headers = [
        "anthropic-beta",
        "anthropic-version",
        "openai-beta",
        "x-anthropic-beta",
        "x-goog-api-version",
        "x-goog-fieldmask",
        "x-goog-visibilities",
        "x-policy-id",
    ];
    assert_eq!(Api::OpenAiChat.key_headers(), headers);
}

#[test]
fn all_answers_but_sound_text_and_events_of_gemini_tell_their_end() {
    for api in Api::ALL {
        let gemini = matches!(api, Api::GeminiGenerate | Api::GeminiStream);
        assert_eq!(api.tells_its_end(Form::Stream), !gemini, "{api:?}");
        assert!(api.tells_its_end(Form::Json) && api.tells_its_end(Form::Lines));
        assert!(!api.tells_its_end(Form::Text) && !api.tells_its_end(Form::Binary));
    }
}

#[test]
fn only_plain_json_is_read() {
    for (content_type, read) in [
        ("application/json", true),
        ("Application/JSON; charset=utf-8", true),
        ("application/json;charset=\"UTF-8\"", true),
        ("application/json; charset=utf-16", false),
        ("application/json; charset=iso-8859-1", false),
        ("application/json; profile=x", false),
        ("application/vnd.x+json", false),
        ("text/plain", false),
        ("", false),
    ] {
        assert_eq!(Api::OpenAiChat.takes(content_type), read, "{content_type}");
        let careless = read || matches!(content_type, "" | "text/plain" | "application/vnd.x+json");
        assert_eq!(
            Api::OllamaChat.takes(content_type),
            careless,
            "{content_type}"
        );
    }
}

/// The APIs whose bodies name the model and stream events if they say so.
const BODY_SAYS_ALL: [Api; 10] = [
    Api::OpenAiChat,
    Api::OpenAiCompletions,
    Api::OpenAiEmbeddings,
    Api::OpenAiResponses,
    Api::AnthropicMessages,
    Api::AnthropicCountTokens,
    Api::OpenAiModerations,
    Api::OpenAiImages,
    Api::OpenAiSpeech,
    Api::Rerank,
];

#[test]
fn every_request_names_its_model_and_says_how_to_stream() {
    for api in BODY_SAYS_ALL {
        for (json, model, stream, bypass) in [
            (r#"{"model":"a-1"}"#, Some("a-1"), false, None),
            (r#"{"model":"\u00e9\n"}"#, Some("é\n"), false, None),
            (r#"{"model":"a","stream":true}"#, Some("a"), true, None),
            (r#"{"model":"a","stream":false}"#, Some("a"), false, None),
            (r#"{"model":"a","stream":null}"#, Some("a"), false, None),
            (
                r#"{"model":"a","stream":"true"}"#,
                Some("a"),
                false,
                Some("odd-stream"),
            ),
            (
                r#"{"model":"a","stream":1}"#,
                Some("a"),
                false,
                Some("odd-stream"),
            ),
            (
                r#"{"model":"a","stream":[true]}"#,
                Some("a"),
                false,
                Some("odd-stream"),
            ),
            (r#"{"stream":true}"#, None, true, Some("no-model")),
            (r#"{"model":""}"#, None, false, Some("no-model")),
            (r#"{"model":null}"#, None, false, Some("no-model")),
            (r#"{"model":["a"]}"#, None, false, Some("no-model")),
            (r#"{"model":7,"stream":7}"#, None, false, Some("no-model")),
            ("{}", None, false, Some("no-model")),
        ] {
            // In the others `stream` is a field like any other, and moderations have a model of
            // their own.
            let streams = !matches!(
                api,
                Api::AnthropicCountTokens
                    | Api::OpenAiModerations
                    | Api::OpenAiSpeech
                    | Api::Rerank
            );
            let absent = !json.contains("model") || json.contains("null");
            let optional = api == Api::OpenAiModerations && absent;
            if !streams && json.contains("stream") || optional {
                continue;
            }
            let found = facts(api, json);
            let streams = found.form == Form::Stream;
            let found = (found.model.as_deref(), streams, found.bypass);
            assert_eq!(found, (model, stream, bypass), "{api:?} {json}");
        }
    }
}

#[test]
fn forms_have_keys_of_their_own_and_odd_options_as_well() {
    for (options, tag) in [
        (r#""a":1"#, "json"),
        (r#""stream":false"#, "json"),
        (r#""stream":null,"stream_options":null"#, "json"),
        (r#""stream":true"#, "stream"),
        (r#""stream":true,"stream_options":null"#, "stream"),
        (
            r#""stream":true,"stream_options":{"include_usage":true}"#,
            "stream+usage",
        ),
        (
            r#""stream":true,"stream_options":{"include_usage":false}"#,
            r#"stream=true {"include_usage":false}"#,
        ),
        (
            r#""stream_options":{"include_usage":true}"#,
            r#"stream=false {"include_usage":true}"#,
        ),
    ] {
        let body = format!(r#"{{"model":"m",{options}}}"#);
        let plain = Api::OpenAiChat.question(&Place::default(), JSON, br#"{"model":"m"}"#);
        let question = Api::OpenAiChat.question(&Place::default(), JSON, body.as_bytes());
        assert_eq!(question.facts.variant.tag(), tag, "{body}");
        if tag != "json" || options.contains("stream") {
            assert_eq!(question.digest, plain.digest, "{body}");
        }
    }
}

/// True if the API answers with events.
fn streams_events(api: Api) -> bool {
    let judge = api.judge(&Facts::default(), Form::Stream, Worth::default());
    judge.is_some() && api != Api::OpenAiEmbeddings
}

#[test]
fn no_api_keeps_an_answer_that_is_nothing_of_its_own() {
    for api in Api::ALL {
        let asked = Facts {
            items: Some(1),
            ..Facts::default()
        };
        if api.judge(&asked, Form::Json, Worth::default()).is_none() {
            continue;
        }
        for body in ["", " \n", "{", "{\"a\":[1,"] {
            check_json(api, &asked, body, Err("cut"), true);
        }
        for body in [
            "<html>busy</html>",
            "upstream timed out",
            "{} {}",
            "{\"a\":1}}",
            "data: {}",
        ] {
            check_json(api, &asked, body, Err("not-json"), false);
        }
        for body in ["[]", "null", "7", "\"done\"", "[[],[]]"] {
            check_json(api, &asked, body, Err("bad-shape"), false);
        }
        for body in [
            r#"{"error":{"message":"overloaded","code":529}}"#,
            r#"{"error":"overloaded","choices":[{"index":0,"finish_reason":"stop"}]}"#,
            r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
        ] {
            check_json(api, &asked, body, Err("error-object"), false);
        }
        let found = verdict(api, &asked, Form::Json, r#"{"id":"x"}"#);
        assert!(
            found.keep.is_err() && !found.cut,
            "{api:?} keeps an empty object"
        );
        if streams_events(api) {
            check_stream(api, &asked, "", Err("cut"), true);
            check_stream(api, &asked, "\n\n\n", Err("cut"), true);
            check_stream(api, &asked, ": only a comment\n\n", Err("cut"), true);
            check_stream(api, &asked, "<html>\n\nbusy\n", Err("cut"), true);
            check_stream(api, &asked, "data: <html>\n\n", Err("bad-frame"), true);
            check_stream(api, &asked, "data: []\n\n", Err("bad-frame"), true);
            check_stream(api, &asked, "data: \"x\"\n\n", Err("bad-frame"), true);
            check_stream(api, &asked, "data:\n\n", Err("cut"), true);
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_not_kept() {
    for api in Api::ALL {
        let asked = Facts {
            items: Some(1),
            ..Facts::default()
        };
        if api.judge(&asked, Form::Json, Worth::default()).is_some() {
            let found = judged(api, &asked, Form::Json, &[b"{\"a\":\"\xff\"}"]);
            assert_eq!(found.keep, Err("not-json"), "{api:?}");
        }
        if streams_events(api) {
            let found = judged(
                api,
                &asked,
                Form::Stream,
                &[b"data: {\"type\":\"\xff\"}\n\n"],
            );
            assert_eq!(found.keep, Err("bad-frame"), "{api:?}");
        }
    }
}

#[test]
fn an_event_beyond_the_limit_is_neither_kept_nor_called_cut() {
    let mut judge = Api::OpenAiChat
        .judge(&Facts::default(), Form::Stream, Worth::default())
        .unwrap();
    let piece = vec![b'x'; 1 << 20];
    judge.push(b"data: ");
    (0..=sse::EVENT_BYTES_MAX >> 20).for_each(|_| judge.push(&piece));
    let too_large = Verdict {
        keep: Err("too-large"),
        cut: false,
        usage: None,
    };
    assert_eq!(judge.finish(), too_large);
}
