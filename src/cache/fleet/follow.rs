//! The others' side: a flight here gets what a replica elsewhere publishes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::frame::{self, Frame, HeadFrame};
use super::{ASK_HERE, WATCHED_EVERY};
use crate::cache::Cache;
use crate::cache::flight::{End, Flight};
use crate::cache::flights::FillGuard;
use crate::key::Key;
use crate::metrics::shared::Followed;
use crate::store::shared::{Shared, Token};

/// Between two looks at what is published, while something comes.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The same once nothing has come for [`QUIET_AFTER`].
const LOOK_SELDOM: Duration = Duration::from_millis(25);
const QUIET_AFTER: Duration = Duration::from_secs(2);
/// Without the lease being held, or anything new, for so long, the leader is dead. A lease that was lost is
/// taken again sooner.
const DEAD_AFTER: Duration = Duration::from_millis(1000);
/// The same where nothing has been published: it may have given the lease back.
const GONE_AFTER: Duration = Duration::from_millis(600);
/// The server does not answer: a client that has got nothing yet does not wait for longer.
const PATIENCE_BEFORE: Duration = Duration::from_millis(250);
/// One that is in the middle of an answer has nothing else.
const PATIENCE_WITHIN: Duration = Duration::from_secs(10);

/// Follows an answer from elsewhere until its end. Without one the guard ends the flight as given up: those
/// who have got nothing yet ask again, the others see a break.
pub async fn follow(cache: &'static Cache, key: Key, token: Token, guard: FillGuard) {
    let Some(shared) = cache.store().shared() else {
        return;
    };
    let flight = guard.flight().clone();
    let mut reader = Reader {
        cache,
        shared,
        key,
        token,
        flight: flight.clone(),
        offset: 0,
        bytes: Vec::new(),
        head: None,
        held: Vec::new(),
        begun: false,
        body_bytes: 0,
    };
    let outcome = tokio::select! {
        outcome = reader.run() => outcome,
        // Nobody waits for it here.
        () = flight.deserted() => return,
    };
    cache.metrics().shared.followed(outcome).inc();
    match outcome {
        Followed::Complete => flight.end(End::Complete),
        Followed::Broken => flight.end(End::Broken("fleet")),
        // The guard says it.
        Followed::TakenOver => {}
        Followed::Refused => flight.end(End::Broken(ASK_HERE)),
    }
    drop(guard);
}

struct Reader {
    cache: &'static Cache,
    shared: &'static Shared,
    key: Key,
    token: Token,
    flight: Arc<Flight>,
    offset: u64,
    /// Read, and no whole frame yet.
    bytes: Vec<u8>,
    /// Held back, with what follows, until the end: not a stream, so nobody reads it before.
    head: Option<HeadFrame>,
    held: Vec<Bytes>,
    /// Clients here have got something.
    begun: bool,
    body_bytes: u64,
}

impl Reader {
    async fn run(&mut self) -> Followed {
        let mut alive_at = Instant::now();
        let mut heard_at = Instant::now();
        let mut came_at = Instant::now();
        let mut watched_at: Option<Instant> = None;
        loop {
            if watched_at.is_none_or(|at| at.elapsed() > WATCHED_EVERY) {
                watched_at = Some(Instant::now());
                self.shared
                    .watch(&self.key, &self.token, WATCHED_EVERY * 3)
                    .await;
            }
            let at = self.offset + self.bytes.len() as u64;
            match self.shared.follow(&self.key, &self.token, at).await {
                Ok((bytes, held)) => {
                    heard_at = Instant::now();
                    let came = !bytes.is_empty();
                    if came || held {
                        alive_at = heard_at;
                    }
                    self.bytes.extend_from_slice(&bytes);
                    if !self.begun && self.is_over() {
                        return Followed::Refused;
                    }
                    match self.deliver().await {
                        Ok(None) => {}
                        Ok(Some(outcome)) => return outcome,
                        Err(frame::Damaged) => return self.given_up(),
                    }
                    if came {
                        came_at = heard_at;
                        // There may be more.
                        continue;
                    }
                    let nothing = at == 0;
                    if alive_at.elapsed() > if nothing { GONE_AFTER } else { DEAD_AFTER } {
                        return self.given_up();
                    }
                }
                Err(_) => {
                    let patience = match self.begun {
                        true => PATIENCE_WITHIN,
                        false => PATIENCE_BEFORE,
                    };
                    if heard_at.elapsed() > patience {
                        return self.given_up();
                    }
                    // While nobody can be heard, nobody is dead.
                    alive_at = Instant::now();
                }
            }
            sleep(match came_at.elapsed() > QUIET_AFTER {
                false => LOOK_EVERY,
                true => LOOK_SELDOM,
            })
            .await;
        }
    }

    /// Whether what has come ends in a break. Who came too late for it asks again, instead of giving
    /// clients the beginning of what has none to follow.
    fn is_over(&self) -> bool {
        let mut at = 0;
        while let Some(rest) = self.bytes.get(at..)
            && let Ok(Some((frame, length))) = frame::decode(rest, self.offset + at as u64)
        {
            if frame == Frame::Break {
                return true;
            }
            at += length;
        }
        false
    }

    fn given_up(&self) -> Followed {
        match self.begun {
            true => Followed::Broken,
            false => Followed::TakenOver,
        }
    }

    /// Hands on the frames that are whole.
    async fn deliver(&mut self) -> Result<Option<Followed>, frame::Damaged> {
        while let Some((frame, length)) = frame::decode(&self.bytes, self.offset)? {
            self.bytes.drain(..length);
            self.offset += length as u64;
            match frame {
                Frame::Head(head) => {
                    if head.is_stream() {
                        self.begun = true;
                        self.flight.begin(head.head());
                    } else {
                        self.head = Some(head);
                    }
                }
                Frame::Piece(piece) => {
                    self.body_bytes += piece.len() as u64;
                    let piece = Bytes::from(piece);
                    match self.begun {
                        true => drop(self.flight.push(piece, false).await),
                        false => self.hold(piece)?,
                    }
                }
                Frame::End(length) if length == self.body_bytes => {
                    self.take_in().await;
                    return Ok(Some(Followed::Complete));
                }
                Frame::End(_) => return Err(frame::Damaged),
                Frame::Stored if self.body_bytes == 0 => return Ok(Some(self.stored().await)),
                Frame::Stored => return Err(frame::Damaged),
                Frame::Alive => {}
                Frame::Break => {
                    return Ok(Some(match self.begun {
                        true => Followed::Broken,
                        false => Followed::Refused,
                    }));
                }
            }
        }
        Ok(None)
    }

    fn hold(&mut self, piece: Bytes) -> Result<(), frame::Damaged> {
        // A head comes first; who publishes more than may be kept stops by himself.
        if self.head.is_none() || self.body_bytes > self.flight.bytes_max() as u64 {
            return Err(frame::Damaged);
        }
        self.held.push(piece);
        Ok(())
    }

    /// The answer is complete and lies in the tier; none of it was published.
    async fn stored(&mut self) -> Followed {
        let Some(record) = self.cache.fetch(&self.key).await else {
            return self.given_up();
        };
        self.begun = true;
        super::give(&self.flight, &record).await;
        Followed::Complete
    }

    /// The answer is complete. It is kept here before anyone is told, so that the next request finds it.
    async fn take_in(&mut self) {
        if let Some(record) = self.cache.fetch(&self.key).await
            && let Some(usage) = record.usage
        {
            self.flight.set_usage(usage);
        }
        if let Some(head) = self.head.take() {
            self.begun = true;
            self.flight.begin(head.head());
            for piece in std::mem::take(&mut self.held) {
                self.flight.push(piece, false).await;
            }
        }
    }
}
