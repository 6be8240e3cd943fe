//! Operators look into the cache, purge it and copy it: by HTTP and by the command line.

use serde_json::{Value, json};

use crate::harness::*;

mod access;
mod commands;
mod copies;
mod looking;
mod million;
mod purging;

/// Asks the admin listener as somebody on this machine.
pub async fn operate(proxy: &Proxy, ask: Ask) -> Answer {
    let ask = match ask.headers.iter().any(|(name, _)| name == "host") {
        true => ask,
        false => ask.header("host", &proxy.admin.to_string()),
    };
    H1::connect(proxy.admin).await.ask(&ask).await
}

fn get(path: &str) -> Ask {
    Ask::get(path).without("authorization")
}

pub fn post(path: &str, body: &Value) -> Ask {
    Ask::post(path, body.to_string()).without("authorization")
}

pub async fn looked(proxy: &Proxy, path: &str) -> Value {
    let answer = operate(proxy, get(path)).await;
    answer.is_clean(200);
    answer.json()
}

pub async fn purge(proxy: &Proxy, what: &Value) -> Value {
    let answer = operate(proxy, post("/cache/purge", what)).await;
    answer.is_clean(200);
    answer.json()
}

/// Waits until so many answers are on disk.
pub async fn written(proxy: &Proxy, count: usize) {
    let series = "llm_cache_store_entries{tier=\"disk\"}";
    proxy.reaches(series, count as f64).await;
}

/// A chat question to a model.
pub fn chat_with(model: &str, question: &str) -> Ask {
    let mut body = chat_body(question);
    body["model"] = json!(model);
    Ask::post("/v1/chat/completions", body.to_string())
}

pub fn key_of(answer: &Answer) -> String {
    answer.field("x-llm-cache-key").unwrap().to_owned()
}

/// The numbers of a group of `/cache/stats`.
fn entries_of(stats: &Value, by: &str, name: &str) -> Option<u64> {
    let groups = stats[by].as_array().unwrap();
    let group = groups.iter().find(|group| group["name"] == name)?;
    group["entries"].as_u64()
}
