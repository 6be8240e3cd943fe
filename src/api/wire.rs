//! Building blocks for reading answers: strict about shape, forgiving about token counts, and
//! without keeping content.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Usage;

/// A `T` that was a JSON object. Derived structs alone also accept arrays.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

/// An object of which nothing is asked.
#[derive(Deserialize)]
pub(super) struct IgnoredObject {}

/// A string, borrowed unless it has escapes, also inside an `Option`.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// The text of an optional string; absent, null and empty are the same: several servers send an
/// empty `finish_reason` in every chunk but the last.
pub(super) fn text<'a>(text: &'a Option<Text<'_>>) -> &'a str {
    text.as_ref().map_or("", |text| &text.0)
}

/// Text in bytes, borrowed unless it has escapes. Half of a surrogate pair is let through: servers
/// that cut text into chunks may cut there.
pub(super) struct Bytes<'a>(pub(super) Cow<'a, [u8]>);

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl<'de> Visitor<'de> for BytesVisitor {
            type Value = Cow<'de, [u8]>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_bytes<E: Error>(self, text: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_vec()))
            }
        }
        // Read as bytes alone, a string might hold line ends and the like, which is no JSON.
        let text = <&RawValue>::deserialize(deserializer)?.get();
        let mut reader = serde_json::Deserializer::from_str(text);
        let text = reader.deserialize_bytes(BytesVisitor);
        text.map(Bytes).map_err(D::Error::custom)
    }
}

/// True if a string or array had something in it.
pub(super) struct Filled(bool);

impl<'de> Deserialize<'de> for Filled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = <&RawValue>::deserialize(deserializer)?.get();
        match value.as_bytes() {
            [b'"', inner @ .., b'"'] => Ok(Filled(!inner.is_empty())),
            [b'[', inner @ .., b']'] => Ok(Filled(!inner.trim_ascii().is_empty())),
            _ => Err(D::Error::custom("neither a string nor an array")),
        }
    }
}

/// True if at least one of these is there and has something in it.
pub(super) fn any_filled(values: &[&Option<Filled>]) -> bool {
    values
        .iter()
        .any(|value| matches!(value, Some(Filled(true))))
}

/// A token count; anything but a whole number counts as absent, because usage says nothing about
/// whether an answer is complete.
#[derive(Clone, Copy, Default)]
pub(super) struct Count(pub(super) Option<u64>);

impl Count {
    /// This count, or the earlier one where this one is absent.
    pub(super) fn or(self, earlier: Count) -> Count {
        Count(self.0.or(earlier.0))
    }

    /// Both together; an absent one counts nothing beside one that is there.
    pub(super) fn plus(self, other: Count) -> Count {
        let both = self.0.zip(other.0).map(|(a, b)| a.saturating_add(b));
        Count(both.or(self.0).or(other.0))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As text: a number beyond all limits is an error to who reads it as one.
        let value = <&RawValue>::deserialize(deserializer)?.get();
        Ok(Count(value.parse().ok()))
    }
}

/// An object of counts; anything else counts as absent, for the same reason.
pub(super) struct Counts<T>(pub(super) Option<T>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Counts<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = <&RawValue>::deserialize(deserializer)?.get();
        let counts = serde_json::from_str::<Object<T>>(value).ok();
        Ok(Counts(counts.map(|Object(counts)| counts)))
    }
}

/// A member that reports an error, unless it is zero, false or empty.
pub(super) struct Trouble(bool);

impl<'de> Deserialize<'de> for Trouble {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = <&RawValue>::deserialize(deserializer)?.get();
        let none = matches!(value, "false" | "0" | "\"0\"" | "\"\"");
        Ok(Trouble(!none))
    }
}

/// True if an error is reported.
pub(super) fn troubled(value: &Option<Trouble>) -> bool {
    matches!(value, Some(Trouble(true)))
}

/// `usage` of chat, completions and embeddings.
#[derive(Deserialize)]
pub(super) struct PromptUsage {
    #[serde(default)]
    prompt_tokens: Count,
    #[serde(default)]
    completion_tokens: Count,
}

impl PromptUsage {
    pub(super) fn usage(&self) -> Option<Usage> {
        tokens(self.prompt_tokens, self.completion_tokens)
    }
}

/// `usage` of the newer APIs, pictures and sound.
#[derive(Deserialize)]
pub(super) struct InputUsage {
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
}

impl InputUsage {
    pub(super) fn usage(&self) -> Option<Usage> {
        tokens(self.input_tokens, self.output_tokens)
    }
}

/// The usage that two counts make, if at least one of them is known.
pub(super) fn tokens(input: Count, output: Count) -> Option<Usage> {
    (input.0.is_some() || output.0.is_some()).then(|| Usage {
        input: input.0.unwrap_or_default(),
        output: output.0.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(json: &str) -> Option<bool> {
        let read = serde_json::from_str::<Filled>(json).ok();
        read.map(|Filled(filled)| filled)
    }

    #[test]
    fn content_is_looked_at_and_must_be_json() {
        for json in ["\"a\"", r#""\n""#, r#""\ud83d""#, "[0]", "[ [] ]"] {
            assert_eq!(filled(json), Some(true), "{json}");
        }
        for json in ["\"\"", "[]", "[ \n]"] {
            assert_eq!(filled(json), Some(false), "{json}");
        }
        for json in [
            "\"a\nb\"", "\"\0\"", "[\"\t\"]", r#""\x""#, "{}", "7", "true",
        ] {
            assert_eq!(filled(json), None, "{json}");
        }
    }

    #[test]
    fn only_whole_numbers_are_counts() {
        let count = |json: &str| serde_json::from_str::<Count>(json).map(|Count(count)| count);
        assert_eq!(count("7").ok(), Some(Some(7)));
        for json in [
            "-7",
            "-0",
            "7.0",
            "7e0",
            "1e999",
            "18446744073709551616",
            "null",
            "true",
            "\"7\"",
            "[7]",
            "{\"a\":7}",
        ] {
            assert_eq!(count(json).ok(), Some(None), "{json}");
        }
        assert!(count("7x").is_err());
        let counts = |json| {
            let read = serde_json::from_str::<Counts<InputUsage>>(json);
            read.map(|Counts(counts)| counts.and_then(|counts| counts.usage()))
        };
        let usage = Usage {
            input: 1,
            output: 2,
        };
        let good = "{\"input_tokens\":1,\"output_tokens\":2}";
        assert_eq!(counts(good).ok(), Some(Some(usage)));
        for json in ["null", "[]", "[1]", "\"x\"", "7", "1e999", "{}"] {
            assert_eq!(counts(json).ok(), Some(None), "{json}");
        }
        assert!(counts("{").is_err());
    }

    #[test]
    fn bytes_may_hold_half_a_pair_and_must_be_json() {
        let bytes = |json| {
            let read = serde_json::from_str::<Bytes<'_>>(json).ok();
            read.map(|Bytes(bytes)| bytes.into_owned())
        };
        assert_eq!(bytes(r#""a\n""#).as_deref(), Some(&b"a\n"[..]));
        assert_eq!(bytes(r#""\ud83d""#).as_deref(), Some(&b"\xed\xa0\xbd"[..]));
        for json in ["\"a\nb\"", "[1]", "null", "7"] {
            assert_eq!(bytes(json), None, "{json}");
        }
    }
}
