//! OpenAI speech: `audio/speech`. The answer is the sound itself, or a stream of its pieces.
//!
//! Sound has no end of its own: it is complete iff the connection says so, and kept unless it is
//! empty, see [`plain`]. A stream (`stream_format: "sse"`) is complete iff its last event is
//! `speech.audio.done`, at least one piece came, and no error.

use serde::Deserialize;

use super::named_event;
use super::place::openai_paths;
use super::plain;
use super::question::Reader;
use super::request::Request;
use super::sse::Event;
use super::stream::{Seen, StreamJudge, StreamRules};
use super::wire::{Filled, InputUsage, Object, any_filled};
use super::{Bypass, Facts, Fault, Form, Grammar, Judge, Place, Worth};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "speech",
    operation: "generate_content",
    paths: openai_paths!("audio/speech"),
    ignored: &[],
    framing: &[],
    sorted: &[],
    read: Reader::Json(facts),
    judge,
};

fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    let mut request = Request::new(body, place);
    let form = match body.get("stream_format") {
        None | Some(b"null" | br#""audio""#) => Some(Form::Binary),
        Some(br#""sse""#) => Some(Form::Stream),
        Some(_) => None,
    };
    request.refuse_if(form.is_none(), Bypass::OddFormat);
    request.set_form(form.unwrap_or(Form::Binary));
    request.facts()
}

fn judge(_: &Facts, form: Form, worth: Worth) -> Option<Box<dyn Judge>> {
    match form {
        Form::Stream => Some(StreamJudge::boxed(Rules {
            worth,
            filled: false,
        })),
        Form::Binary => Some(plain::judge(form, worth)),
        Form::Json | Form::Lines | Form::Text => None,
    }
}

/// A piece of sound.
#[derive(Deserialize)]
struct Delta {
    audio: Option<Filled>,
}

/// The event that ends a stream.
#[derive(Deserialize)]
struct Done {
    usage: Option<Object<InputUsage>>,
}

struct Rules {
    worth: Worth,
    filled: bool,
}

impl Rules {
    fn read(&mut self, kind: &str, data: &str, seen: &mut Seen) -> Result<(), serde_json::Error> {
        match kind {
            "speech.audio.delta" => {
                let delta = serde_json::from_str::<Delta>(data)?;
                self.filled |= any_filled(&[&delta.audio]);
            }
            "speech.audio.done" => {
                seen.end();
                let done = serde_json::from_str::<Done>(data)?;
                seen.spent(done.usage.and_then(|usage| usage.0.usage()));
            }
            _ => {}
        }
        Ok(())
    }
}

impl StreamRules for Rules {
    fn event(&mut self, event: Event<'_>, seen: &mut Seen) {
        if let Some((kind, data)) = named_event::read(event, seen)
            && self.read(&kind, data, seen).is_err()
        {
            seen.fail(Fault::BadFrame);
        }
    }

    fn may_follow_end(&self, event: Event<'_>) -> bool {
        named_event::is_sentinel(event)
    }

    fn complete(&self) -> Result<(), Fault> {
        match self.filled {
            true => Ok(()),
            false => self.worth.check(Fault::Empty),
        }
    }
}
