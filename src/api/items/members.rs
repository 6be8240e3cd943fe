//! The members of a JSON object, each as it was written.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Most members of one object. What is put together by them has a dozen, and each name is compared to
/// all before it.
const MEMBERS_MAX: usize = 256;

/// Names (escapes undone) and values (as they were written), in the order they came.
pub(super) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The members of an object; `None` for anything else, for one with a name twice, and for one
    /// with more than [`MEMBERS_MAX`].
    pub(super) fn read(object: &'a str) -> Option<Members<'a>> {
        serde_json::from_str(object).ok()
    }

    /// The value of a member.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.0.iter().find(|(key, _)| key == name)?;
        Some(found.1)
    }

    /// The object with another value in the place of one.
    pub(super) fn with(&self, name: &str, value: &str) -> String {
        let members = self.0.iter().map(|(key, old)| match key == name {
            true => (key.as_str(), value),
            false => (key.as_str(), old.get()),
        });
        written(members)
    }

    /// The object without some of its members.
    pub(super) fn without(&self, names: &[&str]) -> String {
        let kept = self
            .0
            .iter()
            .filter(|(key, _)| !names.contains(&key.as_str()));
        written(kept.map(|(key, value)| (key.as_str(), value.get())))
    }

    /// The object with more members behind its own.
    pub(super) fn and(&self, more: &[(&str, &str)]) -> String {
        let own = self
            .0
            .iter()
            .map(|(key, value)| (key.as_str(), value.get()));
        written(own.chain(more.iter().copied()))
    }
}

fn written<'m>(members: impl Iterator<Item = (&'m str, &'m str)>) -> String {
    let mut object = String::from("{");
    for (name, value) in members {
        if object.len() > 1 {
            object.push(',');
        }
        object.push_str(&serde_json::Value::from(name).to_string());
        object.push(':');
        object.push_str(value);
    }
    object.push('}');
    object
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(String, &RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if members.len() == MEMBERS_MAX {
                        return Err(A::Error::custom("too many members"));
                    }
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom("a name twice"));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}
