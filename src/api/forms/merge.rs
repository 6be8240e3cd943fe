//! How the pieces of one member, spread over a stream, become one value again.
//!
//! Null says nothing beside a value. What does not follow its rule ends the conversion.

use super::json::{array, is_null, items, mentions_key, string, text};

/// Most members of one merged object; see the limit of the objects that are read.
const MEMBERS_MAX: usize = 256;

/// How a member comes together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Strings, joined.
    Text,
    /// Arrays, joined. An entry with an `index` of its own is a piece of something: refused.
    List,
    /// The same in every piece that has it; an empty string says nothing beside another value.
    Same,
    /// A string that comes whole in one piece, while others may have it empty.
    Whole,
    /// Nobody knows what it is: whole in one piece, and nothing in it looks like a piece.
    Once,
}

enum Held {
    Null,
    Text(String),
    List(Vec<String>),
    Value(String),
}

/// The members of an object in the making, in the order in which they came.
#[derive(Default)]
pub(super) struct Merge(Vec<(String, Held)>);

impl Merge {
    /// Takes the next piece of a member.
    pub(super) fn add(&mut self, key: &str, rule: Rule, value: &str) -> Option<()> {
        let position = match self.0.iter().position(|(name, _)| name == key) {
            Some(position) => position,
            None if self.0.len() == MEMBERS_MAX => return None,
            None => {
                self.0.push((key.to_owned(), Held::Null));
                self.0.len() - 1
            }
        };
        let (_, held) = self.0.get_mut(position)?;
        if is_null(value) {
            return Some(());
        }
        match rule {
            Rule::Text => {
                let piece = text(value)?;
                match held {
                    Held::Null => *held = Held::Text(piece),
                    Held::Text(text) => text.push_str(&piece),
                    _ => return None,
                }
            }
            Rule::List => {
                if mentions_key(value, "index") {
                    return None;
                }
                let entries = items(value)?.into_iter().map(str::to_owned);
                match held {
                    Held::Null => *held = Held::List(entries.collect()),
                    Held::List(list) => list.extend(entries),
                    _ => return None,
                }
            }
            Rule::Same => match held {
                Held::Null => *held = Held::Value(value.to_owned()),
                Held::Value(held) if held == value || value == "\"\"" => {}
                Held::Value(held) if held == "\"\"" => *held = value.to_owned(),
                _ => return None,
            },
            Rule::Whole => match held {
                _ if text(value)?.is_empty() && !matches!(held, Held::Null) => {}
                Held::Null => *held = Held::Value(value.to_owned()),
                Held::Value(held) if held == "\"\"" => *held = value.to_owned(),
                _ => return None,
            },
            Rule::Once => match held {
                Held::Null if !mentions_key(value, "index") => {
                    *held = Held::Value(value.to_owned());
                }
                _ => return None,
            },
        }
        Some(())
    }

    /// The members as text, in order.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().map(|(key, held)| {
            let value = match held {
                Held::Null => "null".to_owned(),
                Held::Text(text) => string(text),
                Held::List(list) => array(list),
                Held::Value(value) => value.clone(),
            };
            (&**key, value)
        })
    }
}
