//! The scanner: the grammar of RFC 8259, writing the canonical text while it reads.

use std::borrow::Cow;

use super::order::{Member, Sorter};
use super::text::{hex4, plain_len, push_char, spelled};
use super::{Canonical, DEPTH_MAX, MEMBERS_MAX, Reject, Sorting, TRANSPARENT};

/// Reads one body.
pub(super) struct Scanner<'a> {
    body: &'a [u8],
    /// All before it has been read.
    at: usize,
    /// From here to `at` the body is canonical as it stands and has not been written yet: what is
    /// canonical already is copied in runs as long as possible.
    pending: usize,
    out: Vec<u8>,
    /// Members of all objects that are open, the innermost one's last.
    members: Vec<Member>,
    sorter: Sorter,
    /// Top-level keys, in canonical spelling, under which members are sorted; `None`: under all.
    sorted: Option<Vec<Cow<'a, [u8]>>>,
    /// See [`Sorting::Loosely`].
    loosely: bool,
    /// Inside another one.
    keeps_order: bool,
}

/// A top-level key to leave out, in canonical spelling.
struct Ignored<'a> {
    key: Cow<'a, [u8]>,
    seen: bool,
}

impl<'a> Scanner<'a> {
    /// `body` must be UTF-8.
    pub(super) fn new(body: &'a [u8], moves_max: usize, sorting: Sorting<'a>) -> Scanner<'a> {
        Scanner {
            body,
            at: 0,
            pending: 0,
            // Some more than the body, for its escapes.
            out: Vec::with_capacity(body.len() + body.len() / 8),
            members: Vec::new(),
            sorter: Sorter::new(moves_max),
            sorted: match sorting {
                Sorting::Everywhere => None,
                Sorting::Within(keys) | Sorting::Loosely(keys) => {
                    Some(keys.iter().map(|key| spelled(key)).collect())
                }
            },
            loosely: matches!(sorting, Sorting::Loosely(_)),
            keeps_order: false,
        }
    }

    /// Reads the whole body.
    pub(super) fn canonical(mut self, ignored: &[&str]) -> Result<Canonical, Reject> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => {}
            Some(b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                return Err(Reject::NotAnObject);
            }
            _ => return Err(self.invalid()),
        }
        let ignored = ignored.iter().map(|key| Ignored {
            key: spelled(key),
            seen: false,
        });
        self.object(1, &mut ignored.collect::<Vec<_>>())?;
        self.skip_space();
        if self.at < self.body.len() {
            return Err(Reject::TrailingBytes { at: self.at });
        }
        self.flush();
        Ok(Canonical {
            text: self.out,
            members: self.members,
        })
    }

    /// Reads a value in a container that is `depth` deep.
    fn value(&mut self, depth: usize) -> Result<(), Reject> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{' | b'[') if depth >= DEPTH_MAX => Err(Reject::TooDeep),
            Some(b'{') => {
                let outer = self.members.len();
                self.object(depth + 1, &mut [])?;
                self.members.truncate(outer);
                Ok(())
            }
            Some(b'[') => self.array(depth + 1),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => Err(self.invalid()),
        }
    }

    /// Reads an object and leaves its members, in order, at the end of `self.members`.
    fn object(&mut self, depth: usize, ignored: &mut [Ignored<'_>]) -> Result<(), Reject> {
        let base = self.members.len();
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let member = self.member(depth)?;
            let left_out = self.leave_out(&member, ignored)?;
            if !left_out {
                if self.members.len() - base >= MEMBERS_MAX {
                    return Err(Reject::TooTangled);
                }
                self.members.push(member);
            }
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    if left_out {
                        self.pending = self.at;
                    }
                    self.skip_space();
                }
                Some(b'}') => {
                    self.flush();
                    // The comma before the members that were left out last.
                    if left_out && self.members.len() > base {
                        self.out.pop();
                    }
                    break;
                }
                _ => return Err(self.invalid()),
            }
        }
        if self.keeps_order {
            self.sorter
                .find_duplicate(&self.out, &self.members[base..])?;
        } else {
            self.sorter.sort(&mut self.out, &mut self.members[base..])?;
            if self.loosely {
                Sorter::find_alike(&self.out, &self.members[base..])?;
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a member and the white space behind it.
    fn member(&mut self, depth: usize) -> Result<Member, Reject> {
        let start = self.written();
        if self.peek() != Some(b'"') {
            return Err(self.invalid());
        }
        self.string()?;
        let key_end = self.written();
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.invalid());
        }
        self.at += 1;
        self.skip_space();
        let outer = self.keeps_order;
        if let (Some(sorted), false, Some(b'{' | b'[')) = (&self.sorted, outer, self.peek()) {
            let pending = &self.body[self.pending..self.at];
            self.out.extend_from_slice(pending);
            self.pending = self.at;
            let key = &self.out[start + 1..key_end - 1];
            let free_of_order = match depth {
                1 => sorted.iter().any(|sorted| **sorted == *key),
                // What a tool says may be an object, which some servers print as it comes.
                _ if key == b"content" && self.peek() == Some(b'{') => false,
                _ => TRANSPARENT.iter().any(|name| name.as_bytes() == key),
            };
            self.keeps_order = !free_of_order;
        }
        self.value(depth)?;
        self.keeps_order = outer;
        let end = self.written();
        self.skip_space();
        Ok(Member::new(start, key_end, end))
    }

    /// Takes the member just read out of the text again if its key is ignored. Such a key is never
    /// among the members kept, so its duplicates must be found here.
    fn leave_out(&mut self, member: &Member, ignored: &mut [Ignored<'_>]) -> Result<bool, Reject> {
        if ignored.is_empty() {
            return Ok(false);
        }
        self.flush();
        let key = member.key(&self.out);
        let Some(ignored) = ignored.iter_mut().find(|ignored| *ignored.key == *key) else {
            return Ok(false);
        };
        if ignored.seen {
            return Err(Reject::DuplicateKey);
        }
        ignored.seen = true;
        self.out.truncate(member.start());
        Ok(true)
    }

    fn array(&mut self, depth: usize) -> Result<(), Reject> {
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth)?;
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.invalid()),
            }
            self.skip_space();
        }
    }

    fn string(&mut self) -> Result<(), Reject> {
        self.at += 1;
        loop {
            self.at += plain_len(&self.body[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(self.invalid()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Reject> {
        let spelling: &[u8] = match self.body.get(self.at + 1) {
            // These two are canonical as they stand.
            Some(b'"' | b'\\') => {
                self.at += 2;
                return Ok(());
            }
            Some(b'n') => b"\\u000a",
            Some(b't') => b"\\u0009",
            Some(b'r') => b"\\u000d",
            Some(b'b') => b"\\u0008",
            Some(b'f') => b"\\u000c",
            Some(b'/') => b"/",
            Some(b'u') => {
                let (len, c) = self.unicode_escape()?;
                self.flush();
                push_char(&mut self.out, c);
                self.skip(len);
                return Ok(());
            }
            _ => return Err(self.invalid()),
        };
        self.flush();
        self.out.extend_from_slice(spelling);
        self.skip(2);
        Ok(())
    }

    /// Length and meaning of the `\uXXXX`, or pair of them, at `self.at`.
    fn unicode_escape(&self) -> Result<(usize, char), Reject> {
        let rest = &self.body[self.at..];
        let unit = |at: usize| rest.get(at..).and_then(hex4).ok_or(self.invalid());
        let first = unit(2)?;
        if let Some(c) = char::from_u32(first) {
            return Ok((6, c));
        }
        if !(0xd800..0xdc00).contains(&first) || rest.get(6..8) != Some(b"\\u") {
            return Err(Reject::LoneSurrogate);
        }
        let second = unit(8)?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(Reject::LoneSurrogate);
        }
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        Ok((12, char::from_u32(code).ok_or(Reject::LoneSurrogate)?))
    }

    fn number(&mut self) -> Result<(), Reject> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Reads one digit or more.
    fn digits(&mut self) -> Result<(), Reject> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            Err(self.invalid())
        } else {
            Ok(())
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Reject> {
        if !self.body[self.at..].starts_with(word) {
            return Err(self.invalid());
        }
        self.at += word.len();
        Ok(())
    }

    #[inline]
    fn skip_space(&mut self) {
        if matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.flush();
            while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
                self.at += 1;
            }
            self.pending = self.at;
        }
    }

    /// Writes what is pending.
    #[inline]
    fn flush(&mut self) {
        self.out
            .extend_from_slice(&self.body[self.pending..self.at]);
        self.pending = self.at;
    }

    /// Length of the canonical text of all that has been read.
    #[inline]
    fn written(&self) -> usize {
        self.out.len() + (self.at - self.pending)
    }

    /// Passes over bytes that are not in the canonical text; what is pending must be written.
    #[inline]
    fn skip(&mut self, len: usize) {
        self.at += len;
        self.pending = self.at;
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn invalid(&self) -> Reject {
        Reject::InvalidJson { at: self.at }
    }
}
