//! What is kept beside a record, and beside a segment of them, so that neither is read to be counted.

use super::about::About;
use super::record::{Reader, Record, RecordError};

/// What listing, counting, eviction and purges read of an entry, so that none of them reads a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// When it was stored, milliseconds since the Unix epoch.
    pub stored_ms: u64,
    /// Until when it is fresh.
    pub expires_ms: u64,
    /// The purges before it.
    pub generation: u64,
    /// Bytes of the encoded record.
    pub bytes: u32,
    /// What it is about.
    pub about: About,
}

impl Row {
    /// The row of a record that takes so many bytes.
    pub fn of(record: &Record, bytes: usize) -> Row {
        Row {
            stored_ms: record.stored_ms,
            expires_ms: record.expires_ms,
            generation: record.generation,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            about: About::clone(&record.about),
        }
    }

    /// The form in the database, little-endian like the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(28 + self.about.encoded_len());
        out.extend_from_slice(&self.stored_ms.to_le_bytes());
        out.extend_from_slice(&self.expires_ms.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        self.about.encode(&mut out);
        out
    }

    /// Reads what [`Row::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Row, RecordError> {
        let mut rest = Reader(bytes);
        let row = Row {
            stored_ms: rest.u64()?,
            expires_ms: rest.u64()?,
            generation: rest.u64()?,
            bytes: rest.u32()?,
            about: About::decode(&mut rest)?,
        };
        match rest.0 {
            [] => Ok(row),
            _ => Err(RecordError::Length),
        }
    }
}

/// What is known of a segment without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Entries ever added.
    pub added: u64,
    /// Bytes of all of them, encoded.
    pub bytes: u64,
    /// Entries that the index still points to.
    pub live: u64,
    /// Bytes of entries in pinned namespaces.
    pub pinned_bytes: u64,
    /// When the oldest was stored, milliseconds since the Unix epoch.
    pub oldest_ms: u64,
    /// When the last one expires.
    pub expires_ms: u64,
}

impl Totals {
    /// The form in the database: six numbers, little-endian.
    pub fn encode(&self) -> Vec<u8> {
        let numbers = [
            self.added,
            self.bytes,
            self.live,
            self.pinned_bytes,
            self.oldest_ms,
            self.expires_ms,
        ];
        numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    /// Reads what [`Totals::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Totals, RecordError> {
        let mut rest = Reader(bytes);
        Ok(Totals {
            added: rest.u64()?,
            bytes: rest.u64()?,
            live: rest.u64()?,
            pinned_bytes: rest.u64()?,
            oldest_ms: rest.u64()?,
            expires_ms: rest.u64()?,
        })
    }

    /// Counts one more entry.
    pub fn add(&mut self, row: &Row, pinned: bool) {
        self.oldest_ms = match self.added {
            0 => row.stored_ms,
            _ => self.oldest_ms.min(row.stored_ms),
        };
        self.added += 1;
        self.live += 1;
        self.bytes += u64::from(row.bytes);
        if pinned {
            self.pinned_bytes += u64::from(row.bytes);
        }
        self.expires_ms = self.expires_ms.max(row.expires_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_totals_come_back_as_they_were() {
        let row = Row {
            stored_ms: 1,
            expires_ms: u64::MAX,
            generation: 3,
            bytes: 4,
            about: About::new("chat", Some("gpt-4o"), Some("n"), [1; 8], [2; 8]),
        };
        let bytes = row.encode();
        assert_eq!(Row::decode(&bytes), Ok(row.clone()));
        for len in 0..bytes.len() {
            assert!(Row::decode(&bytes[..len]).is_err());
        }
        let mut totals = Totals::default();
        totals.add(&row, true);
        assert_eq!(Totals::decode(&totals.encode()), Ok(totals));
        assert_eq!(totals.pinned_bytes, 4);
    }
}
