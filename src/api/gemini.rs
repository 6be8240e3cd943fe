//! What the requests of all Gemini APIs share.
//!
//! The path names the model and says whether the answer comes in pieces; `alt=sse` in the query says
//! in which form. Google reads every field in camelCase and in snake_case, so both are looked at.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::request::Request;
use super::wire::Object;
use super::{Bypass, Facts, Form, Place};
use crate::key::canonical::Canonical;

#[cfg(test)]
pub(super) mod tests;

/// The paths of Gemini methods: Google AI and Vertex AI, the latter also without a project
/// (express mode). The version belongs to the API: what `v1` and `v1beta` take differs.
macro_rules! gemini_paths {
    ($($method:literal),+) => {
        &[$(
            concat!("models/{model}:", $method),
            concat!("v1/models/{model}:", $method),
            concat!("v1beta/models/{model}:", $method),
            concat!("v1alpha/models/{model}:", $method),
            concat!("tunedModels/{model}:", $method),
            concat!("v1/tunedModels/{model}:", $method),
            concat!("v1beta/tunedModels/{model}:", $method),
            concat!("v1alpha/tunedModels/{model}:", $method),
            concat!("publishers/google/models/{model}:", $method),
            concat!("v1/publishers/google/models/{model}:", $method),
            concat!("v1beta1/publishers/google/models/{model}:", $method),
            concat!("projects/*/locations/*/publishers/google/models/{model}:", $method),
            concat!("v1/projects/*/locations/*/publishers/google/models/{model}:", $method),
            concat!("v1beta1/projects/*/locations/*/publishers/google/models/{model}:", $method),
        )+]
    };
}
pub(super) use gemini_paths;

/// Labels of Vertex AI for billing; no part of the prompt.
pub(super) const IGNORED: &[&str] = &["labels"];

/// Fields without schemas, function calls or the results of functions inside.
pub(super) const SORTED: &[&str] = &[
    "safetySettings",
    "safety_settings",
    "systemInstruction",
    "system_instruction",
    "toolConfig",
    "tool_config",
];

/// How a file at the provider shows in canonical JSON, where no prompt can look like it.
const FILE_DATA: [&[u8]; 2] = [b"\"fileData\":", b"\"file_data\":"];
/// The same for a prompt that the provider keeps.
const CACHED_CONTENT: [&[u8]; 2] = [b"\"cachedContent\":", b"\"cached_content\":"];

/// Facts of `generateContent` and `streamGenerateContent`.
pub(super) fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    let mut request = Request::in_place(body, place);
    if asks_for_events(place.query) {
        request.set_form(Form::Stream);
    }
    request.set_choices(candidates(body));
    refuse_cached_content(&mut request, &[]);
    for key in ["continuationToken", "continuation_token"] {
        request.refuse_set(key, Bypass::PreviousResponse);
    }
    // Vertex AI puts the answer into a bucket; Google AI logs it for its user.
    for key in ["outputConfig", "output_config", "store"] {
        request.refuse_switched_on(key, Bypass::Store);
    }
    request.refuse_if(!has_only_functions(body), Bypass::ServerTools);
    refuse_files(&mut request, &["contents"]);
    refuse_files(&mut request, &["systemInstruction", "system_instruction"]);
    request.facts()
}

/// Refuses if one of these fields refers to a file at the provider.
pub(super) fn refuse_files(request: &mut Request<'_>, keys: &[&str]) {
    for key in keys {
        for mention in FILE_DATA {
            request.refuse_mention(key, mention, Bypass::FileId);
        }
    }
}

/// Refuses if the request, or another one in one of these fields, refers to a prompt at the provider.
pub(super) fn refuse_cached_content(request: &mut Request<'_>, keys: &[&str]) {
    for key in ["cachedContent", "cached_content"] {
        request.refuse_set(key, Bypass::CachedContent);
    }
    for key in keys {
        for mention in CACHED_CONTENT {
            request.refuse_mention(key, mention, Bypass::CachedContent);
        }
    }
}

/// `alt=sse`, also by its older name `$alt`. Nothing is decoded: spelled in another way it is taken
/// for absent, and an answer in another form than expected is not kept.
fn asks_for_events(query: &str) -> bool {
    query
        .split('&')
        .any(|pair| matches!(pair, "alt=sse" | "$alt=sse"))
}

/// How many candidates are asked for; `None` for an odd number, or two of them.
fn candidates(body: &Canonical) -> Option<u32> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "candidateCount")]
        camel: Option<u32>,
        #[serde(rename = "candidate_count")]
        snake: Option<u32>,
    }
    let mut counts = Vec::new();
    for key in ["generationConfig", "generation_config"] {
        let config = body.get(key).unwrap_or(b"null");
        let config = serde_json::from_slice::<Option<Object<Config>>>(config).ok()?;
        if let Some(Object(config)) = config {
            counts.extend([config.camel, config.snake].into_iter().flatten());
        }
    }
    match *counts {
        [] => Some(1),
        [count] => (count > 0).then_some(count),
        _ => None,
    }
}

/// True if all tools are functions that the client runs.
fn has_only_functions(body: &Canonical) -> bool {
    type Tool = HashMap<String, Option<IgnoredAny>>;
    let tools = body.get("tools").unwrap_or(b"null");
    let tools = serde_json::from_slice::<Option<Vec<Tool>>>(tools);
    let ours = |(kind, set): (&String, &Option<IgnoredAny>)| {
        set.is_none() || matches!(&**kind, "functionDeclarations" | "function_declarations")
    };
    tools.is_ok_and(|tools| tools.iter().flatten().all(|tool| tool.iter().all(ours)))
}
