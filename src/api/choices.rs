//! The grammar that chat completions and completions share: answers made of choices.
//!
//! A stream is complete iff `[DONE]` is its last event, at least the choices asked for were seen,
//! every choice seen has a `finish_reason`, and no frame carries an error. A JSON answer likewise,
//! but for `[DONE]`. Some servers send an error object and then `[DONE]`, all under status 200, or an
//! error's number beside the choices.
//!
//! Complete, yet not worth keeping unless the operator says so: a choice that was cut by length,
//! filtered, refused, that is empty or has a tool call whose arguments are not JSON.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::index_set::{INDEX_MAX, IndexSet};
use super::json_body::{JsonJudge, Reading};
use super::output::{ToolArguments, end_fault, ends_in_call};
use super::sse::Event;
use super::stream::{Seen, StreamJudge, StreamRules};
use super::wire::{
    Bytes, Counts, Filled, Object, PromptUsage, Text, Trouble, any_filled, text, troubled,
};
use super::{Facts, Fault, Form, Judge, Worth};

const DONE: &[u8] = b"[DONE]";

/// A judge for answers made of choices.
pub(super) fn judge(facts: &Facts, form: Form, worth: Worth) -> Option<Box<dyn Judge>> {
    let asked = facts.choices;
    match form {
        Form::Stream => Some(StreamJudge::boxed(Tally::new(asked, worth))),
        Form::Json => Some(JsonJudge::boxed(move |body| read(body, asked, worth))),
        Form::Lines | Form::Text | Form::Binary => None,
    }
}

fn read(body: &str, asked: u32, worth: Worth) -> Result<Reading, serde_json::Error> {
    let Object(answer) = serde_json::from_str::<Object<Answer<'_>>>(body)?;
    let mut tally = Tally::new(asked, worth);
    let keep = tally.add(&answer).and_then(|()| tally.complete());
    Ok((keep, answer.usage.and_then(|usage| usage.0?.usage())))
}

/// A whole answer or one frame of it.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    object: Option<Text<'a>>,
    error: Option<Trouble>,
    /// Baidu.
    error_code: Option<Trouble>,
    /// MiniMax.
    base_resp: Option<Object<BaseResponse>>,
    #[serde(borrow)]
    choices: Option<Vec<Object<Choice<'a>>>>,
    usage: Option<Counts<PromptUsage>>,
}

impl Answer<'_> {
    /// Whether the server reports an error, maybe beside choices that look finished.
    fn failed(&self) -> bool {
        let base = self.base_resp.as_ref();
        let base = base.is_some_and(|Object(base)| troubled(&base.status_code));
        base || troubled(&self.error) || troubled(&self.error_code) || text(&self.object) == "error"
    }
}

#[derive(Deserialize)]
struct BaseResponse {
    status_code: Option<Trouble>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
    error: Option<Trouble>,
    /// Completions.
    text: Option<Filled>,
    /// Chat, whole.
    #[serde(borrow)]
    message: Option<Object<Output<'a>>>,
    /// Chat, streamed.
    #[serde(borrow)]
    delta: Option<Object<Output<'a>>>,
}

#[derive(Deserialize)]
struct Output<'a> {
    content: Option<Filled>,
    refusal: Option<Filled>,
    images: Option<Filled>,
    audio: Option<IgnoredAny>,
    #[serde(borrow)]
    tool_calls: Option<Vec<Object<ToolCall<'a>>>>,
    #[serde(borrow)]
    function_call: Option<Object<Function<'a>>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    function: Option<Object<Function<'a>>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    arguments: Option<Bytes<'a>>,
}

impl Function<'_> {
    fn arguments(&self) -> &[u8] {
        self.arguments
            .as_ref()
            .map_or(&[], |arguments| &arguments.0)
    }
}

/// Which choices were seen, which of them hold something, and how they ended.
struct Tally {
    asked: u32,
    worth: Worth,
    seen: IndexSet,
    filled: IndexSet,
    finished: IndexSet,
    /// Those that ended to call a tool.
    calling: IndexSet,
    end_fault: Option<Fault>,
    arguments: ToolArguments,
}

impl Tally {
    fn new(asked: u32, worth: Worth) -> Tally {
        Tally {
            asked,
            worth,
            seen: IndexSet::default(),
            filled: IndexSet::default(),
            finished: IndexSet::default(),
            calling: IndexSet::default(),
            end_fault: None,
            arguments: ToolArguments::default(),
        }
    }

    fn add(&mut self, answer: &Answer<'_>) -> Result<(), Fault> {
        if answer.failed() {
            return Err(Fault::ErrorObject);
        }
        for (position, Object(choice)) in answer.choices.iter().flatten().enumerate() {
            if troubled(&choice.error) {
                return Err(Fault::ErrorObject);
            }
            let index = choice.index.unwrap_or(position as u64);
            if index > INDEX_MAX {
                return Err(Fault::WrongCount);
            }
            self.seen.insert(index);
            let reason = text(&choice.finish_reason);
            if !reason.is_empty() {
                self.finished.insert(index);
                if ends_in_call(reason) {
                    self.calling.insert(index);
                }
                self.note(end_fault(reason));
            }
            let outputs = [&choice.message, &choice.delta];
            let mut filled = any_filled(&[&choice.text]);
            for Object(output) in outputs.into_iter().flatten() {
                filled |= self.add_output(index, output);
            }
            if filled {
                self.filled.insert(index);
            }
        }
        Ok(())
    }

    /// Notes what is wrong with how a choice ended; the first fault that counts is reported.
    fn note(&mut self, fault: Option<Fault>) {
        let counts = |fault: &Fault| !self.worth.tolerates(*fault);
        self.end_fault = self.end_fault.or(fault.filter(counts));
    }

    /// True if there is something in it.
    fn add_output(&mut self, choice: u64, output: &Output<'_>) -> bool {
        let calls = output.tool_calls.as_deref().unwrap_or_default();
        for (position, Object(call)) in calls.iter().enumerate() {
            if let Some(Object(function)) = &call.function {
                let index = call.index.unwrap_or(position as u64);
                self.arguments.add((choice, index), function.arguments());
            }
        }
        if let Some(Object(function)) = &output.function_call {
            self.arguments.add((choice, u64::MAX), function.arguments());
        }
        if any_filled(&[&output.refusal]) {
            self.note(Some(Fault::Refused));
        }
        !calls.is_empty()
            || output.function_call.is_some()
            || output.audio.is_some()
            || any_filled(&[&output.content, &output.refusal, &output.images])
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
        seen.spent(frame.usage.and_then(|usage| usage.0?.usage()));
    }

    fn complete(&self) -> Result<(), Fault> {
        if self.seen.len() == 0 || self.seen.len() < u64::from(self.asked) {
            return Err(Fault::MissingChoices);
        }
        if self.finished.len() < self.seen.len() {
            return Err(Fault::NoFinishReason);
        }
        self.end_fault.map_or(Ok(()), Err)?;
        // A tool without parameters may get no arguments.
        let calling = |choice| self.calling.contains(choice);
        self.worth.pass(self.arguments.check(calling))?;
        if self.filled.len() < self.seen.len() {
            return self.worth.check(Fault::Empty);
        }
        Ok(())
    }
}
