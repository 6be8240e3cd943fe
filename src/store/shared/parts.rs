//! Parts of answers, such as single texts of embeddings: short, and many at a time.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::client::engine::SHORT_BYTES_MAX;
use super::client::value;
use super::values::{self, Bad};
use crate::key::Key;
use crate::metrics::shared::{BadValue, Operation};
use crate::store::record::Record;

/// Parts that are looked for at once: of more most would not come within a deadline.
const PARTS_MAX: usize = 1024;
/// A longer one, with what stands beside it, is not shared: compressed it may be longer than what is read.
const PART_BYTES_MAX: usize = 2 * SHORT_BYTES_MAX;
/// Requests that look for parts at once: together they take half of all room.
pub const LOOKS_MAX: usize = 8;
/// Groups of them under way at once.
const GROUPS_MAX: usize = 4;
/// More bytes than these are decompressed off the proxy's threads.
const IN_PLACE_MAX: usize = 32 << 10;

/// A group of parts that was asked for: where each stands, and what it is.
type Group = Vec<(usize, Record)>;

impl Shared {
    /// Queues a part of an answer to be written, unless that would take the room of whole ones.
    pub fn offer_part(&self, record: Arc<Record>) {
        if record.weight() > PART_BYTES_MAX {
            return;
        }
        if self.queue.is_half_full() || !self.queue.put(record) {
            self.drops_write();
        }
    }

    /// What there is of the first [`PARTS_MAX`] of these parts. What has not come by `until` is not there.
    pub async fn parts(&self, keys: &[Key], until: Instant) -> Vec<Option<Record>> {
        let mut parts: Vec<Option<Record>> = keys.iter().map(|_| None).collect();
        // Nothing can be believed before the purges are known.
        if self.purges.position().is_none() || until <= Instant::now() {
            return parts;
        }
        // The seats are for others as well.
        let turn = timeout_at(until, self.parts_turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return parts };
        let keys: Vec<Key> = keys.iter().take(PARTS_MAX).copied().collect();
        let names: Vec<Vec<u8>> = keys.iter().map(|key| self.names.main(key)).collect();
        let groups = self.engine.together(&names);
        let groups = groups.into_iter().map(|group| {
            let of = |at: usize| Some((at, *keys.get(at)?, names.get(at)?.clone()));
            self.group(group.into_iter().filter_map(of).collect())
        });
        let mut groups = stream::iter(groups).buffer_unordered(GROUPS_MAX);
        while let Ok(Some(group)) = timeout_at(until, groups.next()).await {
            for (at, record) in group {
                if let Some(part) = parts.get_mut(at) {
                    *part = Some(record);
                }
            }
        }
        parts
    }

    async fn group(&self, wanted: Vec<(usize, Key, Vec<u8>)>) -> Group {
        let names: Vec<&[u8]> = wanted.iter().map(|(_, _, name)| &name[..]).collect();
        let get = self.engine.get_short(&names);
        let Ok(values) = self.timed(Operation::Get, get).await else {
            return Vec::new();
        };
        let values = wanted.iter().zip(values);
        let found: Vec<(usize, Key, Bytes)> = values
            .filter_map(|((at, key, _), value)| Some((*at, *key, value?)))
            .collect();
        let bytes: usize = found.iter().map(|(_, _, value)| value.len()).sum();
        let work = move || -> Vec<_> {
            let read =
                |(at, key, value): (usize, Key, Bytes)| (at, key, read(&key, &value).transpose());
            found.into_iter().map(read).collect()
        };
        let read = match bytes <= IN_PLACE_MAX {
            true => work(),
            false => {
                let done = tokio::task::spawn_blocking(work).await;
                done.unwrap_or_default()
            }
        };
        let mut group = Vec::with_capacity(read.len());
        for (at, key, value) in read {
            let record = value.map(|value| {
                let (generation, record) = value?;
                self.unless_purged(generation, record)
            });
            match record {
                Some(Ok(record)) => group.push((at, record)),
                Some(Err(reason)) => self.bad(&key, Bad(reason, String::new())),
                None => {}
            }
        }
        group
    }
}

/// A value and its generation. `None`: it has further chunks, so it is no part.
fn read(key: &Key, value: &Bytes) -> Result<Option<(u64, Record)>, BadValue> {
    let header = value::header(value, PART_BYTES_MAX).map_err(values::reason_of)?;
    if header.chunks > 1 {
        return Ok(None);
    }
    let record = values::decode(key, value, &[], PART_BYTES_MAX)?;
    Ok(Some((header.generation, record)))
}
