//! What an entry is about: what listing, counting and purging tell entries apart by.
//!
//! It says which model was asked by whom, in digests where it is about people, and nothing of the
//! question.

use super::record::{Reader, RecordError};

/// Bytes of a model's name that are kept; longer names are cut.
const MODEL_LEN_MAX: usize = 128;
/// Bytes of any name at most: its length is one byte. Namespaces are checked to be shorter.
const NAME_LEN_MAX: usize = u8::MAX as usize;
/// Bytes of an API's label that are kept; all of ours are shorter.
const API_LEN_MAX: usize = 64;

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// The API asked, as in metrics.
    pub api: Box<str>,
    /// The model asked for, as the client wrote it; empty if it named none.
    pub model: Box<str>,
    /// The namespace the client put the entry into; empty if it named none.
    pub namespace: Box<str>,
    /// The beginning of the tenant's digest; zeros where entries are shared.
    pub tenant: [u8; 8],
    /// The same for all forms of the answer to one question, and for nothing else.
    pub question: [u8; 8],
}

impl About {
    /// Takes the names, cut to what is kept of them.
    pub fn new(
        api: &str,
        model: Option<&str>,
        namespace: Option<&str>,
        tenant: [u8; 8],
        question: [u8; 8],
    ) -> About {
        About {
            api: cut(api, API_LEN_MAX).into(),
            model: cut(model.unwrap_or_default(), MODEL_LEN_MAX).into(),
            namespace: cut(namespace.unwrap_or_default(), NAME_LEN_MAX).into(),
            tenant,
            question,
        }
    }

    /// Bytes of the encoded form.
    pub fn encoded_len(&self) -> usize {
        3 + self.api.len() + self.model.len() + self.namespace.len() + 16
    }

    /// Appends three strings, each behind its length in one byte, and two digests.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for text in [&self.api, &self.model, &self.namespace] {
            let text = cut(text, NAME_LEN_MAX);
            out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(&self.tenant);
        out.extend_from_slice(&self.question);
    }

    /// Reads what [`About::encode`] wrote.
    pub fn decode(rest: &mut Reader<'_>) -> Result<About, RecordError> {
        let mut text = || -> Result<Box<str>, RecordError> {
            let len = usize::from(rest.u8()?);
            let text = std::str::from_utf8(rest.take(len)?).map_err(|_| RecordError::Field)?;
            Ok(text.into())
        };
        let (api, model, namespace) = (text()?, text()?, text()?);
        Ok(About {
            api,
            model,
            namespace,
            tenant: rest.array()?,
            question: rest.array()?,
        })
    }
}

/// The longest beginning of a text with at most so many bytes.
fn cut(text: &str, len_max: usize) -> &str {
    let fits = |end: &usize| *end <= len_max;
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(fits).last().unwrap_or(0);
    text.get(..end).unwrap_or_default()
}
