//! JSON as it was sent: objects whose members keep their order, their spelling and their numbers.
//!
//! A value is its text. Nothing here looks deeper than it is asked to.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Most members of one object that is looked into. It bounds the time that looking takes; answers
/// have a dozen.
const MEMBERS_MAX: usize = 256;

/// The members of an object, in order, each value as its text.
#[derive(Clone, Default)]
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Fields<'a> {
    /// Reads an object. `None` if it is none, or has a key twice or too many.
    pub(super) fn read(text: &'a str) -> Option<Fields<'a>> {
        let fields = serde_json::from_str::<Fields<'a>>(text).ok()?;
        let keys: BTreeSet<&str> = fields.iter().map(|(key, _)| key).collect();
        (keys.len() == fields.0.len()).then_some(fields)
    }

    /// The text of a member's value.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// The text of a member's value, unless it is null.
    pub(super) fn some(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|value| !is_null(value))
    }

    /// True if the member is a string with this text.
    pub(super) fn says(&self, key: &str, what: &str) -> bool {
        self.get(key)
            .and_then(text)
            .is_some_and(|text| text == what)
    }

    /// A member that is a small whole number.
    pub(super) fn number(&self, key: &str) -> Option<usize> {
        self.get(key).and_then(number)
    }

    /// Replaces a member where it stands, or adds it at the end.
    pub(super) fn set(&mut self, key: &str, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((Cow::Owned(key.to_owned()), value)),
        }
    }

    /// This object with a member replaced or added.
    pub(super) fn with(mut self, key: &str, value: impl Into<Cow<'a, str>>) -> Fields<'a> {
        self.set(key, value);
        self
    }

    /// This object with a member replaced if it is there.
    pub(super) fn with_if_there(self, key: &str, value: impl Into<Cow<'a, str>>) -> Fields<'a> {
        match self.get(key).is_some() {
            true => self.with(key, value),
            false => self,
        }
    }

    /// This object without some members.
    pub(super) fn without(mut self, keys: &[&str]) -> Fields<'a> {
        self.0.retain(|(key, _)| !keys.contains(&&**key));
        self
    }

    /// True if every key is one of these.
    pub(super) fn only(&self, keys: &[&str]) -> bool {
        self.iter().all(|(key, _)| keys.contains(&key))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The object as text.
    pub(super) fn json(&self) -> String {
        let mut out = String::from("{");
        for (position, (key, value)) in self.iter().enumerate() {
            if position > 0 {
                out.push(',');
            }
            out.push_str(&string(key));
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
        out
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    if members.len() == MEMBERS_MAX {
                        return Err(A::Error::custom("too many members"));
                    }
                    members.push((key, Cow::Borrowed(value.get())));
                }
                Ok(Fields(members))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// An object of these members, in this order.
pub(super) fn object<'a, const N: usize>(members: [(&str, &'a str); N]) -> Fields<'a> {
    let mut fields = Fields::default();
    for (key, value) in members {
        fields.set(key, value);
    }
    fields
}

/// An array of these values.
pub(super) fn array<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let mut out = String::from("[");
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        out.push_str(item.as_ref());
    }
    out.push(']');
    out
}

/// A string.
pub(super) fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What a string says; `None` if it is no string, or has half of a surrogate pair: clients put
/// such pieces together in different ways.
pub(super) fn text(value: &str) -> Option<String> {
    serde_json::from_str(value).ok()
}

/// The values of an array.
pub(super) fn items(value: &str) -> Option<Vec<&str>> {
    let items: Vec<&RawValue> = serde_json::from_str(value).ok()?;
    Some(items.into_iter().map(RawValue::get).collect())
}

/// A small whole number.
pub(super) fn number(value: &str) -> Option<usize> {
    value.parse::<u32>().ok()?.try_into().ok()
}

pub(super) fn is_null(value: &str) -> bool {
    value == "null"
}

/// True if any object in this JSON text has this key, or one spelled with escapes, which may be it.
pub(super) fn mentions_key(json: &str, key: &str) -> bool {
    let mut rest = json;
    while let Some((_, inside)) = rest.split_once('"') {
        let Some((spelled, behind)) = split_string(inside) else {
            return false;
        };
        let is_key = behind.trim_start().starts_with(':');
        if is_key && (spelled == key || spelled.contains('\\')) {
            return true;
        }
        rest = behind;
    }
    false
}

/// A string as it is spelled and what follows its last quote, of a text that begins behind its first.
fn split_string(inside: &str) -> Option<(&str, &str)> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', inside.as_bytes().get(from..)?)?;
        match inside.as_bytes().get(at)? {
            b'"' => return Some((inside.get(..at)?, inside.get(at + 1..)?)),
            _ => from = at + 2,
        }
    }
}

/// JSON without white space between its tokens, so that it fits on one line of a stream. Of the
/// other characters that some clients take for line ends, none is left either.
pub(super) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for c in json.chars() {
        match c {
            ' ' | '\t' | '\n' | '\r' if !inside => continue,
            '\u{85}' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
                continue;
            }
            '"' if !escaped => inside = !inside,
            _ => {}
        }
        escaped = inside && c == '\\' && !escaped;
        out.push(c);
    }
    out
}
