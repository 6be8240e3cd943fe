//! OpenAI speech: `audio/speech`. The answer is the sound itself, or a stream of its pieces.
//!
//! Sound has no end of its own: it is complete iff the connection says so, and kept unless it is
//! empty, see [`plain`]. A stream (`stream_format: "sse"`) is complete iff its last event is
//! `speech.audio.done`, at least one piece came, and no error.

use super::pieces::{self, Kinds};
use super::place::openai_paths;
use super::plain;
use super::question::Reader;
use super::request::Request;
use super::{Bypass, Facts, Form, Grammar, Judge, Place, Worth};
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

const STREAM: Kinds = Kinds {
    piece: "speech.audio.delta",
    end: "speech.audio.done",
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
        Form::Stream => Some(pieces::judge(STREAM, worth)),
        Form::Binary => Some(plain::judge(form, worth)),
        Form::Json | Form::Lines | Form::Text => None,
    }
}
