//! The wire grammars: one file per API says what a request asks for, when an answer is complete
//! and what it cost.
//!
//! Pure: no I/O, no clock, no logging. In doubt an answer is not kept and a request not cached: a
//! wrong answer is worse than a miss.
//!
//! Adding an API: a file with a `GRAMMAR`, its `mod` line, and one line in the table of [`Api`]; see
//! `docs/apis.md`.

mod anthropic_count_tokens;
mod anthropic_messages;
mod candidates;
mod choices;
pub mod forms;
mod gemini;
mod gemini_count_tokens;
mod gemini_embed;
mod gemini_generate;
mod gemini_stream;
mod index_set;
pub mod items;
mod json_body;
mod lines;
mod multipart;
mod named_event;
mod ollama;
mod ollama_chat;
mod ollama_embed;
mod ollama_generate;
mod openai_chat;
mod openai_completions;
mod openai_embeddings;
mod openai_images;
mod openai_moderations;
mod openai_responses;
mod openai_speech;
mod openai_transcriptions;
mod output;
mod pieces;
mod place;
mod plain;
mod question;
mod reason;
mod request;
mod rerank;
pub mod sse;
mod stream;
#[cfg(test)]
mod tests;
mod texts;
#[cfg(test)]
mod transcripts;
mod vectors;
mod wire;
mod worth;

pub use json_body::BODY_BYTES_MAX;
pub use place::Place;
pub use question::{Question, Variant};
pub use reason::{Bypass, Fault};
pub use worth::Worth;

use place::{Pattern, Places};
use question::Reader;
use std::sync::LazyLock;

/// Version of all lists of [`Api::ignored_fields`] together. Raised whenever a list changes: an
/// entry made while a field was ignored may have been made with any value of it.
pub const IGNORED_FIELDS_VERSION: u16 = 2;

/// See [`Api::key_headers`].
const KEY_HEADERS: &[&str] = &[
    "anthropic-beta",
    "anthropic-version",
    "openai-beta",
    "x-anthropic-beta",
    // Google's: which fields of the answer come, of which audience, and of which version.
    "x-goog-api-version",
    "x-goog-fieldmask",
    "x-goog-visibilities",
    // Azure's: which content filter.
    "x-policy-id",
];

/// What a grammar file provides.
struct Grammar {
    label: &'static str,
    operation: &'static str,
    /// Its paths below a base URL, see [`place`].
    paths: &'static [Pattern],
    ignored: &'static [&'static str],
    /// Fields that only say in which form the answer is wanted: not in the digest of the body, but
    /// in the key all the same, see [`Variant`].
    framing: &'static [&'static str],
    sorted: &'static [&'static str],
    /// How a request body is read.
    read: Reader,
    /// `None`: the API does not answer in this form.
    judge: fn(&Facts, Form, Worth) -> Option<Box<dyn Judge>>,
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
    /// Gemini's answers in one piece.
    GeminiGenerate => gemini_generate,
    /// Gemini's answers in pieces.
    GeminiStream => gemini_stream,
    /// Gemini embeddings, one or many.
    GeminiEmbed => gemini_embed,
    /// Gemini's count of a prompt's tokens.
    GeminiCountTokens => gemini_count_tokens,
    /// Ollama chat.
    OllamaChat => ollama_chat,
    /// Ollama completions.
    OllamaGenerate => ollama_generate,
    /// Ollama embeddings, also the legacy form.
    OllamaEmbed => ollama_embed,
    /// Anthropic's count of a prompt's tokens.
    AnthropicCountTokens => anthropic_count_tokens,
    /// OpenAI moderations.
    OpenAiModerations => openai_moderations,
    /// OpenAI image generation.
    OpenAiImages => openai_images,
    /// OpenAI speech.
    OpenAiSpeech => openai_speech,
    /// OpenAI transcriptions and translations.
    OpenAiTranscriptions => openai_transcriptions,
    /// Rerank, as Cohere and Jina have it.
    Rerank => rerank,
}

impl Api {
    /// The metric label, such as `chat`, `responses` or `messages`.
    pub fn label(self) -> &'static str {
        self.grammar().label
    }

    /// What OpenTelemetry's GenAI conventions call it (`gen_ai.operation.name`).
    pub fn operation(self) -> &'static str {
        self.grammar().operation
    }

    /// The API behind a path relative to the base URL, such as `chat/completions`, and the model if
    /// the path names one. Exact: no leading or trailing slash, no query, nothing decoded.
    pub fn from_path(path: &str) -> Option<(Api, Option<&str>)> {
        static PLACES: LazyLock<Places> = LazyLock::new(|| {
            Places::of(Api::ALL.into_iter().map(|api| (api, api.grammar().paths)))
        });
        PLACES.find(path)
    }

    /// Whether a request body of this content type can be read. Not with a parameter that says how:
    /// some servers read another charset, some do not.
    pub fn takes(self, content_type: &str) -> bool {
        let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let is = |wanted: &str| media_type.trim().eq_ignore_ascii_case(wanted);
        let parameters = parameters.trim().to_ascii_lowercase().replace('"', "");
        // Ollama reads JSON whatever it is called: `curl -d` says it is a form, some SDKs say that it
        // is text, or nothing.
        let careless = matches!(
            self,
            Api::OllamaChat | Api::OllamaGenerate | Api::OllamaEmbed
        );
        if careless && matches!(parameters.as_str(), "" | "charset=utf-8") {
            return true;
        }
        match self.grammar().read {
            Reader::Multipart(_) => is("multipart/form-data"),
            Reader::Json(_) => {
                is("application/json") && matches!(parameters.as_str(), "" | "charset=utf-8")
            }
        }
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

    /// Whether servers take two fields for one whose names differ in nothing but case or underscores.
    pub fn reads_loosely(self) -> bool {
        match self {
            // Google reads every field in camel and in snake case.
            Api::GeminiGenerate | Api::GeminiStream => true,
            Api::GeminiEmbed | Api::GeminiCountTokens => true,
            // Go reads fields in any case.
            Api::OllamaChat | Api::OllamaGenerate | Api::OllamaEmbed => true,
            _ => false,
        }
    }

    /// Lower-case names of the request headers that change answers, the same for every API: gateways
    /// take one provider's headers on another's API.
    pub fn key_headers(self) -> &'static [&'static str] {
        KEY_HEADERS
    }

    /// Whether an answer in this form says itself where it ends.
    pub fn tells_its_end(self, form: Form) -> bool {
        let has_end = match self {
            // Some gateways give every event the reason that should be the last one's.
            Api::GeminiGenerate | Api::GeminiStream => false,
            _ => true,
        };
        match form {
            Form::Stream => has_end,
            Form::Json | Form::Lines => true,
            Form::Text | Form::Binary => false,
        }
    }

    /// A judge for one answer to a request with these facts; `None` if the API does not answer in
    /// this form.
    pub fn judge(self, facts: &Facts, form: Form, worth: Worth) -> Option<Box<dyn Judge>> {
        (self.grammar().judge)(facts, form, worth)
    }
}

/// The form of an answer, by its content type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// `text/event-stream`.
    Stream,
    /// `application/json`.
    Json,
    /// `application/x-ndjson`: a JSON value on each line.
    Lines,
    /// `text/…` other than an event stream.
    Text,
    /// `audio/…` and the like.
    Binary,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The model, by the body or else by the path; `None` unless it is a non-empty string.
    pub model: Option<String>,
    /// The form the answer is asked for in.
    pub form: Form,
    /// The same, as it is in the key.
    pub variant: Variant,
    /// How many choices were asked for; 1 where the API knows no choices.
    pub choices: u32,
    /// How many embeddings, results or the like were asked for; `None` if the input is of an
    /// unknown shape.
    pub items: Option<u32>,
    /// Whether embeddings in base64 are of 32-bit floats: no other numbers were asked for.
    pub floats: bool,
    /// From how many these are chosen, where they are.
    pub among: Option<u32>,
    /// Why this request must not be cached, a label of [`Bypass`].
    pub bypass: Option<&'static str>,
}

impl Default for Facts {
    fn default() -> Facts {
        Facts {
            model: None,
            form: Form::Json,
            variant: Variant::Json,
            choices: 1,
            items: None,
            floats: true,
            among: None,
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
