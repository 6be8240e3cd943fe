//! Where things lie in the database.
//!
//! ```text
//! column family  key                          value
//! probation      segment 4 · 0 · digest 32    row: times, size, what it is about
//!   and main     segment 4 · 1 · digest 32    record, in a blob file from some size on
//! index          digest 32                    segment 4
//! default        segment/ · segment 4         totals of the segment
//!                purge/ · generation 8        what it covers, whether it has been carried out
//!                format, generation, floor,
//!                floor-done, fills-from,
//!                fleet, untold                one value each
//! ```
//!
//! Numbers in keys are big-endian, so that their order is the order of the files. Records are only
//! ever added; the index says which of them counts. A segment's files hold nothing else, and go with
//! it.

use rocksdb::{ColumnFamily, DB};

use crate::key::Key;

/// Entries that nobody has asked for again yet.
pub const CF_PROBATION: &str = "probation";
/// Entries that were used.
pub const CF_MAIN: &str = "main";
/// The one that every database has: totals, purges and the like.
pub const CF_BOOKKEEPING: &str = "default";
/// Digest → segment.
pub const CF_INDEX: &str = "index";

/// In the default column family: which layout this database has.
pub const FORMAT_KEY: &[u8] = b"format";
/// Raised whenever the layout changes; a database with another one is set aside.
pub const FORMAT: &[u8] = b"2";
/// The generation that fills carry.
pub const GENERATION_KEY: &[u8] = b"generation";
/// The generation from which on entries count.
pub const FLOOR_KEY: &[u8] = b"floor";
/// The floor up to which entries have been removed.
pub const FLOOR_DONE_KEY: &[u8] = b"floor-done";
/// The generation from which on fills are stored.
pub const FILLS_FROM_KEY: &[u8] = b"fills-from";
/// Which log of the fleet's purges, and up to which number it is carried out.
pub const FLEET_KEY: &[u8] = b"fleet";
/// Purges that the fleet has not been told of.
pub const UNTOLD_KEY: &[u8] = b"untold";
/// Before the generation of a purge.
pub const PURGE_PREFIX: &[u8] = b"purge/";
/// Before the number of a segment.
pub const SEGMENT_PREFIX: &[u8] = b"segment/";

/// The two queues of S3-FIFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Where entries begin.
    Probation,
    /// Where those go that were used.
    Main,
}

impl Queue {
    /// Both.
    pub const ALL: [Queue; 2] = [Queue::Probation, Queue::Main];

    /// Its column family.
    pub fn family(self) -> &'static str {
        match self {
            Queue::Probation => CF_PROBATION,
            Queue::Main => CF_MAIN,
        }
    }
}

/// The number of a segment. The lowest bit says which queue it is in; of one queue, the higher number
/// is the newer segment. There are two thousand million for each queue: a disk wears out before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment(pub u32);

impl Segment {
    /// The queue it is in.
    pub fn queue(self) -> Queue {
        match self.0 & 1 {
            0 => Queue::Probation,
            _ => Queue::Main,
        }
    }

    /// The first one of a queue above all that a number stands for.
    pub fn above(last: Option<Segment>, queue: Queue) -> Segment {
        let bit = u32::from(queue == Queue::Main);
        Segment(last.map_or(2, |last| (last.0 & !1).saturating_add(2)) | bit)
    }

    /// The four bytes that its keys begin with.
    pub fn prefix(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// From the value of the index.
    pub fn decode(bytes: &[u8]) -> Option<Segment> {
        Some(Segment(u32::from_be_bytes(bytes.try_into().ok()?)))
    }

    /// Before and behind all its keys.
    pub fn range(self) -> ([u8; 4], [u8; 38]) {
        let mut end = [0xff; 38];
        for (at, byte) in end.iter_mut().zip(self.prefix()) {
            *at = byte;
        }
        (self.prefix(), end)
    }
}

/// The two things of an entry in a data family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What is known without the body.
    Row = 0,
    /// The encoded record.
    Record = 1,
}

/// A key of a data family.
pub fn data_key(segment: Segment, kind: Kind, key: &Key) -> [u8; 37] {
    let mut out = [0; 37];
    let bytes = segment.prefix().into_iter().chain([kind as u8]);
    for (at, byte) in out.iter_mut().zip(bytes.chain(*key.as_bytes())) {
        *at = byte;
    }
    out
}

/// The beginning of the keys of one kind in a segment.
pub fn kind_prefix(segment: Segment, kind: Kind) -> [u8; 5] {
    let [a, b, c, d] = segment.prefix();
    [a, b, c, d, kind as u8]
}

/// Takes a key of a data family apart.
pub fn read_data_key(bytes: &[u8]) -> Option<(Segment, u8, Key)> {
    let (segment, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, digest) = rest.split_first()?;
    let key = Key::from_bytes(digest.try_into().ok()?);
    Some((Segment(u32::from_be_bytes(*segment)), *kind, key))
}

/// The column families of an open database.
#[derive(Clone, Copy)]
pub struct Families<'a> {
    probation: &'a ColumnFamily,
    main: &'a ColumnFamily,
    /// Digest → segment.
    pub index: &'a ColumnFamily,
    /// Totals, purges and the like.
    pub bookkeeping: &'a ColumnFamily,
}

impl<'a> Families<'a> {
    /// Those of a database; `None` if it was opened without them, which does not happen.
    pub fn of(db: &'a DB) -> Option<Families<'a>> {
        Some(Families {
            probation: db.cf_handle(CF_PROBATION)?,
            main: db.cf_handle(CF_MAIN)?,
            index: db.cf_handle(CF_INDEX)?,
            bookkeeping: db.cf_handle(CF_BOOKKEEPING)?,
        })
    }

    /// Where the entries of a queue lie.
    pub fn data(&self, queue: Queue) -> &'a ColumnFamily {
        match queue {
            Queue::Probation => self.probation,
            Queue::Main => self.main,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_segments_rise_and_say_their_queue() {
        let first = Segment::above(None, Queue::Probation);
        let second = Segment::above(Some(first), Queue::Main);
        let third = Segment::above(Some(second), Queue::Probation);
        assert!(first < second && second < third);
        assert_eq!(first.queue(), Queue::Probation);
        assert_eq!(second.queue(), Queue::Main);
        assert_eq!(Segment::decode(&third.prefix()), Some(third));
    }

    #[test]
    fn the_range_of_a_segment_holds_its_keys_and_no_others() {
        let segment = Segment(6);
        let (begin, end) = segment.range();
        for key in [Key::from_bytes([0; 32]), Key::from_bytes([0xff; 32])] {
            for kind in [Kind::Row, Kind::Record] {
                let inside = data_key(segment, kind, &key);
                assert!(begin.as_slice() < inside.as_slice());
                assert!(inside.as_slice() < end.as_slice());
                assert!(inside.starts_with(&kind_prefix(segment, kind)));
                assert_eq!(read_data_key(&inside), Some((segment, kind as u8, key)));
            }
            let outside = data_key(Segment(8), Kind::Row, &key);
            assert!(end.as_slice() < outside.as_slice());
        }
    }
}
