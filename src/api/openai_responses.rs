//! OpenAI responses: `responses`.
//!
//! A stream is complete iff its last event is `response.completed`, with no `error`,
//! `response.failed` or `response.incomplete` before. A JSON answer is complete iff its `status`
//! is `completed` and its `error` null. Some servers say `completed` of every answer: it must not
//! have `incomplete_details`, nor a message or call with another status.
//!
//! Complete, yet not worth keeping unless the operator says so: without output, refused, as long as
//! it may be, or with a function call whose arguments are not JSON.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::json_body::{JsonJudge, Reading};
use super::named_event;
use super::output::is_json;
use super::place::openai_paths_by_body;
use super::question::Reader;
use super::request::Request;
use super::sse::Event;
use super::stream::{Seen, StreamJudge, StreamRules};
use super::wire::{Bytes, Count, Counts, Filled, InputUsage, Object, Text, any_filled, text};
use super::{Bypass, Facts, Fault, Form, Grammar, Judge, Place, Usage, Worth};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "responses",
    operation: "chat",
    paths: openai_paths_by_body!("responses"),
    ignored: &[
        "user",
        "safety_identifier",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
    ],
    framing: &["stream", "stream_options"],
    sorted: &[
        "include",
        "input",
        "reasoning",
        "stream_options",
        "tool_choice",
    ],
    read: Reader::Json(facts),
    judge,
};

fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    let mut request = Request::new(body, place);
    request.read_variant();
    request.refuse_set("previous_response_id", Bypass::PreviousResponse);
    request.refuse_set("conversation", Bypass::Conversation);
    request.refuse_switched_on("background", Bypass::Background);
    request.refuse_switched_on("store", Bypass::Store);
    request.refuse_set("prompt", Bypass::PromptTemplate);
    request.refuse_web();
    request.refuse_server_tools(&["function", "custom"]);
    request.refuse_file_ids("input");
    request.refuse_mention(
        "input",
        b"\"type\":\"item_reference\"",
        Bypass::ItemReference,
    );
    request.facts()
}

fn judge(_: &Facts, form: Form, worth: Worth) -> Option<Box<dyn Judge>> {
    match form {
        Form::Stream => Some(StreamJudge::boxed(Rules {
            output: Output::default(),
            worth,
        })),
        Form::Json => Some(JsonJudge::boxed(move |body| read(body, worth))),
        Form::Lines | Form::Text | Form::Binary => None,
    }
}

fn read(body: &str, worth: Worth) -> Result<Reading, serde_json::Error> {
    let Object(response) = serde_json::from_str::<Object<Response<'_>>>(body)?;
    let mut found = Output::default();
    found.add(response.output.as_deref().unwrap_or_default());
    Ok((
        response.completed(worth).and_then(|()| found.check(worth)),
        response.usage(),
    ))
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    object: Option<Text<'a>>,
    #[serde(borrow)]
    status: Option<Text<'a>>,
    error: Option<IgnoredAny>,
    incomplete_details: Option<IgnoredAny>,
    /// As it was asked for.
    #[serde(default)]
    max_output_tokens: Count,
    #[serde(borrow)]
    output: Option<Vec<Object<Item<'a>>>>,
    usage: Option<Counts<InputUsage>>,
}

impl Response<'_> {
    fn completed(&self, worth: Worth) -> Result<(), Fault> {
        if self.error.is_some() || text(&self.object) == "error" {
            return Err(Fault::ErrorObject);
        }
        if text(&self.status) != "completed" || self.incomplete_details.is_some() {
            return Err(Fault::IncompleteStatus);
        }
        match self.spent_all() {
            true => worth.check(Fault::Length),
            false => Ok(()),
        }
    }

    /// True if there are as many tokens as were allowed: it was most likely cut there.
    fn spent_all(&self) -> bool {
        let allowed = self.max_output_tokens.0.filter(|tokens| *tokens > 0);
        let spent = self.usage().map(|usage| usage.output);
        allowed
            .zip(spent)
            .is_some_and(|(allowed, spent)| spent >= allowed)
    }

    fn usage(&self) -> Option<Usage> {
        let Counts(usage) = self.usage.as_ref()?;
        usage.as_ref()?.usage()
    }
}

/// One item of the output.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    status: Option<Text<'a>>,
    content: Option<Vec<Object<Part>>>,
    #[serde(borrow)]
    arguments: Option<Bytes<'a>>,
}

#[derive(Deserialize)]
struct Part {
    text: Option<Filled>,
    refusal: Option<Filled>,
}

/// What the items of an answer hold.
#[derive(Default)]
struct Output {
    filled: bool,
    /// A message or call says itself that it is not whole.
    unfinished: bool,
    refused: bool,
    bad_call: bool,
}

impl Output {
    fn add<'a>(&mut self, items: impl IntoIterator<Item = &'a Object<Item<'a>>>) {
        for Object(item) in items {
            let kind = text(&item.kind);
            let must_be_whole = matches!(kind, "message" | "function_call" | "custom_tool_call");
            let whole = matches!(text(&item.status), "" | "completed");
            self.unfinished |= must_be_whole && !whole;
            self.filled |= match kind {
                "reasoning" => false,
                "message" => {
                    let parts = || item.content.iter().flatten();
                    self.refused |= parts().any(|Object(part)| any_filled(&[&part.refusal]));
                    parts().any(|Object(part)| any_filled(&[&part.text, &part.refusal]))
                }
                "function_call" => {
                    let arguments = item.arguments.as_ref();
                    self.bad_call |= !arguments.is_some_and(|Bytes(json)| is_json(json));
                    true
                }
                _ => true,
            };
        }
    }

    fn check(&self, worth: Worth) -> Result<(), Fault> {
        if self.unfinished {
            return Err(Fault::IncompleteStatus);
        }
        let faults = [
            (self.bad_call, Fault::BadToolCall),
            (self.refused, Fault::Refused),
            (!self.filled, Fault::Empty),
        ];
        let mut met = faults.into_iter().filter(|(met, _)| *met);
        met.try_for_each(|(_, fault)| worth.check(fault))
    }
}

/// An event that ends the stream.
#[derive(Deserialize)]
struct Terminal<'a> {
    #[serde(borrow)]
    response: Object<Response<'a>>,
}

/// An event with a whole item.
#[derive(Deserialize)]
struct ItemDone<'a> {
    #[serde(borrow)]
    item: Object<Item<'a>>,
}

/// An event with a piece of text.
#[derive(Deserialize)]
struct TextDelta {
    delta: Filled,
}

/// Output is looked for in the items as well as in the last event: some servers leave it out there.
struct Rules {
    output: Output,
    worth: Worth,
}

impl Rules {
    /// Reads an event that does not end the stream.
    fn read(&mut self, kind: &str, data: &str) -> Result<(), serde_json::Error> {
        match kind {
            "response.output_item.done" => {
                let done = serde_json::from_str::<ItemDone<'_>>(data)?;
                self.output.add([&done.item]);
            }
            "response.output_text.delta" if !self.output.filled => {
                let TextDelta { delta } = serde_json::from_str(data)?;
                self.output.filled = any_filled(&[&Some(delta)]);
            }
            _ => {}
        }
        Ok(())
    }
}

impl StreamRules for Rules {
    fn event(&mut self, event: Event<'_>, seen: &mut Seen) {
        let Some((kind, data)) = named_event::read(event, seen) else {
            return;
        };
        let failed = match &*kind {
            "response.completed" => None,
            "response.incomplete" => Some(Fault::IncompleteStatus),
            "response.failed" => Some(Fault::ErrorObject),
            kind => {
                if self.read(kind, data).is_err() {
                    seen.fail(Fault::BadFrame);
                }
                return;
            }
        };
        let completed = match serde_json::from_str::<Terminal<'_>>(data) {
            Ok(Terminal {
                response: Object(response),
            }) => {
                seen.spent(response.usage());
                self.output
                    .add(response.output.as_deref().unwrap_or_default());
                response.completed(self.worth)
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
        self.output.check(self.worth)
    }
}
