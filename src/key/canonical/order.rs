//! Members of an object, and putting them in the order of their keys.

use super::{Reject, without_case};

/// A member of an object in the canonical text, `"key":value`, by offsets. Small, because a body
/// can hold one for every six bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    start: u32,
    /// Behind the closing quote.
    key_end: u32,
    end: u32,
}

impl Member {
    /// Offsets fit into 32 bits by [`super::BODY_BYTES_MAX`].
    pub(super) fn new(start: usize, key_end: usize, end: usize) -> Member {
        Member {
            start: start as u32,
            key_end: key_end as u32,
            end: end as u32,
        }
    }

    /// Offset of the opening quote.
    pub(super) fn start(&self) -> usize {
        self.start as usize
    }

    /// The key without its quotes. Spelling is unique, so equal text is an equal key.
    pub(super) fn key<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        &text[self.start as usize + 1..self.key_end as usize - 1]
    }

    /// The value.
    pub(super) fn value<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        &text[self.key_end as usize + 1..self.end as usize]
    }

    fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// The whole member, `"key":value`.
    pub(super) fn bytes<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        &text[self.start as usize..self.end as usize]
    }

    fn moved_to(&self, start: usize) -> Member {
        let start = start as u32;
        Member {
            start,
            key_end: start + (self.key_end - self.start),
            end: start + (self.end - self.start),
        }
    }
}

/// Puts members in order.
pub(super) struct Sorter {
    scratch: Vec<u8>,
    /// Bytes that may still be moved.
    moves_left: usize,
}

impl Sorter {
    pub(super) fn new(moves_max: usize) -> Sorter {
        Sorter {
            scratch: Vec::new(),
            moves_left: moves_max,
        }
    }

    /// Sorts the members of one object by key, in the list and in the text, where they stand one
    /// behind the other with one comma between each two.
    pub(super) fn sort(&mut self, text: &mut [u8], members: &mut [Member]) -> Result<(), Reject> {
        if members.is_sorted_by(|a, b| a.key(text) < b.key(text)) {
            return Ok(());
        }
        let (Some(first), Some(last)) = (members.first(), members.last()) else {
            return Ok(());
        };
        let start = first.start();
        let moves = last.end as usize - start;
        members.sort_unstable_by(|a, b| a.key(text).cmp(b.key(text)));
        if members
            .windows(2)
            .any(|pair| pair[0].key(text) == pair[1].key(text))
        {
            return Err(Reject::DuplicateKey);
        }
        self.moves_left = self
            .moves_left
            .checked_sub(moves)
            .ok_or(Reject::TooTangled)?;
        self.rearrange(text, members, start);
        Ok(())
    }

    /// Refuses equal keys and leaves the order as it is.
    pub(super) fn find_duplicate(&self, text: &[u8], members: &[Member]) -> Result<(), Reject> {
        if members.is_sorted_by(|a, b| a.key(text) < b.key(text)) {
            return Ok(());
        }
        let mut keys: Vec<&[u8]> = members.iter().map(|member| member.key(text)).collect();
        keys.sort_unstable();
        match keys.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(Reject::DuplicateKey),
            false => Ok(()),
        }
    }

    /// Refuses two keys that differ in nothing but case and underscores.
    pub(super) fn find_alike(text: &[u8], members: &[Member]) -> Result<(), Reject> {
        if members.len() < 2 {
            return Ok(());
        }
        let bare = |member: &Member| -> String {
            let key = String::from_utf8_lossy(member.key(text));
            without_case(&key).filter(|c| *c != '_').collect()
        };
        let mut keys: Vec<String> = members.iter().map(bare).collect();
        keys.sort_unstable();
        match keys.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(Reject::DuplicateKey),
            false => Ok(()),
        }
    }

    /// Writes the members in the order of the list, beginning at `start`. The longest one, often
    /// nearly all of the object, is moved in place; only the others go through the scratch buffer.
    fn rearrange(&mut self, text: &mut [u8], members: &mut [Member], start: usize) {
        let longest = (0..members.len())
            .max_by_key(|i| members[*i].len())
            .unwrap_or_default();
        self.scratch.clear();
        let mut target = start;
        for (i, member) in members.iter().enumerate() {
            if i != longest {
                self.scratch.extend_from_slice(member.bytes(text));
            }
            if i < longest {
                target += member.len() + 1;
            }
        }
        let source = members[longest];
        text.copy_within(source.start as usize..source.end as usize, target);

        let mut others = self.scratch.as_slice();
        let mut at = start;
        let last = members.len() - 1;
        for (i, member) in members.iter_mut().enumerate() {
            *member = member.moved_to(at);
            let end = member.end as usize;
            if i != longest {
                let (bytes, rest) = others.split_at(member.len());
                text[at..end].copy_from_slice(bytes);
                others = rest;
            }
            if i != last {
                text[end] = b',';
            }
            at = end + 1;
        }
    }
}
