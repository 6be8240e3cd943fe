//! One entry answers both forms of a question, stream and JSON, wherever no field is lost.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::*;

/// The path, the body of a question and how it is told to stream.
pub fn question(api: &str, name: &str, stream: bool, usage: bool) -> Ask {
    let path = match api {
        "chat" => "/v1/chat/completions",
        api => &format!("/v1/{api}"),
    };
    let mut body = json!({"model": "m", "name": name});
    match api {
        "responses" => body["input"] = json!("a"),
        _ => body["messages"] = json!([{"role": "user", "content": "a"}]),
    }
    if stream {
        body["stream"] = json!(true);
    }
    if usage {
        body["stream_options"] = json!({"include_usage": true});
    }
    Ask::post(path, body.to_string())
}

/// A provider that has one answer to every question of this name, as a stream or as JSON, and fails
/// where it has none.
pub async fn provider(folder: &'static str) -> Origin {
    let answer = move |call: &Call| {
        let asked = call.json();
        let api = match call.target.as_str() {
            "/v1/chat/completions" => "chat",
            other => other.trim_start_matches("/v1/"),
        };
        let name = asked["name"].as_str().expect("a name");
        let (kind, content_type) = match call.streams() {
            true => ("sse", "text/event-stream"),
            false => ("json", "application/json"),
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let path = path.join(api).join(format!("{name}.{kind}"));
        match std::fs::read(&path) {
            Ok(bytes) => Reply::new(200, content_type, bytes),
            Err(_) => Reply::error(404, "no such answer"),
        }
    };
    origin().answer(answer).start().await
}

/// Names of the answers of an API.
pub fn names(folder: &str, api: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(api);
    let files = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = files
        .map(|file| {
            file.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The answers that are not kept by default: they end by length, a filter or a refusal.
pub fn keep_all() -> Value {
    json!(["length", "filtered", "refused", "empty", "bad-tool-call"])
}

#[tokio::test]
async fn a_recorded_answer_answers_the_other_form() {
    let origin = provider("tests/forms").await;
    let proxy = proxy()
        .upstream(&origin)
        .set("cache.keep", keep_all())
        .start()
        .await;
    let mut asked = 0;
    for api in ["chat", "responses", "messages"] {
        for name in names("tests/forms", api) {
            for streams_first in [true, false] {
                // Another tenant each time, so that there is no entry yet.
                let tenant = format!("{name} {streams_first}");
                let usage = api == "chat";
                let stream = question(api, &name, true, usage).bearer(&tenant);
                let json = question(api, &name, false, false).bearer(&tenant);
                let (first, other) = match streams_first {
                    true => (stream, json),
                    false => (json, stream),
                };
                let recorded = proxy.ask(&first).await;
                if recorded.head.status == 404 {
                    asked += 1;
                    continue;
                }
                recorded.is(200, "miss");
                asked += 1;
                let made = proxy.ask(&other).await;
                made.is(200, "hit");
                let content_type = made.field("content-type").expect("a type");
                assert_eq!(
                    content_type.starts_with("text/event-stream"),
                    !streams_first
                );
                assert_ne!(
                    made.field("x-llm-cache-key"),
                    recorded.field("x-llm-cache-key")
                );
                // Each is the same every time.
                assert_eq!(proxy.ask(&other).await.is(200, "hit").body, made.body);
                assert_eq!(proxy.ask(&first).await.is(200, "hit").body, recorded.body);
                assert_eq!(origin.count(), asked, "{api} {name}");
            }
        }
    }
    assert!(asked >= 60, "only {asked} answers");
}

#[tokio::test]
async fn what_would_lose_a_field_is_asked_for_and_both_forms_are_kept() {
    let origin = provider("tests/forms/refused").await;
    let proxy = proxy()
        .upstream(&origin)
        .set("cache.keep", keep_all())
        .start()
        .await;
    let mut refused = 0;
    for api in ["chat", "responses", "messages"] {
        for name in names("tests/forms/refused", api) {
            let stream = question(api, &name, true, api == "chat");
            let json = question(api, &name, false, false);
            for (tenant, first, other) in [("a", &stream, &json), ("b", &json, &stream)] {
                let [first, other] = [first, other].map(|ask| ask.clone().bearer(tenant));
                proxy.ask(&first).await;
                // Some are not even kept in the form they came in.
                if proxy.ask(&first).await.outcome() == "hit" {
                    refused += 1;
                    let asked = proxy.ask(&other).await;
                    assert_eq!(asked.outcome(), "miss", "{api} {name}: {}", asked.dump());
                    proxy.ask(&first).await.is(200, "hit");
                }
            }
        }
    }
    assert!(refused >= 40, "only {refused} of them are kept");
}

#[tokio::test]
async fn usage_is_given_to_who_asked_for_it() {
    let origin = provider("tests/forms").await;
    let proxy = proxy_before(&origin).await;
    let with = question("chat", "plain", true, true);
    let without = question("chat", "plain", true, false);
    let json = question("chat", "plain", false, false);
    let recorded = proxy.ask(&with).await;
    assert!(
        recorded
            .is(200, "miss")
            .text()
            .contains("\"prompt_tokens\"")
    );
    let stripped = proxy.ask(&without).await;
    assert!(
        !stripped.is(200, "hit").text().contains("usage"),
        "{}",
        stripped.dump()
    );
    assert!(
        proxy
            .ask(&json)
            .await
            .is(200, "hit")
            .text()
            .contains("\"prompt_tokens\"")
    );
    origin.was_called(1);

    // From JSON, for another tenant.
    let [with, without, json] = [with, without, json].map(|ask| ask.bearer("another"));
    proxy.ask(&json).await.is(200, "miss");
    assert!(
        proxy
            .ask(&with)
            .await
            .is(200, "hit")
            .text()
            .contains("\"prompt_tokens\"")
    );
    assert!(
        !proxy
            .ask(&without)
            .await
            .is(200, "hit")
            .text()
            .contains("prompt_tokens")
    );
    origin.was_called(2);
}

#[tokio::test]
async fn a_refreshed_answer_takes_the_place_of_all_its_forms() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let (json, stream) = (messages("refreshed", false), messages("refreshed", true));
    let old = proxy.ask(&json).await.is(200, "miss").json();
    proxy.ask(&stream).await.is(200, "hit");
    let fresh = proxy.ask(&json.clone().cache_control("no-cache")).await;
    let fresh = fresh.is(200, "refresh").json();
    assert_ne!(fresh, old);
    let text = fresh["content"][0]["text"].as_str().expect("a text");
    let made = proxy.ask(&stream).await;
    assert!(made.is(200, "hit").text().contains(text), "{}", made.dump());
    origin.was_called(2);
}

/// Reading a form makes it from the other one and keeps it in memory, at the very moment at which a
/// refresh replaces both.
#[tokio::test]
async fn what_is_made_during_a_refresh_does_not_outlive_it() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let (json, stream) = (messages("raced", false), messages("raced", true));
    proxy.ask(&json).await.is(200, "miss");
    for round in 0..30 {
        let refresh = json.clone().cache_control("no-cache");
        let mut asks = vec![stream.clone(); 6];
        asks.insert(round % 7, refresh);
        let mut answers = ask_all(&proxy, &asks).await;
        let fresh = answers.remove(round % 7);
        let fresh = fresh.is(200, "refresh").json();
        let text = fresh["content"][0]["text"].as_str().expect("a text");
        for (ask, form) in [(&stream, "stream"), (&json, "json")] {
            let read = proxy.ask(ask).await;
            read.is(200, "hit");
            assert!(read.text().contains(text), "{form}: {}", read.dump());
        }
    }
    assert_eq!(origin.count(), 31);
}
