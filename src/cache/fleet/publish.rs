//! The leader's side: what its flight gets is appended to a log that the others read.
//!
//! Most answers are followed by nobody elsewhere, and of those that are not streams nobody could read a
//! part: of these only the end is told, and where the answer lies. A stream is published as it comes once
//! somebody follows it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::RENEW_EVERY;
use super::frame::{self, Frame, HeadFrame};
use crate::cache::Cache;
use crate::cache::flight::{End, Flight, Follower, Since};
use crate::key::Key;
use crate::store::shared::{Shared, Token};

/// Bytes of one append.
const APPEND_MAX: usize = 256 << 10;
/// Between two appends: pieces that come meanwhile go together.
const APPEND_EVERY: Duration = Duration::from_millis(20);
/// A stream that nobody elsewhere follows is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Between attempts to publish while the server does not answer.
const RETRY_EVERY: Duration = Duration::from_millis(100);
/// Once the answer is there, it is not tried for longer: who follows has given up by then.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Publishes a flight until its end, and keeps the lease for as long. `told`: how much of it whoever follows
/// it or not.
pub async fn publish(
    cache: &'static Cache,
    key: Key,
    token: Token,
    flight: Arc<Flight>,
    told: Told,
) {
    if let Some(shared) = cache.store().shared() {
        let publisher = Publisher {
            cache,
            shared,
            key,
            token,
            flight,
            log: Log::default(),
            told,
            headed: false,
            stored: None,
            seat: None,
        };
        publisher.run().await;
        shared.has_published(&key);
        shared.end_lease(&key, &token).await;
    }
}

/// Resolves at a flight's end.
async fn ended(flight: &Flight) {
    let mut progress = flight.progress();
    while flight.ended().is_none() && progress.changed().await.is_ok() {}
}

struct Publisher {
    cache: &'static Cache,
    shared: &'static Shared,
    key: Key,
    token: Token,
    flight: Arc<Flight>,
    log: Log,
    told: Told,
    /// The head has been seen.
    headed: bool,
    /// At the end of a complete answer: whether the tier has it.
    stored: Option<bool>,
    /// Held for followers elsewhere, so that the fill does not stop because those here have left.
    seat: Option<Follower>,
}

/// How much is told to the others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Only how it ends.
    Nothing,
    /// All of it, as it comes.
    All,
    /// That they have to ask for themselves.
    Break,
}

/// How much of the flight is in the log.
#[derive(Default)]
struct Log {
    head: bool,
    pieces: usize,
    body_bytes: u64,
    ended: bool,
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

    fn end(&mut self, frame: &Frame) {
        if !self.ended {
            self.ended = true;
            self.add(frame);
        }
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
            let began = Instant::now();
            self.tell().await;
            if Instant::now() >= renew_at {
                self.renew().await;
                renew_at = Instant::now() + RENEW_EVERY;
            }
            if !self.send().await {
                if self.flight.ended().is_some() {
                    let ended_at: &mut Instant = ended_at.get_or_insert(began);
                    if ended_at.elapsed() > RETRY_MAX {
                        return;
                    }
                }
                sleep(RETRY_EVERY).await;
                continue;
            }
            if self.log.ended {
                return;
            }
            // What comes at once goes together.
            let next = began + self.pause();
            tokio::select! {
                () = sleep_until(renew_at) => {}
                changed = progress.changed() => {
                    if changed.is_err() { return }
                    tokio::select! {
                        () = sleep_until(next) => {}
                        () = ended(&self.flight) => {}
                    }
                }
                () = self.flight.deserted() => {
                    self.look_for_followers().await;
                    if self.seat.is_none() {
                        // What comes meanwhile is told at once, and so is the end.
                        tokio::select! {
                            changed = progress.changed() => if changed.is_err() { return },
                            () = sleep(RETRY_EVERY) => {}
                        }
                    }
                }
            }
        }
    }

    fn pause(&self) -> Duration {
        match self.told {
            Told::All => APPEND_EVERY,
            // Who follows already is looked for as soon as there is something to tell.
            _ if !self.headed => Duration::ZERO,
            Told::Nothing | Told::Break => LOOK_EVERY,
        }
    }

    /// Takes into the log what is to be told of what has come.
    async fn tell(&mut self) {
        let since = self.flight.since(self.log.pieces);
        self.decide(&since).await;
        let Some(head) = since.head.filter(|_| self.told != Told::Break) else {
            if since.end.is_some() || self.told == Told::Break {
                self.told = Told::Break;
                self.log.end(&Frame::Break);
            }
            return;
        };
        let ended = since.end.is_some();
        if ended && self.stored.is_none() {
            // Before anyone is told of the end: the next request finds it.
            self.stored = Some(self.store().await);
        }
        let stored = self.stored == Some(true);
        if ended && !stored && self.told == Told::Nothing && self.is_watched().await {
            // Not to be found anywhere, and wanted.
            self.told = Told::All;
        }
        if self.told == Told::All {
            if !self.log.head {
                self.log.head = true;
                self.log.add(&Frame::Head(HeadFrame::of(&head)));
            }
            for piece in &since.pieces {
                self.log.add(&Frame::Piece(piece.to_vec()));
                self.log.body_bytes += piece.len() as u64;
            }
            self.log.pieces += since.pieces.len();
        }
        match self.told {
            _ if !ended => {}
            Told::All => self.log.end(&Frame::End(self.log.body_bytes)),
            _ if stored => self.log.end(&Frame::Stored),
            _ => self.log.end(&Frame::Break),
        }
    }

    async fn is_watched(&self) -> bool {
        self.shared.is_watched(&self.key, &self.token).await
    }

    /// How much is to be told from here on.
    async fn decide(&mut self, since: &Since) {
        let broken = matches!(since.end, Some(End::Broken(_) | End::Failed(_)));
        let Some(head) = &since.head else { return };
        self.headed = true;
        // Errors are between an upstream and who asked it. What does not fit is not kept to be read.
        if head.status != 200 || since.overflowed || broken {
            self.told = Told::Break;
            self.seat = None;
        } else if self.told == Told::Nothing
            && HeadFrame::of(head).is_stream()
            && self.is_watched().await
        {
            self.told = Told::All;
        }
    }

    /// Whether the tier has the answer now.
    async fn store(&self) -> bool {
        let Some(record) = self.shared.offered(&self.key) else {
            return false;
        };
        if self.cache.store().is_purged(&record) {
            return false;
        }
        let stored = self.shared.put(&record).await;
        if !stored {
            self.shared.drops_write();
        }
        stored
    }

    /// Sends what the server does not have yet. False if it did not take it.
    async fn send(&mut self) -> bool {
        while !self.log.unsent.is_empty() {
            let length = self.log.unsent.len().min(APPEND_MAX);
            let Some(part) = self.log.unsent.get(..length) else {
                return false;
            };
            let sent = self.log.sent();
            let publish = self.shared.publish(&self.key, &self.token, sent, part);
            let Ok(there) = publish.await else {
                // It may have been appended or not; the next attempt tells.
                return false;
            };
            let Some(more) = there.checked_sub(sent) else {
                // The server has lost what it had: once more from the beginning, byte for byte the same.
                self.log = Log::default();
                return false;
            };
            let more = usize::try_from(more).unwrap_or(usize::MAX);
            if more == 0 || more > self.log.unsent.len() {
                return false;
            }
            self.log.unsent.drain(..more);
        }
        true
    }

    async fn renew(&mut self) {
        // Otherwise somebody else asks as well; who follows this one can go on.
        let renewed = self.shared.renew(&self.key, &self.token).await;
        if renewed == Ok(false) && self.told == Told::All {
            // Those who read this do not see by the lease that there is more to come.
            self.log.add(&Frame::Alive);
        }
        // The seat is kept until the answer: the fill must not take it for the last one that left.
        if self.seat.is_some() && !self.is_watched().await {
            self.seat = None;
        }
    }

    /// Nobody here wants it any more; somebody elsewhere may.
    async fn look_for_followers(&mut self) {
        let watched = self.is_watched().await;
        if watched && self.flight.ended().is_none() {
            self.seat = self.flight.follow();
        }
    }
}
