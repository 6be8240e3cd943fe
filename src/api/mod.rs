//! The wire grammars: one file per API says what a request asks for, when an answer is complete
//! and what it cost.
//!
//! Pure: no I/O, no clock, no logging. In doubt an answer is not kept and a request not cached: a
//! wrong answer is worse than a miss.
//!
//! Adding an API: a file with a `GRAMMAR`, its `mod` line, and one line in the table of [`Api`].

mod anthropic_messages;
mod choices;
pub mod forms;
mod index_set;
mod json_body;
mod named_event;
mod openai_chat;
mod openai_completions;
mod openai_embeddings;
mod openai_responses;
mod output;
mod reason;
mod request;
pub mod sse;
mod stream;
#[cfg(test)]
mod tests;
mod texts;
mod wire;

pub use json_body::BODY_BYTES_MAX;
pub use reason::{Bypass, Fault};

use crate::key::canonical::Canonical;

/// Version of all lists of [`Api::ignored_fields`] together. Raised whenever a list changes: an
/// entry made while a field was ignored may have been made with any value of it.
pub const IGNORED_FIELDS_VERSION: u16 = 1;

/// What a grammar file provides.
struct Grammar {
    label: &'static str,
    operation: &'static str,
    path: &'static str,
    ignored: &'static [&'static str],
    sorted: &'static [&'static str],
    key_headers: &'static [&'static str],
    facts: fn(&Canonical) -> Facts,
    judge: fn(&Facts, Form) -> Box<dyn Judge>,
}

macro_rules! apis {
    ($($(#[$doc:meta])* $api:ident => $file:ident,)+) => {
        /// An API whose answers can be judged, hence cached.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Api { $($(#[$doc])* $api),+ }

        impl Api {
            /// Every API, in a fixed order.
            pub const ALL: [Api; [$(stringify!($api)),+].len()] = [$(Api::$api),+];

            fn grammar(self) -> &'static Grammar {
                match self { $(Api::$api => &$file::GRAMMAR),+ }
            }
        }
    };
}

apis! {
    /// OpenAI chat completions, and the many servers that speak it.
    OpenAiChat => openai_chat,
    /// OpenAI completions, the legacy form.
    OpenAiCompletions => openai_completions,
    /// OpenAI embeddings.
    OpenAiEmbeddings => openai_embeddings,
    /// OpenAI responses.
    OpenAiResponses => openai_responses,
    /// Anthropic messages.
    AnthropicMessages => anthropic_messages,
}

impl Api {
    /// The metric label: `chat`, `completions`, `embeddings`, `responses` or `messages`.
    pub fn label(self) -> &'static str {
        self.grammar().label
    }

    /// What OpenTelemetry's GenAI conventions call it (`gen_ai.operation.name`).
    pub fn operation(self) -> &'static str {
        self.grammar().operation
    }

    /// The API behind a path relative to the base URL, such as `chat/completions`. Exact: no
    /// leading or trailing slash, no query.
    pub fn from_path(path: &str) -> Option<Api> {
        Api::ALL.into_iter().find(|api| api.grammar().path == path)
    }

    /// Top-level request fields that do not change the answer, see [`IGNORED_FIELDS_VERSION`].
    pub fn ignored_fields(self) -> &'static [&'static str] {
        self.grammar().ignored
    }

    /// Top-level request fields inside which the order of keys means nothing. Inside all others it is
    /// part of the question: providers answer structured outputs in the order of a schema's
    /// properties, and servers take schemas under many names.
    pub fn sorted_fields(self) -> &'static [&'static str] {
        self.grammar().sorted
    }

    /// Lower-case names of the request headers that change answers.
    pub fn key_headers(self) -> &'static [&'static str] {
        self.grammar().key_headers
    }

    /// What a request asks for, and whether it may be cached at all.
    pub fn facts(self, body: &Canonical) -> Facts {
        (self.grammar().facts)(body)
    }

    /// A judge for one answer to a request with these facts.
    pub fn judge(self, facts: &Facts, form: Form) -> Box<dyn Judge> {
        (self.grammar().judge)(facts, form)
    }
}

/// The form of an answer, by its content type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// `text/event-stream`.
    Stream,
    /// `application/json`.
    Json,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The `model` field, `None` unless it is a non-empty string.
    pub model: Option<String>,
    /// True if the answer is asked for as an event stream.
    pub stream: bool,
    /// How many choices were asked for; 1 where the API knows no choices.
    pub choices: u32,
    /// How many embeddings were asked for; `None` if the input is of an unknown shape.
    pub items: Option<u32>,
    /// Why this request must not be cached, a label of [`Bypass`].
    pub bypass: Option<&'static str>,
}

impl Default for Facts {
    fn default() -> Facts {
        Facts {
            model: None,
            stream: false,
            choices: 1,
            items: None,
            bypass: None,
        }
    }
}

/// Watches one answer's body go by. Cheap enough for a proxy thread: streams are judged frame by
/// frame, JSON bodies are kept up to [`BODY_BYTES_MAX`] and read once at the end.
pub trait Judge: Send + Sync {
    /// Takes the next piece of the body, cut anywhere.
    fn push(&mut self, chunk: &[u8]);
    /// The body is over, cleanly or not.
    fn finish(self: Box<Self>) -> Verdict;
}

/// What a judge found.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Whether the answer is complete and worth keeping, else a label of [`Fault`].
    pub keep: Result<(), &'static str>,
    /// True if the body ends before its grammar says so. False if nobody can tell, that is if a
    /// limit was passed.
    pub cut: bool,
    /// Tokens the provider counted, if it said so; also of answers that are not kept.
    pub usage: Option<Usage>,
}

impl Verdict {
    fn new(keep: Result<(), Fault>, cut: bool, usage: Option<Usage>) -> Verdict {
        Verdict {
            keep: keep.map_err(Fault::label),
            cut,
            usage,
        }
    }
}

/// Tokens of one answer. Input includes what the provider read from its own prompt cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the request.
    pub input: u64,
    /// Tokens of the answer.
    pub output: u64,
}
