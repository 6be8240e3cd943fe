//! Anthropic messages: `messages`.
//!
//! A stream is complete iff its last event is `message_stop`, after a `message_start` and a
//! `message_delta` with a `stop_reason`, and without an `error` event. Events of unknown kind may come
//! anywhere before, pings anywhere. A JSON answer is complete iff it is of type `message` and has a
//! `stop_reason`.
//!
//! Complete, yet not worth keeping unless the operator says so: a message that was cut by length,
//! refused, paused, that is empty or has a tool call whose input is not JSON.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::json_body::{JsonJudge, Reading};
use super::named_event;
use super::output::{ToolArguments, end_fault};
use super::question::Reader;
use super::request::Request;
use super::sse::Event;
use super::stream::{Seen, StreamJudge, StreamRules};
use super::wire::{Bytes, Count, Counts, Filled, Object, Text, any_filled, text, tokens};
use super::{Bypass, Facts, Fault, Form, Grammar, Judge, Place, Usage, Worth};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "messages",
    operation: "chat",
    paths: &["messages"],
    ignored: &["metadata"],
    framing: &["stream"],
    sorted: &["system", "thinking", "tool_choice"],
    read: Reader::Json(facts),
    judge,
};

fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    let mut request = prompt(body, place);
    request.read_variant();
    request.facts()
}

/// Reads what a prompt says, whatever is to be done with it.
pub(super) fn prompt<'a>(body: &'a Canonical, place: &Place<'_>) -> Request<'a> {
    let mut request = Request::new(body, place);
    // Tools the client runs have no type or this one; all versioned types are the provider's.
    request.refuse_server_tools(&["", "custom"]);
    request.refuse_web();
    request.refuse_non_empty("mcp_servers", Bypass::McpServers);
    request.refuse_set("container", Bypass::Container);
    request.refuse_file_ids("messages");
    request
}

fn judge(_: &Facts, form: Form, worth: Worth) -> Option<Box<dyn Judge>> {
    match form {
        Form::Stream => Some(StreamJudge::boxed(Rules {
            worth,
            ..Rules::default()
        })),
        Form::Json => Some(JsonJudge::boxed(move |body| read(body, worth))),
        Form::Lines | Form::Text | Form::Binary => None,
    }
}

fn read(body: &str, worth: Worth) -> Result<Reading, serde_json::Error> {
    let Object(message) = serde_json::from_str::<Object<Message<'_>>>(body)?;
    Ok((
        message.check(worth),
        message.usage.and_then(|usage| usage.0?.usage()),
    ))
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    error: Option<IgnoredAny>,
    #[serde(borrow)]
    content: Option<Vec<Object<Block<'a>>>>,
    usage: Option<Counts<MessageUsage>>,
}

impl Message<'_> {
    fn check(&self, worth: Worth) -> Result<(), Fault> {
        let stop_reason = text(&self.stop_reason);
        if self.error.is_some() || text(&self.kind) == "error" {
            return Err(Fault::ErrorObject);
        }
        if text(&self.kind) != "message" {
            return Err(Fault::BadShape);
        }
        if stop_reason.is_empty() {
            return Err(Fault::NoFinishReason);
        }
        worth.pass(end_fault(stop_reason).map_or(Ok(()), Err))?;
        match self
            .content
            .iter()
            .flatten()
            .any(|Object(block)| block.filled())
        {
            true => Ok(()),
            false => worth.check(Fault::Empty),
        }
    }
}

/// A block of content, whole or at its start.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Text<'a>>,
    text: Option<Filled>,
}

impl Block<'_> {
    fn filled(&self) -> bool {
        match text(&self.kind) {
            "thinking" | "redacted_thinking" => false,
            "text" => any_filled(&[&self.text]),
            _ => true,
        }
    }
}

#[derive(Deserialize)]
struct BlockStart<'a> {
    #[serde(borrow)]
    content_block: Object<Block<'a>>,
}

#[derive(Deserialize)]
struct BlockDelta<'a> {
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    delta: Object<Piece<'a>>,
}

/// A piece of a block: text, or the input of a tool.
#[derive(Deserialize)]
struct Piece<'a> {
    text: Option<Filled>,
    #[serde(borrow)]
    partial_json: Option<Bytes<'a>>,
}

#[derive(Deserialize)]
struct MessageStart {
    message: Object<StartedMessage>,
}

#[derive(Deserialize)]
struct StartedMessage {
    usage: Option<Counts<MessageUsage>>,
}

#[derive(Deserialize)]
struct MessageDelta<'a> {
    #[serde(borrow)]
    delta: Object<Delta<'a>>,
    usage: Option<Counts<MessageUsage>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
}

/// `input_tokens` leaves out what was read from or written to the provider's prompt cache.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct MessageUsage {
    input_tokens: Count,
    cache_creation_input_tokens: Count,
    cache_read_input_tokens: Count,
    output_tokens: Count,
}

impl MessageUsage {
    /// Counts are cumulative: each one given replaces the earlier one.
    fn update(&mut self, later: Option<Counts<MessageUsage>>) {
        let Some(Counts(Some(later))) = later else {
            return;
        };
        *self = MessageUsage {
            input_tokens: later.input_tokens.or(self.input_tokens),
            cache_creation_input_tokens: later
                .cache_creation_input_tokens
                .or(self.cache_creation_input_tokens),
            cache_read_input_tokens: later
                .cache_read_input_tokens
                .or(self.cache_read_input_tokens),
            output_tokens: later.output_tokens.or(self.output_tokens),
        };
    }

    fn usage(self) -> Option<Usage> {
        let parts = [
            self.input_tokens,
            self.cache_creation_input_tokens,
            self.cache_read_input_tokens,
        ];
        let input = parts
            .iter()
            .filter_map(|count| count.0)
            .reduce(u64::saturating_add);
        tokens(Count(input), self.output_tokens)
    }
}

#[derive(Default)]
struct Rules {
    worth: Worth,
    started: bool,
    stopped: bool,
    filled: bool,
    end_fault: Option<Fault>,
    arguments: ToolArguments,
    usage: MessageUsage,
}

impl Rules {
    fn read(&mut self, kind: &str, data: &str) -> Result<(), serde_json::Error> {
        match kind {
            "message_start" => {
                let start = serde_json::from_str::<MessageStart>(data)?;
                self.started = true;
                self.usage.update(start.message.0.usage);
            }
            "content_block_start" => {
                let start = serde_json::from_str::<BlockStart<'_>>(data)?;
                self.filled |= start.content_block.0.filled();
            }
            "content_block_delta" => {
                let BlockDelta { index, delta } = serde_json::from_str(data)?;
                self.filled |= any_filled(&[&delta.0.text]);
                // A tool without parameters gets no input, or only empty pieces.
                if let Some(Bytes(piece)) = &delta.0.partial_json
                    && !piece.is_empty()
                {
                    self.arguments.add((0, index), piece);
                }
            }
            "message_delta" => {
                let delta = serde_json::from_str::<MessageDelta<'_>>(data)?;
                let stop_reason = text(&delta.delta.0.stop_reason);
                self.stopped |= !stop_reason.is_empty();
                self.end_fault = self.end_fault.or(end_fault(stop_reason));
                self.usage.update(delta.usage);
            }
            _ => {}
        }
        Ok(())
    }
}

impl StreamRules for Rules {
    fn event(&mut self, event: Event<'_>, seen: &mut Seen) {
        if event.name == b"ping" {
            return;
        }
        let Some((kind, data)) = named_event::read(event, seen) else {
            return;
        };
        let again = self.started && kind == "message_start";
        if again || self.read(&kind, data).is_err() {
            seen.fail(Fault::BadFrame);
        }
        seen.spent(self.usage.usage());
        if kind == "message_stop" {
            seen.end();
        }
    }

    fn may_follow_end(&self, event: Event<'_>) -> bool {
        event.name == b"ping" || named_event::is_sentinel(event)
    }

    fn complete(&self) -> Result<(), Fault> {
        match (self.started, self.stopped) {
            (false, _) => return Err(Fault::BadShape),
            (true, false) => return Err(Fault::NoFinishReason),
            (true, true) => {}
        }
        self.worth.pass(self.end_fault.map_or(Ok(()), Err))?;
        self.worth.pass(self.arguments.check(|_| false))?;
        match self.filled {
            true => Ok(()),
            false => self.worth.check(Fault::Empty),
        }
    }
}
