//! From a request body to what is asked: facts, and the digest that goes into the key.

use super::items::{self, Items};
use super::multipart::Parts;
use super::{Api, Facts, IGNORED_FIELDS_VERSION, Place};
use crate::key::canonical::{Canonical, Sorting, canonicalize};

#[cfg(test)]
mod tests;

/// How an API's request bodies are read.
pub(super) enum Reader {
    /// A JSON object.
    Json(fn(&Canonical, &Place<'_>) -> Facts),
    /// A form, see [`super::multipart`].
    Multipart(fn(&Parts<'_>, &Place<'_>) -> Facts),
}

/// What a body asks.
#[derive(Debug)]
pub struct Question {
    /// What routing, policy and judging need to know.
    pub facts: Facts,
    /// Digest of everything in the body that may change the answer, or why there is none.
    pub digest: Result<[u8; 32], &'static str>,
    /// The texts of a request for embeddings, which are also kept one by one.
    pub items: Option<Box<Items>>,
}

/// In which form an answer is asked for. Each variant is kept under a key of its own; an answer in
/// one can be made from another where nothing is lost, see [`super::forms`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Variant {
    /// In one piece.
    #[default]
    Json,
    /// As a stream.
    Stream,
    /// As a stream that ends with a chunk of usage (`stream_options.include_usage`).
    StreamUsage,
    /// In a way that only its own recording can answer.
    Other(String),
    /// The digest of the body says it.
    InBody,
}

impl Variant {
    /// The variant as it stands in the key; no two are the same.
    pub fn tag(&self) -> &str {
        match self {
            Variant::Json => "json",
            Variant::Stream => "stream",
            Variant::StreamUsage => "stream+usage",
            Variant::Other(options) => options,
            Variant::InBody => "",
        }
    }
}

impl Question {
    /// What cannot be told, for this reason.
    pub fn unread(reason: &'static str) -> Question {
        Question {
            facts: Facts::default(),
            digest: Err(reason),
            items: None,
        }
    }
}

impl Api {
    /// Reads a request body of a type that the API [`takes`](Api::takes). `content_type` is the
    /// whole header value: a form's says where its parts end.
    pub fn question(self, place: &Place<'_>, content_type: &str, body: &[u8]) -> Question {
        match self.grammar().read {
            Reader::Json(facts) => self.json_question(facts, place, body),
            Reader::Multipart(facts) => match Parts::read(content_type, body) {
                Ok(parts) => {
                    let facts = facts(&parts, place);
                    let digest = facts.bypass.map_or_else(|| Ok(parts.digest()), Err);
                    Question {
                        facts,
                        digest,
                        items: None,
                    }
                }
                Err(reject) => Question::unread(reject.reason()),
            },
        }
    }

    /// What stands in the key for the API and for what of its requests is left out of it.
    pub fn key_label(self) -> String {
        format!("{}/{IGNORED_FIELDS_VERSION}", self.label())
    }

    fn json_question(
        self,
        facts: fn(&Canonical, &Place<'_>) -> Facts,
        place: &Place<'_>,
        body: &[u8],
    ) -> Question {
        let sorted = self.sorted_fields();
        let sorting = match self.reads_loosely() {
            true => Sorting::Loosely(sorted),
            false => Sorting::Within(sorted),
        };
        match canonicalize(body, self.ignored_fields(), sorting) {
            Ok(canonical) => {
                let facts = facts(&canonical, place);
                let digest = || canonical.digest_without(self.grammar().framing);
                let digest = facts.bypass.map_or_else(|| Ok(digest()), Err);
                let items = match (self, &digest) {
                    (Api::OpenAiEmbeddings, Ok(_)) => items::of(&canonical).map(Box::new),
                    _ => None,
                };
                Question {
                    facts,
                    digest,
                    items,
                }
            }
            Err(reject) => Question::unread(reject.reason()),
        }
    }
}
