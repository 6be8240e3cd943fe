//! What is to be purged, as operators say it.

use serde::{Deserialize, Serialize};

use super::times;
use crate::key::Key;
use crate::store::about::About;
use crate::store::purge::Covers;

/// One of these, and no second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Everything; true.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub all: Option<bool>,
    /// One answer, by its key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    /// The answers of a model, as clients name it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<String>,
    /// The answers in a namespace.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub namespace: Option<String>,
    /// The answers of a tenant, by the 16 digits that lists show.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tenant: Option<String>,
    /// The answers stored longer ago.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub older_than: Option<String>,
}

/// What was asked for, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Entries that a rule covers.
    Covered(Covers),
    /// The answer of a key.
    Answer(Key),
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// What is purged, in words.
    pub purged: String,
    /// The number of the purge.
    pub generation: u64,
    /// Of a purge by key: whether there is an entry of the key. Without one it is not known what else
    /// answers the same question.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub found: Option<bool>,
    /// With a shared tier: whether the other replicas can know of it already (`told`), or as soon as the
    /// tier can be reached (`waiting`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fleet: Option<String>,
}

impl Purged {
    /// What became of a purge that holds. `told`: whether the fleet has been told, if there is one.
    pub fn new(covers: &Covers, generation: u64, told: Option<bool>) -> Purged {
        Purged {
            purged: in_words(covers),
            generation,
            found: match covers {
                Covers::Answer { question, .. } => Some(question.is_some()),
                _ => None,
            },
            fleet: told.map(|told| if told { "told" } else { "waiting" }.to_owned()),
        }
    }
}

impl Asked {
    /// Reads the body of a request.
    pub fn read(body: &[u8]) -> Result<Asked, String> {
        serde_json::from_slice(body).map_err(|e| format!("{e}; send {EXAMPLES}"))
    }

    /// What it means.
    pub fn what(&self, now_ms: u64) -> Result<What, String> {
        let texts = [
            ("key", &self.key),
            ("model", &self.model),
            ("namespace", &self.namespace),
            ("tenant", &self.tenant),
            ("older_than", &self.older_than),
        ];
        let mut said = texts
            .iter()
            .filter_map(|(name, text)| Some((*name, text.as_deref()?)));
        let covers = match (self.all, said.next(), said.next()) {
            (Some(true), None, _) => Covers::All,
            (Some(false), None, _) => return Err("`all` can only be true".to_owned()),
            (None, Some((_, "")), None) => {
                return Err("an empty name covers nothing that can be purged by it".to_owned());
            }
            (None, Some(("key", text)), None) => return Ok(What::Answer(key(text)?)),
            (None, Some((name, text)), None) => match name {
                // Names are kept up to a length.
                "model" => Covers::Model(about(text).model.into()),
                "namespace" => Covers::Namespace(about(text).namespace.into()),
                "tenant" => Covers::Tenant(tenant(text)?),
                _ => Covers::StoredBefore(times::ago(text, now_ms)?),
            },
            (None, None, _) => return Err(format!("nothing to purge is named; send {EXAMPLES}")),
            _ => return Err(format!("more than one thing is named; send {EXAMPLES}")),
        };
        Ok(What::Covered(covers))
    }
}

const EXAMPLES: &str = r#"one of {"all":true}, {"key":"…"}, {"model":"…"}, {"namespace":"…"}, {"tenant":"…"}, {"older_than":"7d"}"#;

/// A key of 64 digits.
pub fn key(text: &str) -> Result<Key, String> {
    Key::from_hex(text)
        .ok_or_else(|| "a key is 64 hexadecimal digits, as in `x-llm-cache-key`".to_owned())
}

fn about(name: &str) -> About {
    About::new("", Some(name), Some(name), [0; 8], [0; 8])
}

fn tenant(text: &str) -> Result<[u8; 8], String> {
    let mut tenant = [0; 8];
    hex::decode_to_slice(text, &mut tenant).map_err(|_| {
        "a tenant is 16 hexadecimal digits, as /cache/stats and /cache/entries give them".to_owned()
    })?;
    Ok(tenant)
}

/// In words, for the log and whoever asked.
pub fn in_words(covers: &Covers) -> String {
    match covers {
        Covers::All => "everything".to_owned(),
        Covers::Answer { key, .. } => format!("key {key}"),
        Covers::Model(model) => format!("model {model:?}"),
        Covers::Namespace(namespace) => format!("namespace {namespace:?}"),
        Covers::Tenant(tenant) => format!("tenant {}", hex::encode(tenant)),
        Covers::StoredBefore(ms) => format!("stored before {}", times::written(*ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 10 * 24 * 60 * 60 * 1000;

    fn what(body: &str) -> Result<What, String> {
        Asked::read(body.as_bytes())?.what(NOW)
    }

    #[test]
    fn one_thing_is_understood() {
        let key = Key::from_bytes([0xab; 32]);
        for (body, expected) in [
            (r#"{"all":true}"#.to_owned(), What::Covered(Covers::All)),
            (format!(r#"{{"key":"{key}"}}"#), What::Answer(key)),
            (
                r#"{"model":"gpt-4o","key":null}"#.to_owned(),
                What::Covered(Covers::Model("gpt-4o".into())),
            ),
            (
                r#"{"namespace":"evals"}"#.to_owned(),
                What::Covered(Covers::Namespace("evals".into())),
            ),
            (
                r#"{"tenant":"0102030405060708"}"#.to_owned(),
                What::Covered(Covers::Tenant([1, 2, 3, 4, 5, 6, 7, 8])),
            ),
            (
                r#"{"older_than":"10d"}"#.to_owned(),
                What::Covered(Covers::StoredBefore(0)),
            ),
            (
                format!(r#"{{"model":"{}"}}"#, "m".repeat(200)),
                What::Covered(Covers::Model("m".repeat(128))),
            ),
        ] {
            assert_eq!(what(&body), Ok(expected), "{body}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        for (body, word) in [
            ("", "EOF"),
            ("[]", "one of"),
            ("{}", "nothing"),
            (r#"{"all":null}"#, "nothing"),
            (r#"{"all":false}"#, "true"),
            (r#"{"all":"yes"}"#, "boolean"),
            (r#"{"all":true,"model":"x"}"#, "more than one"),
            (r#"{"all":false,"model":"x"}"#, "more than one"),
            (r#"{"model":"x","tenant":"y"}"#, "more than one"),
            (r#"{"model":"x","model":"y"}"#, "duplicate"),
            (r#"{"modle":"x"}"#, "modle"),
            (r#"{"model":""}"#, "empty"),
            (r#"{"namespace":""}"#, "empty"),
            (r#"{"key":"abc"}"#, "64"),
            (r#"{"tenant":"35551f35"}"#, "16"),
            (r#"{"older_than":"7"}"#, "length of time"),
            (r#"{"all":true} {}"#, "trailing"),
        ] {
            let why = what(body).unwrap_err();
            assert!(why.contains(word), "{body}: {why}");
        }
    }
}
