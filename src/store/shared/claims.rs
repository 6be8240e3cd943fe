//! Looking an answer up, or taking the leave to ask for it.

use tokio::time::{Instant, timeout, timeout_at};

use super::client::engine::Claimed;
use super::client::trouble::Trouble;
use super::values::Bad;
use super::{LEASE, Shared, Token, millis};
use crate::key::Key;
use crate::metrics::shared::{BadValue, LeaseResult, Operation};
use crate::store::record::Record;

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

    /// What there is for a question: an answer, or else the lease with this token. Nothing that comes after
    /// `until` counts. After anything but [`Found::Elsewhere`] and an answer the lease may be ours.
    pub async fn claim(&self, key: &Key, token: &Token, until: Instant) -> Found {
        let claim = timeout_at(until, self.value_or_lease(key, token));
        claim.await.unwrap_or(Found::Nothing)
    }

    /// The answer, if there is one. Takes one deadline at most.
    pub async fn get(&self, key: &Key) -> Option<Record> {
        self.look(key).await.ok().flatten()
    }

    /// The same; an error if that cannot be known.
    pub async fn look(&self, key: &Key) -> Result<Option<Record>, Trouble> {
        // Nothing can be believed before the purges are known.
        self.purges.position().ok_or(Trouble::Unreachable)?;
        let main = self.names.main(key);
        let get = async {
            let value = match self.timed(Operation::Get, self.engine.get(&main)).await {
                Err(Trouble::Refused(why)) if Bad::is_stranger(&why) => {
                    self.bad(key, Bad::stranger(why));
                    return Ok(None);
                }
                value => value?,
            };
            match value {
                Some(value) => self.record(key, &main, &value).await,
                None => Ok(None),
            }
        };
        let looked = timeout(self.options.client.deadline, get).await;
        looked.unwrap_or(Err(Trouble::Deadline))
    }

    async fn value_or_lease(&self, key: &Key, token: &Token) -> Found {
        let (main, lease) = (self.names.main(key), self.names.lease(key));
        let claim = self
            .engine
            .claim(&main, &lease, token.as_bytes(), millis(LEASE));
        match self.timed(Operation::Claim, claim).await {
            Ok(Claimed::Value(value)) => match self.record(key, &main, &value).await.ok().flatten()
            {
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
}
