//! Nothing makes the conversions panic, and what converts comes back as the same.
//!
//! The first byte says which API and what to do; the rest is the answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_cache_server::api::{Api, forms};
use llm_cache_server::key::canonical::{Sorting, canonicalize};

#[path = "shared/events.rs"]
mod events;

use events::events;

const APIS: [Api; 4] = [
    Api::OpenAiChat,
    Api::OpenAiResponses,
    Api::AnthropicMessages,
    Api::OpenAiCompletions,
];

fuzz_target!(|input: &[u8]| {
    if let Some((how, body)) = input.split_first() {
        let how = usize::from(how.wrapping_sub(b'0'));
        let api = APIS[how % APIS.len()];
        match how / APIS.len() % 2 {
            0 => from_stream(api, body),
            _ => from_json(api, body),
        }
    }
});

fn from_stream(api: Api, stream: &[u8]) {
    if let Some(json) = forms::to_json(api, stream) {
        assert!(!json.contains(&b'\n'));
        for usage in [false, true] {
            if let Some(made) = forms::to_stream(api, &json, usage) {
                check_made(api, &json, &made, usage);
            }
        }
    }
    let Some(without) = forms::without_usage(api, stream) else {
        return;
    };
    // Only frames and members of usage are gone, all of them, so that there are none to take out.
    assert!(without.len() <= stream.len());
    assert_eq!(forms::without_usage(api, &without).as_ref(), Some(&without));
    let (before, after) = (events(stream), events(&without));
    assert!(after.events.len() <= before.events.len());
    for (_, data) in &after.events {
        let value = serde_json::from_slice::<serde_json::Value>(data);
        assert!(!value.is_ok_and(|value| value.get("usage").is_some()));
    }
}

fn from_json(api: Api, json: &[u8]) {
    for usage in [false, true] {
        if let Some(made) = forms::to_stream(api, json, usage) {
            check_made(api, json, &made, usage);
        }
    }
}

/// A stream that was made from JSON has whole frames and is the same JSON again.
fn check_made(api: Api, json: &[u8], made: &[u8], usage: bool) {
    assert!(!events(made).open);
    if usage || api != Api::OpenAiChat {
        let again = forms::to_json(api, made).expect("what was made can be read");
        assert!(same(&again, json), "{}", again.escape_ascii());
        let stream = forms::to_stream(api, &again, usage).expect("it could be made before");
        assert_eq!(forms::to_json(api, &stream), Some(again));
    }
    if usage && api == Api::OpenAiChat {
        let other = forms::to_stream(api, json, false).expect("less can be made as well");
        match forms::without_usage(api, made) {
            Some(without) => assert_eq!(without, other),
            // Without choices all chunks look like that of usage. No such answer is kept.
            None => assert!(!has_choices(json), "usage stands where it should"),
        }
    }
}

fn has_choices(json: &[u8]) -> bool {
    let answer = serde_json::from_slice::<serde_json::Value>(json).ok();
    let choices = answer
        .as_ref()
        .and_then(|answer| answer["choices"].as_array());
    choices.is_some_and(|choices| !choices.is_empty())
}

/// The same value, by the scanner and, as far as it can tell, by serde_json.
fn same(a: &[u8], b: &[u8]) -> bool {
    let canonical = |text| canonicalize(text, &[], Sorting::Everywhere).ok();
    let (Some(x), Some(y)) = (canonical(a), canonical(b)) else {
        return false;
    };
    let values = serde_json::from_slice::<serde_json::Value>(a).ok();
    let values = values.zip(serde_json::from_slice::<serde_json::Value>(b).ok());
    x.as_bytes() == y.as_bytes() && values.is_none_or(|(a, b)| a == b)
}
