//! Looking an answer up, or taking the leave to ask for it.

use bytes::Bytes;
use tokio::time::timeout;

use super::client::engine::Claimed;
use super::client::trouble::Trouble;
use super::client::value::{self, ValueError};
use super::{LEASE, Shared, Token, millis};
use crate::key::Key;
use crate::metrics::shared::{BadValue, LeaseResult, Operation};
use crate::store::record::{Record, RecordError};

/// Longer answers are decompressed off the proxy's threads.
const DECODED_IN_PLACE_MAX: usize = 256 << 10;
/// Beside a body: its headers, its chunk table, its names.
const BESIDE_BODY_MAX: usize = 1 << 20;

/// What there is for a question.
pub enum Found {
    /// An answer.
    Answer(Box<Record>),
    /// Nothing, and the lease is taken: this replica asks.
    Lease,
    /// Nothing yet: the replica with this lease asks.
    Elsewhere(Token),
    /// Nothing, or no telling.
    Nothing,
}

impl Shared {
    /// A token for a lease of this replica, whose generation is `local`. `None`: there is no lease to be had.
    pub fn token(&self, local: u64) -> Option<Token> {
        let generation = self.purges.generation_of(local)?;
        Token::new(generation).filter(|_| self.options.single_flight)
    }

    /// What there is for a question: an answer, or else the lease with this token. Takes one deadline at
    /// most. After anything but [`Found::Elsewhere`] and an answer the lease may be ours.
    pub async fn claim(&self, key: &Key, token: &Token) -> Found {
        let claim = timeout(
            self.options.client.deadline,
            self.value_or_lease(key, token),
        );
        claim.await.unwrap_or(Found::Nothing)
    }

    /// The answer, if there is one. Takes one deadline at most.
    pub async fn get(&self, key: &Key) -> Option<Record> {
        // Nothing can be believed before the purges are known.
        self.purges.position()?;
        let main = self.names.main(key);
        let get = async {
            let value = match self.timed(Operation::Get, self.engine.get(&main)).await {
                Err(Trouble::Refused(why)) if Bad::is_stranger(&why) => {
                    self.bad(key, Bad::stranger(why));
                    return None;
                }
                value => value.ok()??,
            };
            self.record(key, &main, &value).await
        };
        timeout(self.options.client.deadline, get).await.ok()?
    }

    async fn value_or_lease(&self, key: &Key, token: &Token) -> Found {
        let (main, lease) = (self.names.main(key), self.names.lease(key));
        let claim = self
            .engine
            .claim(&main, &lease, token.as_bytes(), millis(LEASE));
        match self.timed(Operation::Claim, claim).await {
            Ok(Claimed::Value(value)) => match self.record(key, &main, &value).await {
                Some(record) => Found::Answer(Box::new(record)),
                // It is in the way of the lease until the next answer takes its place.
                None => self.lease(key, token).await,
            },
            Ok(Claimed::Taken) => self.taken(),
            Ok(Claimed::Held(holder)) => self.held(key, &holder),
            Err(Trouble::Refused(why)) if Bad::is_stranger(&why) => {
                self.bad(key, Bad::stranger(why));
                self.lease(key, token).await
            }
            Err(_) => Found::Nothing,
        }
    }

    async fn lease(&self, key: &Key, token: &Token) -> Found {
        let lease = self.names.lease(key);
        let take = self
            .engine
            .lease_take(&lease, token.as_bytes(), millis(LEASE));
        match self.timed(Operation::Lease, take).await {
            Ok(true) => self.taken(),
            Ok(false) => match self.timed(Operation::Lease, self.engine.get(&lease)).await {
                Ok(Some(holder)) => self.held(key, &holder),
                _ => Found::Nothing,
            },
            Err(_) => Found::Nothing,
        }
    }

    fn taken(&self) -> Found {
        self.metrics.shared.leases(LeaseResult::Taken).inc();
        Found::Lease
    }

    fn held(&self, key: &Key, holder: &[u8]) -> Found {
        match Token::read(holder) {
            Some(token) => {
                self.metrics.shared.leases(LeaseResult::Elsewhere).inc();
                Found::Elsewhere(token)
            }
            None => {
                self.bad(key, Bad(BadValue::Foreign, String::new()));
                Found::Nothing
            }
        }
    }

    /// Reads a value and what belongs to it.
    async fn record(&self, key: &Key, main: &[u8], first: &Bytes) -> Option<Record> {
        match self.read(key, main, first).await {
            Ok(record) => record,
            Err(reason) => {
                self.bad(key, Bad(reason, String::new()));
                None
            }
        }
    }

    async fn read(
        &self,
        key: &Key,
        main: &[u8],
        first: &Bytes,
    ) -> Result<Option<Record>, BadValue> {
        let bytes_max = self
            .options
            .answer_bytes_max
            .saturating_add(BESIDE_BODY_MAX);
        let header = value::header(first, bytes_max).map_err(reason_of)?;
        let keys = (1..header.chunks).map(|nth| value::chunk_key(main, nth));
        let further: Vec<Vec<u8>> = keys.collect();
        let mut chunks = Vec::new();
        if !further.is_empty() {
            let get = self.engine.get_many(&further);
            let Ok(found) = self.timed(Operation::Get, get).await else {
                return Ok(None);
            };
            // One may have gone before the others.
            let Some(all) = found.into_iter().collect::<Option<Vec<Bytes>>>() else {
                return Ok(None);
            };
            chunks = all;
        }
        let record = if (header.raw_len as usize) < DECODED_IN_PLACE_MAX {
            decode(key, first, &chunks, bytes_max)
        } else {
            let (key, first) = (*key, first.clone());
            let work = move || decode(&key, &first, &chunks, bytes_max);
            let done = tokio::task::spawn_blocking(work).await;
            done.unwrap_or(Err(BadValue::Damaged))
        }?;
        let Record {
            about, stored_ms, ..
        } = &record;
        match self.purges.cover(header.generation, key, about, *stored_ms) {
            true => Err(BadValue::Purged),
            false => Ok(Some(record)),
        }
    }

    /// Counts what is no answer. It is left alone: a stranger may need it, and the next answer to the
    /// question takes its place.
    fn bad(&self, key: &Key, Bad(reason, detail): Bad) {
        self.metrics.shared.bad_values(reason).inc();
        let reason = reason.as_str();
        log::debug!("a value of the shared tier is no answer: {reason} {detail} key={key}");
    }
}

/// Why a value is no answer, and what the server said.
struct Bad(BadValue, String);

impl Bad {
    /// A key of another type, most likely.
    fn stranger(why: String) -> Bad {
        Bad(BadValue::Foreign, why)
    }

    /// Whether that is what a server refuses, and not that it is full or that this is not allowed.
    fn is_stranger(why: &str) -> bool {
        why.contains("WRONGTYPE")
    }
}

fn decode(
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

fn reason_of(error: ValueError) -> BadValue {
    match error {
        ValueError::Foreign => BadValue::Foreign,
        ValueError::Version(_) => BadValue::Version,
        ValueError::Damaged => BadValue::Damaged,
        ValueError::TooLarge(_) => BadValue::TooLarge,
    }
}
