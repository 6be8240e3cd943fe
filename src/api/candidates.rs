//! The grammar of Gemini's answers, which are made of candidates.
//!
//! A stream has no sentinel: it ends with the body. It is complete iff it ends on a frame boundary,
//! at least the candidates asked for were seen, the last frame of each has a `finishReason`, and no
//! frame carries an error. Where frames have counted tokens, the last one must do so as well: that is
//! all that tells a stream that was cut between its last two frames. The same holds for an answer in
//! one piece and for a JSON array of pieces, but for the tokens: there the JSON says that it is whole.
//!
//! Complete, yet not worth keeping unless the operator says so: a candidate that was cut by length,
//! filtered, that is empty or has a call that cannot be read, and a prompt that was blocked. Never kept
//! is what changes or dies: an answer from the web, and files at the provider.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::index_set::INDEX_MAX;
use super::json_body::{JsonJudge, Reading};
use super::named_event;
use super::sse::Event;
use super::stream::{Seen, StreamJudge, StreamRules};
use super::wire::{Count, Counts, Filled, Object, Text, any_filled, text, tokens};
use super::{Facts, Fault, Form, Judge, Usage, Worth};

#[cfg(test)]
mod tests;

/// Whether JSON answers come as one object or as an array of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    Many,
}

/// A judge for answers made of candidates.
pub(super) fn judge(
    facts: &Facts,
    form: Form,
    shape: Shape,
    worth: Worth,
) -> Option<Box<dyn Judge>> {
    let asked = facts.choices;
    match form {
        Form::Stream => Some(StreamJudge::boxed(Tally::new(asked, worth))),
        Form::Json => Some(JsonJudge::boxed(move |body| {
            read(body, asked, shape, worth)
        })),
        Form::Lines | Form::Text | Form::Binary => None,
    }
}

fn read(body: &str, asked: u32, shape: Shape, worth: Worth) -> Result<Reading, serde_json::Error> {
    let mut tally = Tally::new(asked, worth);
    let keep = tally.read(body, shape)?.and_then(|()| tally.complete());
    Ok((keep, tally.usage))
}

/// What is wrong with a candidate that ended for this reason, if anything. All reasons but one are
/// failures, also those that came since: an unknown one is taken for a failure as well.
pub(super) fn finish_fault(reason: &str) -> Option<Fault> {
    match reason {
        "STOP" => None,
        "MAX_TOKENS" => Some(Fault::Length),
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "ESCALATION"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => Some(Fault::Filtered),
        // The rest is fetched with a token.
        "CONTINUATION" => Some(Fault::IncompleteStatus),
        "MALFORMED_FUNCTION_CALL" => Some(Fault::BadToolCall),
        _ => Some(Fault::ErrorFinish),
    }
}

/// An answer in one piece or one piece of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    error: Option<IgnoredAny>,
    #[serde(borrow)]
    candidates: Option<Vec<Object<Candidate<'a>>>>,
    #[serde(borrow)]
    prompt_feedback: Option<Object<Feedback<'a>>>,
    usage_metadata: Option<Counts<UsageMetadata>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<Object<Content<'a>>>,
    /// From a search.
    #[serde(borrow)]
    grounding_metadata: Option<&'a RawValue>,
    /// From pages.
    #[serde(borrow)]
    url_context_metadata: Option<&'a RawValue>,
}

impl Candidate<'_> {
    /// True if it says something of the web; some servers say nothing in an empty object.
    fn is_from_web(&self) -> bool {
        let said = [self.grounding_metadata, self.url_context_metadata];
        let mut said = said.into_iter().flatten();
        said.any(|said| said.get().bytes().any(|b| !b" \t\r\n{}".contains(&b)))
    }
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    parts: Option<Vec<Object<Part<'a>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(default)]
    thought: Option<bool>,
    text: Option<Filled>,
    inline_data: Option<Object<Inline>>,
    /// A file at the provider, which keeps it for two days.
    file_data: Option<IgnoredAny>,
    #[serde(borrow)]
    function_call: Option<Object<Call<'a>>>,
}

#[derive(Deserialize)]
struct Inline {
    data: Option<Filled>,
}

impl Part<'_> {
    fn is_filled(&self) -> bool {
        let inline = self.inline_data.as_ref().map(|Object(inline)| &inline.data);
        self.function_call.is_some() || any_filled(&[&self.text, inline.unwrap_or(&None)])
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call<'a> {
    #[serde(borrow)]
    args: Option<&'a RawValue>,
    /// The arguments go on in the next piece.
    will_continue: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback<'a> {
    #[serde(borrow)]
    block_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct UsageMetadata {
    prompt_token_count: Count,
    tool_use_prompt_token_count: Count,
    candidates_token_count: Count,
    thoughts_token_count: Count,
}

impl UsageMetadata {
    fn usage(&self) -> Option<Usage> {
        tokens(
            self.prompt_token_count
                .plus(self.tool_use_prompt_token_count),
            self.candidates_token_count.plus(self.thoughts_token_count),
        )
    }
}

/// What is known of one candidate.
#[derive(Default)]
struct Progress {
    /// Its last piece has a finish reason.
    finished: bool,
    filled: bool,
    /// A call's arguments go on.
    open_call: bool,
}

struct Tally {
    asked: u32,
    worth: Worth,
    candidates: BTreeMap<u64, Progress>,
    blocked: bool,
    end_fault: Option<Fault>,
    /// Something in it is not for long.
    passing: Option<Fault>,
    bad_call: bool,
    usage: Option<Usage>,
    /// Tokens were counted before, but not with the last piece.
    owes_usage: bool,
}

impl Tally {
    fn new(asked: u32, worth: Worth) -> Tally {
        Tally {
            asked,
            worth,
            candidates: BTreeMap::new(),
            blocked: false,
            end_fault: None,
            passing: None,
            bad_call: false,
            usage: None,
            owes_usage: false,
        }
    }

    /// Adds what a text of this shape holds. Errors may come in either shape, whatever was asked for.
    fn read(&mut self, json: &str, shape: Shape) -> Result<Result<(), Fault>, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(json);
        let added = Pieces { tally: self, shape }.deserialize(&mut reader)?;
        reader.end()?;
        Ok(added)
    }

    fn add(&mut self, answer: &Answer<'_>) -> Result<(), Fault> {
        if answer.error.is_some() {
            return Err(Fault::ErrorObject);
        }
        if let Some(Object(feedback)) = &answer.prompt_feedback {
            let reason = text(&feedback.block_reason);
            self.blocked |= !matches!(
                reason,
                "" | "BLOCK_REASON_UNSPECIFIED" | "BLOCKED_REASON_UNSPECIFIED"
            );
        }
        for (position, Object(candidate)) in answer.candidates.iter().flatten().enumerate() {
            let index = candidate.index.unwrap_or(position as u64);
            if index > INDEX_MAX {
                return Err(Fault::WrongCount);
            }
            self.add_candidate(index, candidate);
        }
        let usage = answer.usage_metadata.as_ref();
        let usage = usage.and_then(|Counts(usage)| usage.as_ref()?.usage());
        self.owes_usage = usage.is_none() && self.usage.is_some();
        self.usage = usage.or(self.usage);
        Ok(())
    }

    fn add_candidate(&mut self, index: u64, candidate: &Candidate<'_>) {
        let progress = self.candidates.entry(index).or_default();
        let reason = text(&candidate.finish_reason);
        progress.finished = !matches!(reason, "" | "FINISH_REASON_UNSPECIFIED");
        if progress.finished {
            let counts = |fault: &Fault| !self.worth.tolerates(*fault);
            self.end_fault = self.end_fault.or(finish_fault(reason).filter(counts));
        }
        if candidate.is_from_web() {
            self.passing.get_or_insert(Fault::WebSearch);
        }
        let parts = candidate.content.as_ref();
        let parts = parts.and_then(|Object(content)| content.parts.as_ref());
        for Object(part) in parts.into_iter().flatten() {
            let thought = part.thought == Some(true);
            progress.filled |= !thought && part.is_filled();
            if part.file_data.is_some() {
                self.passing.get_or_insert(Fault::ExpiringLink);
            }
            if let Some(Object(call)) = &part.function_call {
                progress.open_call = call.will_continue == Some(true);
                self.bad_call |= call.args.is_some_and(|args| !args.get().starts_with('{'));
            }
        }
    }
}

impl StreamRules for Tally {
    fn event(&mut self, event: Event<'_>, seen: &mut Seen) {
        if named_event::is_sentinel(event) {
            return seen.end();
        }
        let added = std::str::from_utf8(event.data)
            .ok()
            .and_then(|data| self.read(data, Shape::One).ok());
        let fault = match added {
            _ if event.name == b"error" => Some(Fault::ErrorObject),
            None | Some(Err(Fault::BadShape)) => Some(Fault::BadFrame),
            Some(added) => added.err(),
        };
        if let Some(fault) = fault {
            seen.fail(fault);
        }
        if fault == Some(Fault::ErrorObject) {
            seen.end();
        }
        seen.spent(self.usage);
    }

    fn may_end_here(&self) -> bool {
        let mut candidates = self.candidates.values();
        let finished = !self.candidates.is_empty() && candidates.all(|c| c.finished);
        self.blocked || finished && !self.owes_usage
    }

    fn complete(&self) -> Result<(), Fault> {
        self.passing.map_or(Ok(()), Err)?;
        if self.blocked {
            self.worth.check(Fault::Filtered)?;
            if self.candidates.is_empty() {
                return Ok(());
            }
        }
        let all = |holds: fn(&Progress) -> bool| self.candidates.values().all(holds);
        if self.candidates.is_empty() || (self.candidates.len() as u64) < u64::from(self.asked) {
            return Err(Fault::MissingChoices);
        }
        if !all(|candidate| candidate.finished) {
            return Err(Fault::NoFinishReason);
        }
        self.end_fault.map_or(Ok(()), Err)?;
        if self.bad_call || !all(|candidate| !candidate.open_call) {
            self.worth.check(Fault::BadToolCall)?;
        }
        match all(|candidate| candidate.filled) {
            true => Ok(()),
            false => self.worth.check(Fault::Empty),
        }
    }
}

/// Adds pieces to the tally one by one, so that none of them is kept.
struct Pieces<'t> {
    tally: &'t mut Tally,
    shape: Shape,
}

impl<'de> DeserializeSeed<'de> for Pieces<'_> {
    type Value = Result<(), Fault>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pieces<'_> {
    type Value = Result<(), Fault>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let answer = Answer::deserialize(MapAccessDeserializer::new(map))?;
        let added = self.tally.add(&answer);
        Ok(match self.shape {
            Shape::One => added,
            Shape::Many => added.and(Err(Fault::BadShape)),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (mut added, mut any) = (Ok(()), false);
        while let Some(Object(answer)) = seq.next_element::<Object<Answer<'_>>>()? {
            any = true;
            added = added.and(self.tally.add(&answer));
        }
        Ok(match self.shape {
            Shape::Many if any => added,
            Shape::One | Shape::Many => added.and(Err(Fault::BadShape)),
        })
    }
}
