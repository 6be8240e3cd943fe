//! OpenAI transcriptions and translations: `audio/transcriptions` and `audio/translations`. The
//! request is `multipart/form-data`, see [`multipart`](super::multipart).
//!
//! A JSON answer is complete iff it has a `text`. A stream is complete iff its last event is
//! `transcript.text.done`, and no error came before. Text (`text`, `srt`, `vtt`) has no end of its
//! own, see [`plain`].
//!
//! Complete, yet not worth keeping unless the operator says so: no text at all.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::json_body::{JsonJudge, Reading};
use super::multipart::Parts;
use super::pieces::{self, Kinds};
use super::plain;
use super::question::Reader;
use super::wire::{Counts, Filled, InputUsage, Object, any_filled};
use super::{Bypass, Facts, Fault, Form, Grammar, Judge, Place, Variant, Worth};

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "transcriptions",
    operation: "generate_content",
    paths: &[
        "audio/transcriptions",
        "openai/v1/audio/transcriptions",
        "openai/deployments/{model}/audio/transcriptions",
        "deployments/{model}/audio/transcriptions",
        "audio/translations",
        "openai/v1/audio/translations",
        "openai/deployments/{model}/audio/translations",
        "deployments/{model}/audio/translations",
    ],
    ignored: &[],
    framing: &[],
    sorted: &[],
    read: Reader::Multipart(facts),
    judge,
};

const STREAM: Kinds = Kinds {
    piece: "transcript.text.delta",
    end: "transcript.text.done",
};

fn facts(parts: &Parts<'_>, place: &Place<'_>) -> Facts {
    let model = match parts.has("model") {
        true => parts.text("model"),
        false => place.model,
    };
    let model = model.filter(|model| !model.is_empty()).map(str::to_owned);
    let streams = read(parts, "stream", |stream| match stream {
        None | Some("false") => Some(false),
        Some("true") => Some(true),
        Some(_) => None,
    });
    let form = read(parts, "response_format", |format| match format {
        None | Some("json" | "verbose_json" | "diarized_json") => Some(Form::Json),
        Some("text" | "srt" | "vtt") => Some(Form::Text),
        Some(_) => None,
    });
    let bypass = match (&model, streams, form) {
        (None, ..) => Some(Bypass::NoModel),
        (_, None, _) => Some(Bypass::OddStream),
        (.., None) => Some(Bypass::OddFormat),
        // Groq fetches the sound from there.
        _ if parts.has("url") => Some(Bypass::FileId),
        _ => None,
    };
    let form = match streams {
        Some(true) => Form::Stream,
        _ => form.unwrap_or(Form::Json),
    };
    Facts {
        model,
        form,
        variant: Variant::InBody,
        bypass: bypass.map(Bypass::label),
        ..Facts::default()
    }
}

/// What a field says, if it is there; `None` if it is a file or says something else.
fn read<T>(parts: &Parts<'_>, name: &str, of: impl Fn(Option<&str>) -> Option<T>) -> Option<T> {
    match parts.has(name) {
        true => of(Some(parts.text(name)?)),
        false => of(None),
    }
}

fn judge(_: &Facts, form: Form, worth: Worth) -> Option<Box<dyn Judge>> {
    match form {
        Form::Stream => Some(pieces::judge(STREAM, worth)),
        Form::Json => Some(JsonJudge::boxed(move |body| check(body, worth))),
        Form::Text => Some(plain::judge(form, worth)),
        Form::Lines | Form::Binary => None,
    }
}

fn check(body: &str, worth: Worth) -> Result<Reading, serde_json::Error> {
    #[derive(Deserialize)]
    struct Answer {
        error: Option<IgnoredAny>,
        text: Option<Filled>,
        /// Seconds instead of tokens for some models.
        usage: Option<Counts<InputUsage>>,
    }
    let Object(answer) = serde_json::from_str::<Object<Answer>>(body)?;
    let keep = if answer.error.is_some() {
        Err(Fault::ErrorObject)
    } else if answer.text.is_none() {
        Err(Fault::BadShape)
    } else if any_filled(&[&answer.text]) {
        Ok(())
    } else {
        worth.check(Fault::Empty)
    };
    Ok((keep, answer.usage.and_then(|usage| usage.0?.usage())))
}
