//! From a value of the tier to an answer, without trust.

use bytes::Bytes;

use super::Shared;
use super::client::trouble::Trouble;
use super::client::value::{self, Header, ValueError};
use crate::key::Key;
use crate::metrics::shared::{BadValue, Operation};
use crate::store::record::{Record, RecordError};

/// Longer answers are decompressed off the proxy's threads.
const DECODED_IN_PLACE_MAX: usize = 256 << 10;
/// Beside a body: its headers, its chunk table, its names.
pub(super) const BESIDE_BODY_MAX: usize = 1 << 20;

impl Shared {
    /// Reads a value and what belongs to it.
    pub(super) async fn record(
        &self,
        key: &Key,
        main: &[u8],
        first: &Bytes,
    ) -> Result<Option<Record>, Trouble> {
        match self.read(key, main, first).await? {
            Ok(record) => Ok(record),
            Err(reason) => {
                self.bad(key, Bad(reason, String::new()));
                Ok(None)
            }
        }
    }

    async fn read(
        &self,
        key: &Key,
        main: &[u8],
        first: &Bytes,
    ) -> Result<Result<Option<Record>, BadValue>, Trouble> {
        let bytes_max = self
            .options
            .answer_bytes_max
            .saturating_add(BESIDE_BODY_MAX);
        let header = match value::header(first, bytes_max) {
            Ok(header) => header,
            Err(error) => return Ok(Err(reason_of(error))),
        };
        let keys = (1..header.chunks).map(|nth| value::chunk_key(main, nth));
        let further: Vec<Vec<u8>> = keys.collect();
        let mut chunks = Vec::new();
        if !further.is_empty() {
            let bytes = header.stored_len as usize;
            let get = self.engine.get_many(&further, bytes);
            let found = self.timed(Operation::Get, get).await?;
            // One may have gone before the others.
            let Some(all) = found.into_iter().collect::<Option<Vec<Bytes>>>() else {
                return Ok(Ok(None));
            };
            chunks = all;
        }
        let checked = self.checked(key, header, first.clone(), chunks).await;
        Ok(checked.map(Some))
    }

    /// The answer that a value is, unless it was purged.
    pub(super) async fn checked(
        &self,
        key: &Key,
        header: Header,
        first: Bytes,
        further: Vec<Bytes>,
    ) -> Result<Record, BadValue> {
        // It fits what may be, or there would be no header.
        let bytes_max = header.raw_len as usize;
        let record = if bytes_max < DECODED_IN_PLACE_MAX {
            decode(key, &first, &further, bytes_max)
        } else {
            let key = *key;
            let work = move || decode(&key, &first, &further, bytes_max);
            let done = tokio::task::spawn_blocking(work).await;
            done.unwrap_or(Err(BadValue::Damaged))
        }?;
        self.unless_purged(header.generation, record)
    }

    /// An answer, unless it was purged. `generation`: that of the fleet, when its upstream was asked.
    pub(super) fn unless_purged(
        &self,
        generation: u64,
        record: Record,
    ) -> Result<Record, BadValue> {
        let Record {
            key,
            about,
            stored_ms,
            ..
        } = &record;
        match self.purges.cover(generation, key, about, *stored_ms) {
            true => Err(BadValue::Purged),
            false => Ok(record),
        }
    }

    /// Counts what is no answer. It is left alone: a stranger may need it, and the next answer to the
    /// question takes its place.
    pub(super) fn bad(&self, key: &Key, Bad(reason, detail): Bad) {
        self.metrics.shared.bad_values(reason).inc();
        let reason = reason.as_str();
        log::debug!("a value of the shared tier is no answer: {reason} {detail} key={key}");
    }
}

/// Why a value is no answer, and what the server said.
pub(super) struct Bad(pub(super) BadValue, pub(super) String);

impl Bad {
    /// A key of another type, most likely.
    pub(super) fn stranger(why: String) -> Bad {
        Bad(BadValue::Foreign, why)
    }

    /// Whether that is what a server refuses, and not that it is full or that this is not allowed.
    pub(super) fn is_stranger(why: &str) -> bool {
        why.contains("WRONGTYPE")
    }
}

pub(super) fn decode(
    key: &Key,
    first: &[u8],
    further: &[Bytes],
    bytes_max: usize,
) -> Result<Record, BadValue> {
    let (_, raw) = value::decode(first, further, bytes_max).map_err(reason_of)?;
    Record::decode_for(key, &raw).map_err(|error| match error {
        RecordError::Version(_) => BadValue::Version,
        RecordError::Key => BadValue::Key,
        _ => BadValue::Damaged,
    })
}

/// What counts as the reason.
pub(super) fn reason_of(error: ValueError) -> BadValue {
    match error {
        ValueError::Foreign => BadValue::Foreign,
        ValueError::Version(_) => BadValue::Version,
        ValueError::Damaged => BadValue::Damaged,
        ValueError::TooLarge(_) => BadValue::TooLarge,
    }
}
