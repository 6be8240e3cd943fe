//! JSON as a tree that keeps what the key keeps: the order of members, and numbers as they are spelled.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// null, true and false.
    Word(&'static str),
    Number(String),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// Reads a text by serde_json; `None` if an object has a key twice.
    pub fn read(text: &str) -> Option<Tree> {
        let raw: &RawValue = serde_json::from_str(text).expect("it was written as JSON");
        Tree::of(raw)
    }

    fn of(raw: &RawValue) -> Option<Tree> {
        let text = raw.get();
        Some(match text.as_bytes()[0] {
            b'n' => Tree::Word("null"),
            b't' => Tree::Word("true"),
            b'f' => Tree::Word("false"),
            b'"' => Tree::Text(serde_json::from_str(text).expect("a string")),
            b'[' => {
                let entries: Vec<&RawValue> = serde_json::from_str(text).expect("an array");
                let entries = entries.into_iter().map(Tree::of);
                Tree::Array(entries.collect::<Option<_>>()?)
            }
            b'{' => {
                let Members(members) = serde_json::from_str(text).expect("an object");
                let keys: HashSet<_> = members.iter().map(|(key, _)| key).collect();
                if keys.len() < members.len() {
                    return None;
                }
                let members = members.into_iter();
                let members = members.map(|(key, value)| Some((key, Tree::of(value)?)));
                Tree::Object(members.collect::<Option<_>>()?)
            }
            _ => Tree::Number(text.to_owned()),
        })
    }

    /// Members of the topmost object.
    pub fn members(&self) -> &[(String, Tree)] {
        match self {
            Tree::Object(members) => members,
            _ => &[],
        }
    }

    /// A member of the topmost object.
    pub fn get(&self, key: &str) -> Option<&Tree> {
        let mut members = self.members().iter();
        members
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// Every node, itself first.
    pub fn nodes(&mut self, visit: &mut impl FnMut(&mut Tree)) {
        visit(self);
        match self {
            Tree::Array(entries) => entries.iter_mut().for_each(|one| one.nodes(visit)),
            Tree::Object(members) => members.iter_mut().for_each(|(_, one)| one.nodes(visit)),
            _ => {}
        }
    }
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}
