//! The judge of one API, named by `FUZZ_API` (`list` prints the names). It panics on nothing, its
//! verdict does not depend on how the body is cut into chunks, and what it keeps is whole: every frame
//! is JSON, and no beginning of the body is kept as well.
//!
//! The first four bytes say what was asked for: the form, how many choices or items, and the lengths of
//! two chunks, over and over. The rest is the body.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use llm_cache_server::api::{Api, Facts, Fault, Form, Verdict, Worth};
use serde::de::IgnoredAny;

#[path = "shared/events.rs"]
mod events;

use events::{Events, events};

const FORMS: [Form; 5] = [
    Form::Stream,
    Form::Json,
    Form::Lines,
    Form::Text,
    Form::Binary,
];

static API: LazyLock<Api> = LazyLock::new(|| {
    let wanted = std::env::var("FUZZ_API").unwrap_or_default();
    if wanted == "list" {
        Api::ALL.iter().for_each(|api| println!("{}", api.label()));
        std::process::exit(0);
    }
    let mut all = Api::ALL.into_iter();
    all.find(|api| api.label() == wanted)
        .expect("FUZZ_API is the label of an API, or `list`")
});

fuzz_target!(init: { LazyLock::force(&API); }, |input: &[u8]| {
    if let Some((&[form, asked, one, other], body)) = input.split_first_chunk::<4>() {
        let form = FORMS[usize::from(form.wrapping_sub(b'0')) % FORMS.len()];
        // Seven and more: nobody knows how many items.
        let asked = u32::from(asked.wrapping_sub(b'0') % 8);
        let facts = Facts {
            choices: asked.clamp(1, 6),
            items: (asked < 7).then_some(asked),
            form,
            ..Facts::default()
        };
        // Some chunks may be empty, but not all.
        check(&Asked { api: *API, facts, form }, [one.max(1), other], body);
    }
});

struct Asked {
    api: Api,
    facts: Facts,
    form: Form,
}

impl Asked {
    /// The form that is read: embeddings are JSON, whatever the content type says.
    fn read_as(&self) -> Form {
        match self.api {
            Api::OpenAiEmbeddings => Form::Json,
            _ => self.form,
        }
    }

    /// `None`: the API does not answer in this form.
    fn verdict<'c>(&self, worth: Worth, chunks: impl Iterator<Item = &'c [u8]>) -> Option<Verdict> {
        let mut judge = self.api.judge(&self.facts, self.form, worth)?;
        chunks.for_each(|chunk| judge.push(chunk));
        Some(judge.finish())
    }

    fn whole(&self, worth: Worth, body: &[u8]) -> Option<Verdict> {
        self.verdict(worth, [body].into_iter())
    }

    /// Gemini's streams have no end of their own, see `src/api/candidates.rs`.
    fn ends_anywhere(&self) -> bool {
        let gemini = ["generate_content", "stream_generate_content"];
        self.form == Form::Stream && gemini.contains(&self.api.label())
    }
}

fn check(asked: &Asked, lengths: [u8; 2], body: &[u8]) {
    let Some(strict) = asked.whole(Worth::default(), body) else {
        return;
    };
    let all = Fault::ALL.into_iter().fold(Worth::default(), Worth::and);
    let lenient = asked.whole(all, body).expect("it had a judge before");
    for (worth, whole) in [(Worth::default(), &strict), (all, &lenient)] {
        let bytes = asked.verdict(worth, body.chunks(1));
        assert_eq!(bytes.as_ref(), Some(whole), "byte by byte");
        let chunks = asked.verdict(worth, chunks(body, lengths));
        assert_eq!(chunks.as_ref(), Some(whole), "in chunks of {lengths:?}");
        assert!(whole.keep.is_err() || !whole.cut, "kept, yet cut");
    }
    assert_eq!(strict.usage, lenient.usage);
    assert_eq!(strict.cut, lenient.cut);
    match (strict.keep, lenient.keep) {
        (Ok(()), lenient) => assert_eq!(lenient, Ok(())),
        (Err(fault), Ok(())) => {
            let mut tolerated = Worth::SWITCHABLE.iter();
            assert!(tolerated.any(|known| known.label() == fault), "{fault}");
        }
        (Err(_), Err(_)) => {}
    }
    if lenient.keep.is_ok() {
        check_frames(asked, body);
        check_beginnings(asked, all, body);
        check_addition(asked, all, body, &lenient);
    }
    if strict.keep.is_ok() {
        check_beginnings(asked, Worth::default(), body);
    }
}

fn chunks(body: &[u8], lengths: [u8; 2]) -> impl Iterator<Item = &[u8]> {
    let mut rest = body;
    let mut lengths = lengths.into_iter().cycle();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let len = usize::from(lengths.next()?).min(rest.len());
        let (chunk, tail) = rest.split_at(len);
        rest = tail;
        Some(chunk)
    })
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Whatever is kept is JSON, frame by frame.
fn check_frames(asked: &Asked, body: &[u8]) {
    match asked.read_as() {
        Form::Json => assert!(is_json(body)),
        Form::Lines => {
            let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            assert!(lines.filter(|line| !line.is_empty()).all(is_json));
        }
        Form::Stream => {
            let Events { events, open } = events(body);
            assert!(!open, "it ends inside a frame");
            for (name, data) in &events {
                // Nothing is read of a ping.
                let free = name == b"ping" || data == b"[DONE]";
                assert!(free || is_json(data), "{}", data.escape_ascii());
                assert!(name != b"error");
            }
        }
        Form::Text | Form::Binary => {}
    }
}

/// No beginning of what is kept is kept as well, unless it says the same.
fn check_beginnings(asked: &Asked, worth: Worth, body: &[u8]) {
    if matches!(asked.read_as(), Form::Text | Form::Binary) {
        return;
    }
    for end in cuts(body) {
        let beginning = &body[..end];
        let verdict = asked
            .whole(worth, beginning)
            .expect("it had a judge before");
        match (verdict.keep, asked.read_as()) {
            (Ok(()), Form::Stream) => {
                let (part, whole) = (events(beginning), events(body));
                assert!(!part.open);
                assert!(whole.events.starts_with(&part.events));
                let rest = &whole.events[part.events.len()..];
                let sentinels = rest.iter().all(|(_, data)| data == b"[DONE]");
                assert!(sentinels || asked.ends_anywhere(), "kept up to {end}");
            }
            (Ok(()), _) => assert!(body[end..].trim_ascii().is_empty(), "kept up to {end}"),
            (Err(fault), _) if !asked.ends_anywhere() => {
                assert!(verdict.cut, "{fault} up to {end}");
            }
            (Err(_), _) => {}
        }
    }
}

/// Some places: the last ones, the ends of lines, and others that depend on the body.
fn cuts(body: &[u8]) -> impl Iterator<Item = usize> {
    let last = (0..body.len()).rev().take(16);
    let lines = memchr::memchr_iter(b'\n', body).flat_map(|at| [at, at + 1]);
    let lines = lines.filter(|at| *at < body.len()).take(32);
    let mut seed = xxhash_rust::xxh3::xxh3_64(body);
    let others = std::iter::from_fn(move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Some((seed >> 33) as usize % body.len().max(1))
    });
    last.chain(lines)
        .chain(others.take(16).filter(|_| !body.is_empty()))
}

/// White space behind JSON and a comment behind a stream change nothing.
fn check_addition(asked: &Asked, worth: Worth, body: &[u8], verdict: &Verdict) {
    let addition: &[u8] = match asked.read_as() {
        Form::Json => b" \n",
        Form::Lines => b"\n\n",
        Form::Stream => b": comment\n\n",
        Form::Text | Form::Binary => return,
    };
    let longer = [body, addition].concat();
    assert_eq!(asked.whole(worth, &longer).as_ref(), Some(verdict));
}
