//! Counting the texts of `input` and `prompt` without keeping them.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// How many texts a value holds: one string or one array of tokens is one, an array of strings or
/// of token arrays as many as it has entries. `None` for an array of anything else, or an empty
/// one; any other value does not deserialize.
pub(super) struct Texts(pub(super) Option<u32>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;
        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array")
            }
            fn visit_str<E: Error>(self, _: &str) -> Result<Texts, E> {
                Ok(Texts(Some(1)))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
                let (mut len, mut all) = (0u32, None);
                while let Some(kind) = seq.next_element::<Kind>()? {
                    len = len.saturating_add(1);
                    if *all.get_or_insert(kind) != kind {
                        all = Some(Kind::Other);
                    }
                }
                Ok(Texts(match all {
                    Some(Kind::Number) => Some(1),
                    Some(Kind::Text | Kind::Array) => Some(len),
                    Some(Kind::Other) | None => None,
                }))
            }
        }
        deserializer.deserialize_any(TextsVisitor)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Array,
    Other,
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KindVisitor;
        impl<'de> Visitor<'de> for KindVisitor {
            type Value = Kind;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_str<E: Error>(self, _: &str) -> Result<Kind, E> {
                Ok(Kind::Text)
            }
            fn visit_u64<E: Error>(self, _: u64) -> Result<Kind, E> {
                Ok(Kind::Number)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Kind, A::Error> {
                IgnoredAny.visit_seq(seq).map(|_| Kind::Array)
            }
            // Tokens are never negative or broken.
            fn visit_i64<E: Error>(self, _: i64) -> Result<Kind, E> {
                Ok(Kind::Other)
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<Kind, E> {
                Ok(Kind::Other)
            }
            fn visit_bool<E: Error>(self, _: bool) -> Result<Kind, E> {
                Ok(Kind::Other)
            }
            fn visit_unit<E: Error>(self) -> Result<Kind, E> {
                Ok(Kind::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Kind, A::Error> {
                IgnoredAny.visit_map(map).map(|_| Kind::Other)
            }
        }
        deserializer.deserialize_any(KindVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::Texts;

    #[test]
    fn texts_are_counted_by_the_shape_of_the_input() {
        for (json, expected) in [
            (r#""one \n text""#, Some(1)),
            (r#"["a"]"#, Some(1)),
            (r#"["a","b","c"]"#, Some(3)),
            ("[1,2,3,4]", Some(1)),
            ("[[1,2],[3],[]]", Some(3)),
            ("[]", None),
            ("[null]", None),
            ("[-1]", None),
            ("[0.5]", None),
            ("[true]", None),
            (r#"[{"text":"a"}]"#, None),
            (r#"["a",1]"#, None),
            (r#"["a",1,"b"]"#, None),
            (r#"["a",["b"]]"#, None),
            (r#"{"a":1}"#, None),
            ("null", None),
            ("7", None),
        ] {
            let counted = serde_json::from_str::<Texts>(json)
                .ok()
                .and_then(|texts| texts.0);
            assert_eq!(counted, expected, "{json}");
        }
    }
}
