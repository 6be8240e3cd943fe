//! Reading a flight from its beginning, at the reader's own speed.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::{End, Flight, Head};

/// Pieces handed to a follower at once, so that one that lags behind catches up in few writes.
const PIECES_PER_READ: usize = 64;

/// What a follower finds next.
#[derive(Debug)]
pub enum Next {
    /// Pieces of the body, in order.
    Pieces(Vec<Bytes>),
    /// Nothing more.
    End(End),
}

/// A request that follows a flight. Leaving is dropping it.
pub struct Follower {
    pub(super) flight: Arc<Flight>,
    pub(super) id: u64,
    pub(super) progress: watch::Receiver<()>,
}

impl Follower {
    /// The flight that is followed.
    pub fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Waits for the head. An end instead means that there is no answer.
    pub async fn head(&mut self) -> Result<Arc<Head>, End> {
        loop {
            self.progress.borrow_and_update();
            {
                let state = self.flight.state.lock();
                if let Some(head) = &state.head {
                    return Ok(head.clone());
                }
                if let Some(end) = &state.end {
                    return Err(end.clone());
                }
            }
            self.changed().await?;
        }
    }

    /// Waits for what comes next in the body.
    pub async fn next(&mut self) -> Next {
        loop {
            self.progress.borrow_and_update();
            if let Some(next) = self.poll() {
                return next;
            }
            if let Err(end) = self.changed().await {
                return Next::End(end);
            }
        }
    }

    fn poll(&self) -> Option<Next> {
        let mut state = self.flight.state.lock();
        let position = state.positions.get(&self.id).copied()?;
        // A position before the first piece cannot be: what a follower has not read is kept.
        let from = position.checked_sub(state.first)?;
        let held = usize::from(state.holds_last && state.end.is_none());
        let shown = state.pieces.len().saturating_sub(held);
        let pieces = state
            .pieces
            .iter()
            .take(shown)
            .skip(from)
            .take(PIECES_PER_READ);
        let pieces: Vec<Bytes> = pieces.map(|p| p.bytes.clone()).collect();
        if pieces.is_empty() {
            return state.end.clone().map(Next::End);
        }
        state.positions.insert(self.id, position + pieces.len());
        if state.overflowed {
            drop(state);
            self.flight.room.notify_waiters();
        }
        Some(Next::Pieces(pieces))
    }

    async fn changed(&mut self) -> Result<(), End> {
        // The sender lives in the flight, which this follower holds.
        self.progress
            .changed()
            .await
            .map_err(|_| End::Broken("fill-gone"))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.flight.state.lock();
        state.positions.remove(&self.id);
        let last = state.positions.is_empty();
        drop(state);
        self.flight.room.notify_waiters();
        if last {
            self.flight.deserted.notify_waiters();
        }
    }
}
