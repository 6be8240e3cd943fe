//! Bodies out of the fuzzer's bytes: trees, changes to them, and spellings.

use llm_cache_server::api::Api;
use llm_cache_server::key::canonical::TRANSPARENT;

use super::tree::Tree;

const NODES_MAX: usize = 60;
const DEPTH_MAX: usize = 7;

/// Keys that mean something to some API, or hide the ones that do.
const KEYS: &[&str] = &[
    "messages",
    "input",
    "prompt",
    "contents",
    "tools",
    "parameters",
    "properties",
    "arguments",
    "response_format",
    "role",
    "type",
    "n",
    "stream",
    "stream_options",
    "include_usage",
    "options",
    "a",
    "b",
    "A",
    "",
    "\u{e9}",
    "a\"b",
    "a/b",
    "\n",
    "\u{1f600}",
    "\u{ffff}",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "1.0",
    "1e0",
    "1E0",
    "1e+0",
    "10e-1",
    "-0",
    "-0.0",
    "2",
    "9007199254740992",
    "9007199254740993",
    "18446744073709551616",
    "0.1",
    "0.10",
    "1e400",
];
const CHARS: &[char] = &[
    'a',
    'b',
    ' ',
    '"',
    '\\',
    '/',
    '\n',
    '\t',
    '\u{8}',
    '\u{c}',
    '\r',
    '\0',
    '\u{1f}',
    '\u{7f}',
    '\u{e9}',
    '\u{2028}',
    '\u{fffd}',
    '\u{1f600}',
];
const WORDS: [&str; 3] = ["null", "true", "false"];

/// Decisions, one byte each; zeros behind the end.
pub struct Choices<'a>(pub &'a [u8]);

impl Choices<'_> {
    pub fn below(&mut self, bound: usize) -> usize {
        let Some((byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*byte) % bound.max(1)
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

pub struct Maker<'a, 'c> {
    pub api: Api,
    pub choices: &'c mut Choices<'a>,
    pub nodes: usize,
}

impl Maker<'_, '_> {
    pub fn body(&mut self) -> Tree {
        let mut members = vec![("model".to_owned(), Tree::Text("m".to_owned()))];
        for _ in 0..self.choices.below(7) {
            let key = self.key();
            let value = self.value(1);
            put(&mut members, key, value);
        }
        Tree::Object(members)
    }

    fn key(&mut self) -> String {
        let (ignored, sorted) = (self.api.ignored_fields(), self.api.sorted_fields());
        let lists = [KEYS, TRANSPARENT, sorted, ignored];
        let list = self.choices.of(&lists);
        let list = if list.is_empty() { KEYS } else { list };
        self.choices.of(list).to_owned()
    }

    fn text(&mut self) -> String {
        (0..self.choices.below(5))
            .map(|_| self.choices.of(CHARS))
            .collect()
    }

    fn scalar(&mut self) -> Tree {
        match self.choices.below(3) {
            0 => Tree::Word(self.choices.of(&WORDS)),
            1 => Tree::Number(self.choices.of(NUMBERS).to_owned()),
            _ => Tree::Text(self.text()),
        }
    }

    fn value(&mut self, depth: usize) -> Tree {
        self.nodes += 1;
        if depth >= DEPTH_MAX || self.nodes > NODES_MAX {
            return Tree::Word("null");
        }
        match self.choices.below(6) {
            0..=2 => self.scalar(),
            3 => {
                let len = self.choices.below(4);
                Tree::Array((0..len).map(|_| self.value(depth + 1)).collect())
            }
            _ => {
                let mut members = Vec::new();
                for _ in 0..self.choices.below(5) {
                    let key = self.key();
                    let value = self.value(depth + 1);
                    put(&mut members, key, value);
                }
                Tree::Object(members)
            }
        }
    }

    /// One change somewhere, or none.
    pub fn change(&mut self, body: &mut Tree) {
        match self.choices.below(12) {
            0 => {
                // Something at the top that is ignored or framing, or anything else.
                let key = self.key();
                let value = self.value(1);
                if let Tree::Object(members) = body {
                    let len = members.len();
                    members.retain(|(name, _)| *name != key);
                    if len == members.len() {
                        let at = self.choices.below(len + 1);
                        members.insert(at, (key, value));
                    }
                }
            }
            1 => {
                let key = self.choices.of(&["stream", "stream_options"]);
                let value = match self.choices.below(4) {
                    0 => self.value(1),
                    1 => Tree::Object(vec![("include_usage".to_owned(), Tree::Word("true"))]),
                    _ => Tree::Word(self.choices.of(&WORDS)),
                };
                if let Tree::Object(members) = body {
                    members.retain(|(name, _)| name != key);
                    put(members, key.to_owned(), value);
                }
            }
            2..=4 => {
                let fits = |node: &Tree| node.members().len() > 1;
                self.at(body, fits, |maker, node| {
                    if let Tree::Object(members) = node {
                        let len = members.len();
                        members.swap(maker.choices.below(len), maker.choices.below(len));
                    }
                });
            }
            5 | 6 => {
                let fits = |node: &Tree| matches!(node, Tree::Number(_));
                self.at(body, fits, |maker, node| {
                    *node = Tree::Number(maker.choices.of(NUMBERS).to_owned());
                });
            }
            7 => {
                let fits = |node: &Tree| !matches!(node, Tree::Array(_) | Tree::Object(_));
                self.at(body, fits, |maker, node| *node = maker.scalar());
            }
            8 => {
                let fits = |node: &Tree| matches!(node, Tree::Array(entries) if entries.len() > 1);
                self.at(body, fits, |maker, node| {
                    if let Tree::Array(entries) = node {
                        let len = entries.len();
                        entries.swap(maker.choices.below(len), maker.choices.below(len));
                    }
                });
            }
            9 => {
                let fits = |node: &Tree| !node.members().is_empty();
                self.at(body, fits, |maker, node| {
                    if let Tree::Object(members) = node {
                        let at = maker.choices.below(members.len());
                        // May be there twice from now on.
                        members[at].0 = maker.key();
                    }
                });
            }
            10 => {
                let fits = |node: &Tree| !node.members().is_empty();
                self.at(body, fits, |maker, node| {
                    if let Tree::Object(members) = node {
                        members.remove(maker.choices.below(members.len()));
                    }
                });
            }
            _ => {}
        }
    }

    /// Changes one of the nodes that fit.
    fn at(
        &mut self,
        body: &mut Tree,
        fits: impl Fn(&Tree) -> bool,
        change: impl FnOnce(&mut Self, &mut Tree),
    ) {
        let mut count = 0;
        body.nodes(&mut |node| count += usize::from(fits(node)));
        let mut left = self.choices.below(count);
        let mut change = Some(change);
        body.nodes(&mut |node| {
            if !fits(node) || change.is_none() {
                return;
            }
            match left.checked_sub(1) {
                Some(less) => left = less,
                None => change
                    .take()
                    .into_iter()
                    .for_each(|change| change(self, node)),
            }
        });
    }

    /// Writes a tree in one of its spellings.
    pub fn write(&mut self, tree: &Tree, text: &mut String) {
        self.space(text);
        match tree {
            Tree::Word(word) => text.push_str(word),
            Tree::Number(number) => text.push_str(number),
            Tree::Text(content) => self.write_text(content, text),
            Tree::Array(entries) => {
                text.push('[');
                for (at, entry) in entries.iter().enumerate() {
                    text.push_str(if at > 0 { "," } else { "" });
                    self.write(entry, text);
                }
                self.space(text);
                text.push(']');
            }
            Tree::Object(members) => {
                text.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    text.push_str(if at > 0 { "," } else { "" });
                    self.space(text);
                    self.write_text(key, text);
                    self.space(text);
                    text.push(':');
                    self.write(value, text);
                }
                self.space(text);
                text.push('}');
            }
        }
        self.space(text);
    }

    fn space(&mut self, text: &mut String) {
        text.push_str(self.choices.of(&["", "", "", "", " ", "\n", "\r\n", "\t "]));
    }

    fn write_text(&mut self, content: &str, text: &mut String) {
        text.push('"');
        for c in content.chars() {
            let short = match c {
                '"' => Some('"'),
                '\\' => Some('\\'),
                '/' => Some('/'),
                '\n' => Some('n'),
                '\t' => Some('t'),
                '\r' => Some('r'),
                '\u{8}' => Some('b'),
                '\u{c}' => Some('f'),
                _ => None,
            };
            let plain = c >= ' ' && c != '"' && c != '\\';
            match (self.choices.below(4), short) {
                (0 | 1, _) if plain => text.push(c),
                (0..=2, Some(short)) => text.extend(['\\', short]),
                (how, _) => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        text.push_str(&match how {
                            3 => format!("\\u{unit:04X}"),
                            _ => format!("\\u{unit:04x}"),
                        });
                    }
                }
            }
        }
        text.push('"');
    }
}

/// Adds a member, in the place of an older one.
fn put(members: &mut Vec<(String, Tree)>, key: String, value: Tree) {
    match members.iter_mut().find(|(name, _)| *name == key) {
        Some((_, old)) => *old = value,
        None => members.push((key, value)),
    }
}
