//! Anthropic messages: `messages`.
//!
//! A stream is complete iff its last event is `message_stop`, after a `message_start` and a
//! `message_delta` with a `stop_reason`, and without an `error` event. Pings and events of unknown
//! kind may come anywhere before. A JSON answer is complete iff it is of type `message` and has a
//! `stop_reason`.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::json_body::{JsonJudge, Reading};
use super::named_event;
use super::request::Request;
use super::sse::Event;
use super::stream::{Seen, StreamJudge, StreamRules};
use super::wire::{Count, Object, Text, text, tokens};
use super::{Bypass, Facts, Fault, Form, Grammar, Judge, Usage};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "messages",
    path: "messages",
    ignored: &["metadata"],
    key_headers: &["anthropic-version", "anthropic-beta"],
    facts,
    judge,
};

fn facts(body: &Canonical) -> Facts {
    let mut request = Request::new(body);
    // Tools the client runs have no type or this one; all versioned types are the provider's.
    request.refuse_server_tools(&["", "custom"]);
    request.refuse_non_empty("mcp_servers", Bypass::McpServers);
    request.refuse_set("container", Bypass::Container);
    request.refuse_file_ids("messages");
    request.facts()
}

fn judge(_: &Facts, form: Form) -> Box<dyn Judge> {
    match form {
        Form::Stream => StreamJudge::boxed(Rules::default()),
        Form::Json => JsonJudge::boxed(read),
    }
}

fn read(body: &str) -> Result<Reading, serde_json::Error> {
    let Object(message) = serde_json::from_str::<Object<Message<'_>>>(body)?;
    let keep = if message.error.is_some() || text(&message.kind) == "error" {
        Err(Fault::ErrorObject)
    } else if text(&message.kind) != "message" {
        Err(Fault::BadShape)
    } else if text(&message.stop_reason).is_empty() {
        Err(Fault::NoFinishReason)
    } else {
        Ok(())
    };
    Ok((keep, message.usage.and_then(|usage| usage.0.usage())))
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    error: Option<IgnoredAny>,
    usage: Option<Object<MessageUsage>>,
}

#[derive(Deserialize)]
struct MessageStart {
    message: Object<StartedMessage>,
}

#[derive(Deserialize)]
struct StartedMessage {
    usage: Option<Object<MessageUsage>>,
}

#[derive(Deserialize)]
struct MessageDelta<'a> {
    #[serde(borrow)]
    delta: Object<Delta<'a>>,
    usage: Option<Object<MessageUsage>>,
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
    fn update(&mut self, later: Option<Object<MessageUsage>>) {
        let Some(Object(later)) = later else { return };
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
        let parts =
            [self.input_tokens, self.cache_creation_input_tokens, self.cache_read_input_tokens];
        let input = parts.iter().filter_map(|count| count.0).reduce(u64::saturating_add);
        tokens(Count(input), self.output_tokens)
    }
}

#[derive(Default)]
struct Rules {
    started: bool,
    stopped: bool,
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
            "message_delta" => {
                let delta = serde_json::from_str::<MessageDelta<'_>>(data)?;
                self.stopped |= !text(&delta.delta.0.stop_reason).is_empty();
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
        named_event::is_sentinel(event)
    }

    fn complete(&self) -> Result<(), Fault> {
        match (self.started, self.stopped) {
            (false, _) => Err(Fault::BadShape),
            (true, false) => Err(Fault::NoFinishReason),
            (true, true) => Ok(()),
        }
    }
}
