//! The segments there are, kept in memory beside their copy in the database.

use std::collections::BTreeMap;

use super::layout::{Queue, Segment};
use crate::store::row::Totals;

/// All segments and their totals. The newest of each queue takes entries.
#[derive(Debug, Clone, Default)]
pub struct Table {
    segments: BTreeMap<Segment, Totals>,
}

impl Table {
    /// From what the database remembers.
    pub fn new(segments: BTreeMap<Segment, Totals>) -> Table {
        Table { segments }
    }

    /// Every segment, oldest number first.
    pub fn iter(&self) -> impl Iterator<Item = (Segment, &Totals)> {
        self.segments
            .iter()
            .map(|(segment, totals)| (*segment, totals))
    }

    /// What is known of a segment.
    pub fn get(&self, segment: Segment) -> Option<&Totals> {
        self.segments.get(&segment)
    }

    /// The totals of a segment, to be changed.
    pub fn get_mut(&mut self, segment: Segment) -> Option<&mut Totals> {
        self.segments.get_mut(&segment)
    }

    /// The newest segment of a queue.
    pub fn newest(&self, queue: Queue) -> Option<Segment> {
        self.of(queue).next_back().map(|(segment, _)| segment)
    }

    /// The oldest segment of a queue.
    pub fn oldest(&self, queue: Queue) -> Option<Segment> {
        self.of(queue).next().map(|(segment, _)| segment)
    }

    /// Begins a segment: its number is above all others, whatever their queue.
    pub fn begin(&mut self, queue: Queue) -> Segment {
        let last = self.segments.last_key_value().map(|(segment, _)| *segment);
        let segment = Segment::above(last, queue);
        self.segments.insert(segment, Totals::default());
        segment
    }

    /// Begins a segment whose number is above another one.
    pub fn begin_above(&mut self, last: Segment, queue: Queue) -> Segment {
        let segment = Segment::above(Some(last), queue);
        self.segments.insert(segment, Totals::default());
        segment
    }

    /// Forgets a segment.
    pub fn remove(&mut self, segment: Segment) {
        self.segments.remove(&segment);
    }

    /// Bytes ever added to the segments of a queue that are there.
    pub fn bytes(&self, queue: Queue) -> u64 {
        self.of(queue).map(|(_, totals)| totals.bytes).sum()
    }

    /// Bytes of entries in pinned namespaces.
    pub fn pinned_bytes(&self) -> u64 {
        self.segments
            .values()
            .map(|totals| totals.pinned_bytes)
            .sum()
    }

    /// Entries that the index points to.
    pub fn live(&self) -> u64 {
        self.segments.values().map(|totals| totals.live).sum()
    }

    /// When the oldest entry was stored; `None` without entries.
    pub fn oldest_ms(&self) -> Option<u64> {
        let filled = self.segments.values().filter(|totals| totals.live > 0);
        filled.map(|totals| totals.oldest_ms).min()
    }

    fn of(&self, queue: Queue) -> impl DoubleEndedIterator<Item = (Segment, &Totals)> {
        self.segments
            .iter()
            .map(|(segment, totals)| (*segment, totals))
            .filter(move |(segment, _)| segment.queue() == queue)
    }
}
