//! What must hold for a scene to be true. A demo that shows something else than it says is worse
//! than none.

use std::time::Duration;

use http::{HeaderName, StatusCode};

use super::client::Answer;
use super::screen::time;

pub(super) const OUTCOME: HeaderName = HeaderName::from_static("x-llm-cache");
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Of a body that is quoted in an error.
const QUOTE_BYTES_MAX: usize = 200;

/// How many answers of a crowd had which outcome.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub miss: usize,
    pub coalesced: usize,
    pub hit: usize,
}

/// A header's value, or an empty text.
pub(super) fn header(answer: &Answer, name: HeaderName) -> &str {
    answer
        .headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// An answer worth showing: 200, with both headers.
pub(super) fn answered(answer: &Answer) -> Result<(), String> {
    if answer.status != StatusCode::OK {
        let body = answer.body.get(..QUOTE_BYTES_MAX).unwrap_or(&answer.body);
        let body = String::from_utf8_lossy(body);
        return Err(format!("the answer was {}: {}", answer.status, body.trim()));
    }
    for name in [OUTCOME, CACHE_STATUS] {
        if header(answer, name.clone()).is_empty() {
            return Err(format!("the answer has no {name} header"));
        }
    }
    Ok(())
}

/// The outcome is `expected`, and Cache-Status tells the same.
pub(super) fn outcome(answer: &Answer, expected: &str) -> Result<(), String> {
    let seen = header(answer, OUTCOME);
    if seen != expected {
        return Err(format!("x-llm-cache is {seen}, not {expected}"));
    }
    let status = header(answer, CACHE_STATUS);
    let said_hit = status
        .split([';', ','])
        .any(|parameter| parameter.trim() == "hit");
    if said_hit != (expected == "hit") {
        return Err(format!(
            "x-llm-cache is {seen}, but Cache-Status is {status}"
        ));
    }
    Ok(())
}

/// The stand-in was called as often as the scene says.
pub(super) fn calls(seen: u64, expected: u64) -> Result<(), String> {
    match seen == expected {
        true => Ok(()),
        false => Err(format!("the stand-in counted {seen} calls, not {expected}")),
    }
}

/// Both bodies are the same, byte for byte.
pub(super) fn same(one: &Answer, other: &Answer) -> Result<(), String> {
    match one.body == other.body {
        true => Ok(()),
        false => Err("two answers to one question differ".to_owned()),
    }
}

/// The body came over about the time the model took to speak, `spoken`, rather than in one piece at
/// its end.
pub(super) fn live(answer: &Answer, spoken: Duration) -> Result<(), String> {
    let took = answer.last_byte.saturating_sub(answer.first_byte);
    // A quarter: a busy machine may read the first token late, yet nobody holds a stream back by
    // accident.
    match took >= spoken / 4 {
        true => Ok(()),
        false => Err(format!(
            "the tokens were held back: they came within {}, not {}",
            time(took),
            time(spoken)
        )),
    }
}

/// The stream ended as a chat completion does.
pub(super) fn ended(answer: &Answer) -> Result<(), String> {
    match answer.body.ends_with(b"data: [DONE]\n\n") {
        true => Ok(()),
        false => Err("the stream does not end in [DONE]".to_owned()),
    }
}

/// One miss, the others coalesced (or hits, if they came after its end), and all the same.
pub(super) fn crowd(answers: &[Answer]) -> Result<Tally, String> {
    let mut tally = Tally::default();
    for answer in answers {
        answered(answer)?;
        ended(answer)?;
        if let Some(first) = answers.first() {
            same(first, answer)?;
        }
        match header(answer, OUTCOME) {
            "miss" => tally.miss += 1,
            "coalesced" => tally.coalesced += 1,
            "hit" => tally.hit += 1,
            other => {
                return Err(format!(
                    "x-llm-cache is {other}, not miss, coalesced or hit"
                ));
            }
        }
    }
    if tally.miss != 1 || tally.coalesced == 0 {
        let Tally {
            miss,
            coalesced,
            hit,
        } = tally;
        return Err(format!(
            "outcomes are {miss} miss, {coalesced} coalesced, {hit} hit"
        ));
    }
    Ok(tally)
}
