//! The grammar that chat completions and completions share: answers made of choices.
//!
//! A stream is complete iff `[DONE]` is its last event, at least the choices asked for were seen,
//! every choice seen has a `finish_reason`, and no frame carries an error. A JSON answer likewise,
//! but for `[DONE]`. Some servers send an error object and then `[DONE]`, all under status 200.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::index_set::IndexSet;
use super::json_body::{JsonJudge, Reading};
use super::sse::Event;
use super::stream::{Seen, StreamJudge, StreamRules};
use super::wire::{Object, PromptUsage, Text, text};
use super::{Facts, Fault, Form, Judge};

const DONE: &[u8] = b"[DONE]";

/// Finish reasons by which servers say that they failed or gave up: OpenRouter, vLLM and SGLang,
/// DeepSeek.
const FAILED: [&str; 3] = ["error", "abort", "insufficient_system_resource"];

/// A judge for answers made of choices.
pub(super) fn judge(facts: &Facts, form: Form) -> Box<dyn Judge> {
    let tally = Tally::new(facts.choices);
    match form {
        Form::Stream => StreamJudge::boxed(tally),
        Form::Json => {
            let asked = facts.choices;
            JsonJudge::boxed(move |body| read(body, asked))
        }
    }
}

fn read(body: &str, asked: u32) -> Result<Reading, serde_json::Error> {
    let Object(answer) = serde_json::from_str::<Object<Answer<'_>>>(body)?;
    let mut tally = Tally::new(asked);
    let keep = tally.add(&answer).and_then(|()| tally.complete());
    Ok((keep, answer.usage.and_then(|usage| usage.0.usage())))
}

/// A whole answer or one frame of it.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    object: Option<Text<'a>>,
    error: Option<IgnoredAny>,
    #[serde(borrow)]
    choices: Option<Vec<Object<Choice<'a>>>>,
    usage: Option<Object<PromptUsage>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
    error: Option<IgnoredAny>,
}

/// Which choices were seen, and which of them have finished.
struct Tally {
    asked: u32,
    seen: IndexSet,
    finished: IndexSet,
}

impl Tally {
    fn new(asked: u32) -> Tally {
        Tally { asked, seen: IndexSet::default(), finished: IndexSet::default() }
    }

    fn add(&mut self, answer: &Answer<'_>) -> Result<(), Fault> {
        if answer.error.is_some() || text(&answer.object) == "error" {
            return Err(Fault::ErrorObject);
        }
        for (position, Object(choice)) in answer.choices.iter().flatten().enumerate() {
            if choice.error.is_some() {
                return Err(Fault::ErrorObject);
            }
            let index = choice.index.unwrap_or(position as u64);
            self.seen.insert(index);
            match text(&choice.finish_reason) {
                "" => {}
                reason if FAILED.contains(&reason) => return Err(Fault::ErrorFinish),
                _ => {
                    self.finished.insert(index);
                }
            }
        }
        Ok(())
    }
}

impl StreamRules for Tally {
    fn event(&mut self, event: Event<'_>, seen: &mut Seen) {
        if event.name == b"error" {
            return seen.fail(Fault::ErrorObject);
        }
        if event.data == DONE {
            return seen.end();
        }
        let frame = std::str::from_utf8(event.data)
            .ok()
            .and_then(|data| serde_json::from_str::<Object<Answer<'_>>>(data).ok());
        let Some(Object(frame)) = frame else {
            return seen.fail(Fault::BadFrame);
        };
        if let Err(fault) = self.add(&frame) {
            seen.fail(fault);
        }
        seen.spent(frame.usage.and_then(|usage| usage.0.usage()));
    }

    fn complete(&self) -> Result<(), Fault> {
        if self.seen.len() == 0 || self.seen.len() < u64::from(self.asked) {
            return Err(Fault::MissingChoices);
        }
        if self.finished.len() < self.seen.len() {
            return Err(Fault::NoFinishReason);
        }
        Ok(())
    }
}
