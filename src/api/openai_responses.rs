//! OpenAI responses: `responses`.
//!
//! A stream is complete iff its last event is `response.completed`, with no `error`,
//! `response.failed` or `response.incomplete` before. A JSON answer is complete iff its `status`
//! is `completed` and its `error` null.

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
    label: "responses",
    path: "responses",
    ignored: &[
        "user",
        "safety_identifier",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
    ],
    key_headers: &["openai-beta"],
    facts,
    judge,
};

fn facts(body: &Canonical) -> Facts {
    let mut request = Request::new(body);
    request.refuse_set("previous_response_id", Bypass::PreviousResponse);
    request.refuse_set("conversation", Bypass::Conversation);
    request.refuse_switched_on("background", Bypass::Background);
    request.refuse_switched_on("store", Bypass::Store);
    request.refuse_set("prompt", Bypass::PromptTemplate);
    request.refuse_server_tools(&["function", "custom"]);
    request.refuse_file_ids("input");
    request.refuse_mention("input", b"\"type\":\"item_reference\"", Bypass::ItemReference);
    request.facts()
}

fn judge(_: &Facts, form: Form) -> Box<dyn Judge> {
    match form {
        Form::Stream => StreamJudge::boxed(Rules),
        Form::Json => JsonJudge::boxed(read),
    }
}

fn read(body: &str) -> Result<Reading, serde_json::Error> {
    let Object(response) = serde_json::from_str::<Object<Response<'_>>>(body)?;
    Ok((response.completed(), response.usage()))
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    object: Option<Text<'a>>,
    #[serde(borrow)]
    status: Option<Text<'a>>,
    error: Option<IgnoredAny>,
    usage: Option<Object<ResponseUsage>>,
}

#[derive(Deserialize)]
struct ResponseUsage {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
}

impl Response<'_> {
    fn completed(&self) -> Result<(), Fault> {
        if self.error.is_some() || text(&self.object) == "error" {
            return Err(Fault::ErrorObject);
        }
        match text(&self.status) {
            "completed" => Ok(()),
            _ => Err(Fault::IncompleteStatus),
        }
    }

    fn usage(&self) -> Option<Usage> {
        let Object(usage) = self.usage.as_ref()?;
        tokens(usage.input_tokens, usage.output_tokens)
    }
}

/// An event that ends the stream.
#[derive(Deserialize)]
struct Terminal<'a> {
    #[serde(borrow)]
    response: Object<Response<'a>>,
}

struct Rules;

impl StreamRules for Rules {
    fn event(&mut self, event: Event<'_>, seen: &mut Seen) {
        let Some((kind, data)) = named_event::read(event, seen) else {
            return;
        };
        let failed = match &*kind {
            "response.completed" => None,
            "response.incomplete" => Some(Fault::IncompleteStatus),
            "response.failed" => Some(Fault::ErrorObject),
            _ => return,
        };
        let completed = match serde_json::from_str::<Terminal<'_>>(data) {
            Ok(Terminal { response: Object(response) }) => {
                seen.spent(response.usage());
                response.completed()
            }
            Err(_) => Err(Fault::BadFrame),
        };
        if let Some(fault) = failed.or(completed.err()) {
            seen.fail(fault);
        }
        seen.end();
    }

    fn may_follow_end(&self, event: Event<'_>) -> bool {
        named_event::is_sentinel(event)
    }

    fn complete(&self) -> Result<(), Fault> {
        Ok(())
    }
}
