//! Pairs of requests, and whether they are one question: the same key, two keys, or no key at all.
//!
//! Every row is two requests as they go over the wire. It is told by the response headers, and by
//! how often the upstream was asked, so that the key is seen to decide.

use std::time::{Duration, Instant};

use crate::harness::*;

mod fields;
mod forms;
mod golden;
mod headers;
mod identity;
mod numbers;
mod order;
mod paths;
mod refused;
mod run;
mod shape;
mod state;
mod strings;
mod table;

use table::Table;

/// As many as the table had when it was written; it may only grow.
const ROWS_MIN: usize = 990;
const WITHIN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn every_pair_has_the_keys_it_should() {
    let mut table = Table::default();
    for theme in [
        numbers::rows,
        strings::rows,
        shape::rows,
        order::rows,
        refused::rows,
        fields::rows,
        state::rows,
        headers::rows,
        identity::rows,
        paths::rows,
    ] {
        theme(&mut table);
    }
    assert!(table.len() >= ROWS_MIN, "{} rows are left", table.len());
    holds(table).await;
}

#[tokio::test]
async fn a_stream_and_a_json_answer_have_keys_of_their_own() {
    let mut table = Table::default();
    forms::rows(&mut table);
    holds(table).await;
}

/// The table can fail: of rows that are wrong each in its own way, every one is named.
#[tokio::test]
async fn rows_that_do_not_hold_are_all_named() {
    let mut table = Table::default();
    table.theme("wrong");
    let other = || value("2");
    table.same("two keys called one", value("1"), other());
    table.same("one key and none", value("1"), value("01"));
    table.different("one key called two", value("1"), value(" 1"));
    table.different("no key called two", value("01"), value("02"));
    table.other_form("one key called two forms", value("1"), value(" 1"));
    table.uncacheable("a key called none", value("1"), "invalid-json");
    table.uncacheable("another reason", value("01"), "duplicate-key");
    table.uncacheable("a path of no API", other().to("/v1/models"), "not-json");
    table.passes("a path of an API", value("01"));
    let rows: Vec<String> = table.names();
    table.theme("right");
    table.different("two keys", value("1"), other());
    let failures = run::failures(table).await;
    let named: Vec<&str> = failures.iter().filter_map(|f| f.lines().next()).collect();
    let wrong: Vec<String> = rows.iter().map(|name| format!("- {name}")).collect();
    assert_eq!(named, wrong);
}

async fn holds(table: Table) {
    let (rows, started) = (table.len(), Instant::now());
    let failures = run::failures(table).await;
    let took = started.elapsed();
    assert!(
        failures.is_empty(),
        "{} of {rows} rows fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(took < WITHIN, "{rows} rows took {took:?}");
}

/// An ask with one more header, whether or not it has one of that name.
fn with(mut ask: Ask, name: &str, value: &str) -> Ask {
    ask.headers.push((name.into(), value.into()));
    ask
}

/// A body for the chat API.
fn chat(body: impl Into<bytes::Bytes>) -> Ask {
    Ask::post("/v1/chat/completions", body)
}

/// A chat question with these further members.
fn chat_with(members: &str) -> Ask {
    chat(format!(r#"{{"model":"m","messages":[],{members}}}"#))
}

/// A chat question with an unknown member of this value.
fn value(value: &str) -> Ask {
    chat_with(&format!(r#""x":{value}"#))
}

/// A completions question with these further members.
fn completion_with(members: &str) -> Ask {
    Ask::post(
        "/v1/completions",
        format!(r#"{{"model":"m","prompt":"p"{members}}}"#),
    )
}

/// An embeddings question with these further members.
fn embedding_with(members: &str) -> Ask {
    Ask::post(
        "/v1/embeddings",
        format!(r#"{{"model":"m","input":"i"{members}}}"#),
    )
}

/// A responses question with these further members.
fn response_with(members: &str) -> Ask {
    Ask::post(
        "/v1/responses",
        format!(r#"{{"model":"m","store":false{members}}}"#),
    )
}

/// A question to the Anthropic messages API with these further members.
fn message_with(members: &str) -> Ask {
    Ask::post(
        "/v1/messages",
        format!(r#"{{"model":"m","max_tokens":9{members}}}"#),
    )
}
