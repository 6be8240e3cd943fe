//! The leader's side: what its flight gets is appended to a log that the others read.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::RENEW_EVERY;
use super::frame::{self, Frame, HeadFrame};
use crate::cache::Cache;
use crate::cache::flight::{End, Flight, Follower};
use crate::key::Key;
use crate::store::shared::{Shared, Token};

/// Bytes of one append; pieces that come meanwhile go together.
const APPEND_MAX: usize = 256 << 10;
/// Between attempts to publish while the server does not answer.
const RETRY_EVERY: Duration = Duration::from_millis(100);
/// Once the answer is there, it is not tried for longer: who follows has given up by then.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Publishes a flight until its end, and keeps the lease for as long.
pub async fn publish(cache: &'static Cache, key: Key, token: Token, flight: Arc<Flight>) {
    if let Some(shared) = cache.store().shared() {
        let publisher = Publisher {
            cache,
            shared,
            key,
            token,
            flight,
            log: Log::default(),
            seat: None,
        };
        publisher.run().await;
        shared.has_published(&key);
        shared.end_lease(&key, &token).await;
    }
}

struct Publisher {
    cache: &'static Cache,
    shared: &'static Shared,
    key: Key,
    token: Token,
    flight: Arc<Flight>,
    log: Log,
    /// Held for followers elsewhere, so that the fill does not stop because those here have left.
    seat: Option<Follower>,
}

/// How much of the flight is in the log.
#[derive(Default)]
struct Log {
    head: bool,
    pieces: usize,
    body_bytes: u64,
    /// Bytes of all frames so far, and those of them that the server does not have yet.
    bytes: u64,
    unsent: Vec<u8>,
}

impl Log {
    fn add(&mut self, frame: &Frame) {
        let before = self.unsent.len();
        frame::encode(frame, self.bytes, &mut self.unsent);
        self.bytes += (self.unsent.len() - before) as u64;
    }

    /// Bytes that the server should have.
    fn sent(&self) -> u64 {
        self.bytes - self.unsent.len() as u64
    }
}

impl Publisher {
    async fn run(mut self) {
        let mut progress = self.flight.progress();
        let mut renew_at = Instant::now() + RENEW_EVERY;
        let mut ended_at = None;
        loop {
            progress.borrow_and_update();
            let ended = self.read();
            if !self.send().await {
                let ended_at = *ended_at.get_or_insert_with(Instant::now);
                if ended && ended_at.elapsed() > RETRY_MAX {
                    return;
                }
                sleep(RETRY_EVERY).await;
                continue;
            }
            if ended {
                return;
            }
            ended_at = None;
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return },
                () = sleep_until(renew_at) => {
                    self.renew().await;
                    renew_at = Instant::now() + RENEW_EVERY;
                }
                () = self.flight.deserted() => self.look_for_followers().await,
            }
        }
    }

    /// Takes what has come into the log. True at the end, or if no more is to be told.
    fn read(&mut self) -> bool {
        if self.log.body_bytes == u64::MAX {
            return true;
        }
        let since = self.flight.since(self.log.pieces);
        let Some(head) = since.head else {
            return match since.end {
                None => false,
                Some(_) => self.stop(),
            };
        };
        // Errors are between an upstream and who asked it. What does not fit is not kept to be read.
        if head.status != 200 || since.overflowed {
            return self.stop();
        }
        if !self.log.head {
            self.log.head = true;
            self.log.add(&Frame::Head(HeadFrame::of(&head)));
        }
        for piece in &since.pieces {
            self.log.add(&Frame::Piece(piece.to_vec()));
            self.log.body_bytes += piece.len() as u64;
        }
        self.log.pieces += since.pieces.len();
        match since.end {
            None => false,
            Some(End::Complete) => true,
            Some(End::Broken(_) | End::Failed(_)) => self.stop(),
        }
    }

    /// Nothing more will be told.
    fn stop(&mut self) -> bool {
        self.seat = None;
        self.log.add(&Frame::Break);
        self.log.body_bytes = u64::MAX;
        true
    }

    /// Sends what the server does not have yet; at the end of a complete answer that it is there, and
    /// complete. False if the server did not take it.
    async fn send(&mut self) -> bool {
        let since = self.flight.since(self.log.pieces);
        let complete = self.log.body_bytes != u64::MAX
            && since.end == Some(End::Complete)
            && since.pieces.is_empty();
        if complete && self.log.head {
            if !self.append().await {
                return false;
            }
            // Before anyone is told of the end: the next request finds it.
            if let Some(record) = self.cache.store().get_hot(&self.key)
                && !self.shared.put(&record).await
            {
                self.shared.drops_write();
            }
            self.log.add(&Frame::End(self.log.body_bytes));
        }
        self.append().await
    }

    async fn append(&mut self) -> bool {
        while !self.log.unsent.is_empty() {
            let length = self.log.unsent.len().min(APPEND_MAX);
            let Some(part) = self.log.unsent.get(..length) else {
                return false;
            };
            let expected = self.log.sent() + length as u64;
            let appended = self.shared.publish(&self.key, &self.token, part).await;
            if appended != Ok(expected) {
                // It may have been appended or not, or the server has lost what it had: from the beginning,
                // byte for byte the same.
                let _ = self.shared.unpublish(&self.key, &self.token).await;
                let stopped = self.log.body_bytes == u64::MAX;
                self.log = Log::default();
                if stopped {
                    self.stop();
                }
                return false;
            }
            self.log.unsent.drain(..length);
        }
        true
    }

    async fn renew(&mut self) {
        // Otherwise somebody else asks as well; who follows this one can go on.
        let _ = self.shared.renew(&self.key, &self.token).await;
        if self.seat.is_some() {
            self.seat = None;
            self.look_for_followers().await;
        }
    }

    /// Nobody here wants it any more; somebody elsewhere may.
    async fn look_for_followers(&mut self) {
        match self.shared.is_watched(&self.key, &self.token).await {
            true if self.flight.ended().is_none() => self.seat = self.flight.follow(),
            _ => sleep(RETRY_EVERY).await,
        }
    }
}
