//! OpenAI images: `images/generations`.
//!
//! A JSON answer is complete iff it has as many pictures as were asked for, each in base64. One that
//! only links to them is not kept: the links die after an hour or so.
//!
//! A stream is complete iff its last event is `image_generation.completed` with a picture, and no
//! error came before. With several pictures nobody knows which event is the last: not cached.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::json_body::{JsonJudge, Reading};
use super::named_event;
use super::place::openai_paths;
use super::question::Reader;
use super::request::Request;
use super::sse::Event;
use super::stream::{Seen, StreamJudge, StreamRules};
use super::wire::{Counts, Filled, InputUsage, Object, Text, any_filled, text};
use super::{Facts, Fault, Form, Grammar, Judge, Place, Worth};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "images",
    operation: "generate_content",
    paths: openai_paths!("images/generations"),
    ignored: &["user"],
    framing: &[],
    sorted: &[],
    read: Reader::Json(facts),
    judge,
};

fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    let mut request = Request::new(body, place);
    request.read_stream();
    request.read_choices(1);
    request.refuse_streamed_choices();
    request.facts()
}

fn judge(facts: &Facts, form: Form, worth: Worth) -> Option<Box<dyn Judge>> {
    let asked = facts.choices;
    match form {
        Form::Stream => Some(StreamJudge::boxed(Rules {
            worth,
            filled: false,
        })),
        Form::Json => Some(JsonJudge::boxed(move |body| read(body, asked, worth))),
        Form::Lines | Form::Text | Form::Binary => None,
    }
}

fn read(body: &str, asked: u32, worth: Worth) -> Result<Reading, serde_json::Error> {
    let Object(answer) = serde_json::from_str::<Object<Answer<'_>>>(body)?;
    let keep = check(&answer, asked, worth);
    Ok((keep, answer.usage.and_then(|usage| usage.0?.usage())))
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    object: Option<Text<'a>>,
    error: Option<IgnoredAny>,
    #[serde(borrow)]
    data: Option<Vec<Option<Object<Picture<'a>>>>>,
    usage: Option<Counts<InputUsage>>,
}

#[derive(Deserialize)]
struct Picture<'a> {
    b64_json: Option<Filled>,
    #[serde(borrow)]
    url: Option<Text<'a>>,
}

fn check(answer: &Answer<'_>, asked: u32, worth: Worth) -> Result<(), Fault> {
    if answer.error.is_some() || text(&answer.object) == "error" {
        return Err(Fault::ErrorObject);
    }
    let pictures = answer.data.as_deref().unwrap_or_default();
    if pictures.len() as u64 != u64::from(asked) {
        worth.check(Fault::WrongCount)?;
    }
    for picture in pictures {
        let Some(Object(picture)) = picture else {
            worth.check(Fault::NullItem)?;
            continue;
        };
        let url = text(&picture.url);
        let inline = url.strip_prefix("data:");
        if !url.is_empty() && inline.is_none() {
            return Err(Fault::ExpiringLink);
        }
        let content = inline.and_then(|inline| inline.split_once(','));
        let filled = content.is_some_and(|(_, content)| !content.is_empty());
        if !filled && !any_filled(&[&picture.b64_json]) {
            worth.check(Fault::NullItem)?;
        }
    }
    Ok(())
}

/// The event that ends a stream.
#[derive(Deserialize)]
struct Completed {
    b64_json: Option<Filled>,
    usage: Option<Counts<InputUsage>>,
}

struct Rules {
    worth: Worth,
    filled: bool,
}

impl StreamRules for Rules {
    fn event(&mut self, event: Event<'_>, seen: &mut Seen) {
        let Some((kind, data)) = named_event::read(event, seen) else {
            return;
        };
        if kind != "image_generation.completed" {
            return;
        }
        match serde_json::from_str::<Completed>(data) {
            Ok(completed) => {
                self.filled = any_filled(&[&completed.b64_json]);
                seen.spent(completed.usage.and_then(|usage| usage.0?.usage()));
            }
            Err(_) => seen.fail(Fault::BadFrame),
        }
        seen.end();
    }

    fn may_follow_end(&self, event: Event<'_>) -> bool {
        named_event::is_sentinel(event)
    }

    fn complete(&self) -> Result<(), Fault> {
        match self.filled {
            true => Ok(()),
            false => self.worth.check(Fault::NullItem),
        }
    }
}
