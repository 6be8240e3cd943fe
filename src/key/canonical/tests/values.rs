//! Random JSON values, written down in many spellings.

use proptest::prelude::*;

/// A JSON value. Keys of an object are distinct.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    /// `null`, `true`, `false` or a number.
    Lexeme(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The canonical text, from the definition and without any care for speed.
    pub(super) fn canonical(&self) -> String {
        match self {
            Json::Lexeme(lexeme) => lexeme.clone(),
            Json::Text(text) => quoted(text),
            Json::List(items) => {
                let items: Vec<String> = items.iter().map(Json::canonical).collect();
                format!("[{}]", items.join(","))
            }
            Json::Object(members) => {
                let mut members: Vec<(String, String)> = members
                    .iter()
                    .map(|(key, value)| (quoted(key), value.canonical()))
                    .collect();
                // Without the quotes, of which the last would count.
                members.sort_by(|a, b| a.0[1..a.0.len() - 1].cmp(&b.0[1..b.0.len() - 1]));
                let members: Vec<String> = members
                    .iter()
                    .map(|(key, value)| format!("{key}:{value}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            }
        }
    }

    /// One of the many texts of this value: white space, order of keys and escapes are up to `dice`.
    pub(super) fn write(&self, dice: &mut Dice, out: &mut String) {
        space(dice, out);
        match self {
            Json::Lexeme(lexeme) => out.push_str(lexeme),
            Json::Text(text) => write_text(text, dice, out),
            Json::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write(dice, out);
                }
                space(dice, out);
                out.push(']');
            }
            Json::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                for i in (1..members.len()).rev() {
                    members.swap(i, dice.below(i + 1));
                }
                out.push('{');
                for (i, (key, value)) in members.into_iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    space(dice, out);
                    write_text(key, dice, out);
                    space(dice, out);
                    out.push(':');
                    value.write(dice, out);
                }
                space(dice, out);
                out.push('}');
            }
        }
        space(dice, out);
    }

    /// Changes one leaf, empty container or key into something else.
    pub(super) fn change_one(&mut self, dice: &mut Dice) {
        match self {
            Json::Lexeme(lexeme) if lexeme == "null" => *lexeme = "0".into(),
            Json::Lexeme(lexeme) => *lexeme = "null".into(),
            Json::Text(text) if text.is_empty() || dice.below(2) == 0 => text.push('x'),
            Json::Text(text) => drop(text.pop()),
            Json::List(items) if items.is_empty() => items.push(Json::List(Vec::new())),
            Json::List(items) => {
                let i = dice.below(items.len());
                items[i].change_one(dice);
            }
            Json::Object(members) if members.is_empty() => {
                members.push(("new".into(), Json::Lexeme("1".into())));
            }
            Json::Object(members) => {
                let i = dice.below(members.len());
                if dice.below(4) > 0 {
                    return members[i].1.change_one(dice);
                }
                let mut key = members[i].0.clone();
                while members.iter().any(|member| member.0 == key) {
                    key.push('x');
                }
                members[i].0 = key;
            }
        }
    }
}

/// Any object.
pub(super) fn object() -> impl Strategy<Value = Json> {
    members(value()).prop_map(Json::Object)
}

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        prop_oneof![Just("null"), Just("true"), Just("false")]
            .prop_map(|word| Json::Lexeme(word.into())),
        any::<i64>().prop_map(|n| Json::Lexeme(n.to_string())),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?".prop_map(Json::Lexeme),
        text().prop_map(Json::Text),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::List),
            members(inner).prop_map(Json::Object),
        ]
    })
}

fn members(value: impl Strategy<Value = Json>) -> impl Strategy<Value = Vec<(String, Json)>> {
    prop::collection::btree_map(text(), value, 0..8)
        .prop_map(|members| members.into_iter().collect())
}

/// Texts of every length around the words they are read in, with more than their share of
/// characters that need care.
fn text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        '"',
        '\\',
        '/',
        '\n',
        '\t',
        '\r',
        '\u{8}',
        '\u{c}',
        '\0',
        '\u{1f}',
        ' ',
        '\u{7f}',
        'u',
        'n',
        'é',
        'e',
        '\u{301}',
        '\u{2028}',
        '\u{feff}',
        '\u{ffff}',
        '\u{10000}',
        '😀',
        '{',
        ',',
        ':',
    ]);
    let character = prop_oneof![3 => prop::char::range('a', 'c'), 2 => odd, 1 => any::<char>()];
    let characters = prop_oneof![
        3 => prop::collection::vec(character.clone(), 0..4),
        1 => prop::collection::vec(character, 0..40),
    ];
    characters.prop_map(String::from_iter)
}

/// A random sequence from a seed (SplitMix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// A number below `n`, which is at least 1.
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

fn space(dice: &mut Dice, out: &mut String) {
    if dice.below(3) == 0 {
        for _ in 0..dice.below(4) {
            out.push([' ', '\t', '\n', '\r'][dice.below(4)]);
        }
    }
}

fn write_text(text: &str, dice: &mut Dice, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        let short = "\"\\/\u{8}\u{c}\n\r\t"
            .find(c)
            .map(|i| &"\"\\/bfnrt"[i..i + 1]);
        let raw_is_valid = c >= ' ' && c != '"' && c != '\\';
        match (dice.below(4), short) {
            (0, _) => write_escape(c, dice, out),
            (1, Some(short)) => {
                out.push('\\');
                out.push_str(short);
            }
            _ if raw_is_valid => out.push(c),
            _ => write_escape(c, dice, out),
        }
    }
    out.push('"');
}

fn write_escape(c: char, dice: &mut Dice, out: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        match dice.below(2) {
            0 => out.push_str(&format!("\\u{unit:04x}")),
            _ => out.push_str(&format!("\\u{unit:04X}")),
        }
    }
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    let escaped = (0..0x20u8).fold(text, |text, control| {
        text.replace(char::from(control), &format!("\\u{control:04x}"))
    });
    format!("\"{escaped}\"")
}
