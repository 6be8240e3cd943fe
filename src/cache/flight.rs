//! An answer on its way: filled by one, followed by many, live from the first byte on.
//!
//! A fill pushes what it receives; every follower reads from the beginning at its own speed. As
//! long as the answer fits the recorder's limit all of it is kept, so that a request that comes
//! late still gets it whole. A longer answer can no longer be joined or recorded: from then on only
//! what its slowest follower has not read is kept, and the fill waits for that follower.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue};
use opentelemetry::trace::SpanContext;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::coding::Coding;
use crate::error::ApiError;
use crate::store::about::About;
use crate::store::record::Chunk;
use crate::tenant::Tenant;
pub use follower::{Follower, Next};

mod follower;

/// What a piece takes beside its bytes: providers may send a few bytes at a time.
const PIECE_BYTES: usize = 64;
/// What a fill that can no longer be recorded may be ahead of its slowest follower.
const WINDOW_BYTES: usize = 1 << 20;

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// Status of the answer.
    pub status: u16,
    /// For the client whose request began the fill.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For everyone else.
    pub shared_headers: Vec<(HeaderName, HeaderValue)>,
    /// Length of the body, if the upstream said so.
    pub content_length: Option<u64>,
    /// When the answer was stored, if it was found instead of asked for.
    pub stored_ms: Option<u64>,
}

/// How an answer ended. The first end that is reported counts.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// The upstream ended it properly.
    Complete,
    /// It broke off: followers must see a broken connection.
    Broken(&'static str),
    /// There was no answer at all; this is what to say instead.
    Failed(ApiError),
}

/// An answer on its way.
pub struct Flight {
    state: Mutex<State>,
    /// Something changed: a head, a piece, an end.
    progress: watch::Sender<()>,
    /// A follower has read on; a fill that waits for room looks again.
    room: Notify,
    /// The last follower left.
    deserted: Notify,
    bytes_max: usize,
    tenant: Tenant,
    began: Instant,
    /// How many purges there had been when the upstream was asked, and what about.
    asked_about: OnceLock<(u64, Arc<About>)>,
    /// The span of the request to the upstream.
    call: OnceLock<SpanContext>,
    /// The content coding of the body that was sent, if it had one.
    coding: OnceLock<Coding>,
}

#[derive(Default)]
struct State {
    head: Option<Arc<Head>>,
    pieces: VecDeque<Piece>,
    /// Number of the first piece in `pieces`.
    first: usize,
    /// Bytes that `pieces` takes.
    bytes: usize,
    /// The last piece is not shown before the end.
    holds_last: bool,
    /// The beginning has been dropped.
    overflowed: bool,
    end: Option<End>,
    ended: Option<Instant>,
    usage: Option<(u64, u64)>,
    /// When the upstream had the request, and when it last gave a sign of life.
    asked: Option<Instant>,
    heard: Option<Instant>,
    headed: Option<Instant>,
    waits_for_room: bool,
    /// Next piece of each follower.
    positions: HashMap<u64, usize>,
    next_follower: u64,
}

#[derive(Clone)]
struct Piece {
    bytes: Bytes,
    at_ms: u32,
}

impl Flight {
    /// A flight that records up to `bytes_max` bytes, begun by `tenant`.
    pub fn new(bytes_max: usize, tenant: Tenant) -> Arc<Flight> {
        Arc::new(Flight {
            state: Mutex::default(),
            progress: watch::Sender::new(()),
            room: Notify::new(),
            deserted: Notify::new(),
            bytes_max,
            tenant,
            began: Instant::now(),
            asked_about: OnceLock::new(),
            call: OnceLock::new(),
            coding: OnceLock::new(),
        })
    }

    /// Attaches a follower at the beginning, unless the beginning is gone.
    pub fn follow(self: &Arc<Self>) -> Option<Follower> {
        let mut state = self.state.lock();
        if state.overflowed {
            None
        } else {
            Some(self.attach(&mut state))
        }
    }

    /// Attaches the first follower of a flight that nobody has filled yet.
    pub fn seat(self: &Arc<Self>) -> Follower {
        self.attach(&mut self.state.lock())
    }

    fn attach(self: &Arc<Self>, state: &mut State) -> Follower {
        let id = state.next_follower;
        state.next_follower += 1;
        state.positions.insert(id, state.first);
        Follower {
            flight: self.clone(),
            id,
            progress: self.progress.subscribe(),
        }
    }

    /// Notes the span of the request to the upstream.
    pub fn called(&self, call: SpanContext) {
        // There is one call, so it is never set twice.
        let _ = self.call.set(call);
    }

    /// The span of the request to the upstream, if requests are traced.
    pub fn call(&self) -> Option<&SpanContext> {
        self.call.get()
    }

    /// Notes how many purges there were before the upstream is asked, and what it is asked about.
    pub fn asks_about(&self, generation: u64, about: Arc<About>) {
        let _ = self.asked_about.set((generation, about));
    }

    /// The purges before it and what it is about, as soon as that is known.
    pub fn asked_about(&self) -> Option<&(u64, Arc<About>)> {
        self.asked_about.get()
    }

    /// The purges before it; none as long as that is not known.
    pub fn generation(&self) -> u64 {
        self.asked_about().map_or(0, |(generation, _)| *generation)
    }

    /// When its answer was stored, if it was found instead of asked for; known once there is a head.
    pub fn found_ms(&self) -> Option<u64> {
        self.head()?.stored_ms
    }

    /// Notes the content coding of the body that is sent.
    pub fn sent_as(&self, coding: Coding) {
        // There is one body, so it is never set twice.
        let _ = self.coding.set(coding);
    }

    /// The content coding of the body that was sent.
    pub fn coding(&self) -> Option<Coding> {
        self.coding.get().copied()
    }

    /// The upstream has the request from now on.
    pub fn asked(&self) {
        self.state.lock().asked = Some(Instant::now());
        self.progress.send_replace(());
    }

    /// The head has arrived.
    pub fn begin(&self, head: Head) {
        let mut state = self.state.lock();
        let now = Instant::now();
        state.headed = Some(now);
        state.heard = Some(now);
        state.head = Some(Arc::new(head));
        drop(state);
        self.progress.send_replace(());
    }

    /// A piece of the body has arrived. Waits for room once the answer has outgrown the recorder.
    /// False if the flight has ended meanwhile.
    /// `last`: nothing will follow, so this piece is held back until the end is known. A client
    /// that counts the bytes could otherwise ask again before the answer is kept.
    pub async fn push(&self, bytes: Bytes, last: bool) -> bool {
        loop {
            // Registered before looking, so that room made in between is not missed.
            let room = self.room.notified();
            {
                let mut state = self.state.lock();
                if state.end.is_some() {
                    return false;
                }
                if state.bytes + bytes.len() > self.bytes_max {
                    state.overflowed = true;
                }
                if state.overflowed {
                    state.trim();
                }
                if !state.overflowed || state.bytes == 0 || state.bytes < WINDOW_BYTES {
                    state.push(bytes);
                    state.holds_last = last;
                    break;
                }
            }
            self.state.lock().waits_for_room = true;
            room.await;
            let mut state = self.state.lock();
            state.waits_for_room = false;
            state.heard = Some(Instant::now());
        }
        self.progress.send_replace(());
        true
    }

    /// What has come from piece number `from` on, as followers may see it.
    pub fn since(&self, from: usize) -> Since {
        let state = self.state.lock();
        let held = usize::from(state.holds_last && state.end.is_none());
        let shown = state.pieces.len().saturating_sub(held);
        let pieces = state.pieces.iter().take(shown).skip(from);
        Since {
            head: state.head.clone(),
            pieces: pieces.map(|piece| piece.bytes.clone()).collect(),
            end: state.end.clone(),
            overflowed: state.overflowed,
        }
    }

    /// Notes the (input, output) tokens the provider counted.
    pub fn set_usage(&self, usage: (u64, u64)) {
        self.state.lock().usage = Some(usage);
    }

    /// The (input, output) tokens the provider counted, once the answer is complete.
    pub fn usage(&self) -> Option<(u64, u64)> {
        self.state.lock().usage
    }

    /// Ends the flight; only the first end counts.
    pub fn end(&self, end: End) {
        let mut state = self.state.lock();
        if state.end.is_some() {
            return;
        }
        state.end = Some(end);
        state.ended = Some(Instant::now());
        drop(state);
        self.progress.send_replace(());
        self.room.notify_waiters();
    }

    /// The whole body and how it arrived, unless its beginning is gone.
    pub fn recording(&self) -> Option<(Bytes, Vec<Chunk>)> {
        let pieces: Vec<Piece> = {
            let state = self.state.lock();
            if state.overflowed {
                return None;
            }
            // Handles only: the copying below must not hold up who looks at this flight.
            state.pieces.iter().cloned().collect()
        };
        let length = pieces.iter().map(|p| p.bytes.len()).sum();
        let mut body = BytesMut::with_capacity(length);
        let mut chunks = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            body.extend_from_slice(&piece.bytes);
            chunks.push(Chunk {
                end: u32::try_from(body.len()).ok()?,
                at_ms: piece.at_ms,
            });
        }
        Some((body.freeze(), chunks))
    }

    /// Longest answer that is kept whole.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Who began it.
    pub fn tenant(&self) -> Tenant {
        self.tenant
    }

    /// The head, once it is there.
    pub fn head(&self) -> Option<Arc<Head>> {
        self.state.lock().head.clone()
    }

    /// The end, once it is there, and how long ago that was.
    pub fn ended(&self) -> Option<(End, Duration)> {
        let state = self.state.lock();
        let ended = state.ended?.elapsed();
        state.end.clone().map(|end| (end, ended))
    }

    /// Whether a further request may still follow.
    pub fn is_open(&self) -> bool {
        let state = self.state.lock();
        state.end.is_none() && !state.overflowed
    }

    /// Requests that follow right now.
    pub fn followers(&self) -> usize {
        self.state.lock().positions.len()
    }

    /// How long the upstream has been silent, and whether it has begun to answer. `None` before it
    /// has the request.
    pub fn silence(&self) -> Option<Silence> {
        let state = self.state.lock();
        Some(match state.heard {
            // The silence is ours: a follower has to read on first.
            Some(_) if state.waits_for_room => Silence {
                answering: true,
                since: Instant::now(),
            },
            Some(heard) => Silence {
                answering: true,
                since: heard,
            },
            None => Silence {
                answering: false,
                since: state.asked?,
            },
        })
    }

    /// Resolves once the last follower has left.
    pub async fn deserted(&self) {
        loop {
            let notified = self.deserted.notified();
            if self.followers() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Reports changes of head and end to whoever watches over the fill.
    pub fn progress(&self) -> watch::Receiver<()> {
        self.progress.subscribe()
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }
}

/// What a flight has from somewhere on.
pub struct Since {
    /// The head, once it is there.
    pub head: Option<Arc<Head>>,
    /// Pieces of the body.
    pub pieces: Vec<Bytes>,
    /// The end, once it is there.
    pub end: Option<End>,
    /// The beginning is gone, and so are the numbers of the pieces.
    pub overflowed: bool,
}

/// Since when an upstream has been silent.
#[derive(Debug, Clone, Copy)]
pub struct Silence {
    /// It has begun to answer.
    pub answering: bool,
    /// Its last sign of life, or when it got the request.
    pub since: Instant,
}

impl State {
    fn push(&mut self, bytes: Bytes) {
        let now = Instant::now();
        let since = self.headed.map_or(Duration::ZERO, |headed| now - headed);
        self.heard = Some(now);
        self.bytes += bytes.len() + PIECE_BYTES;
        let at_ms = u32::try_from(since.as_millis()).unwrap_or(u32::MAX);
        self.pieces.push_back(Piece { bytes, at_ms });
    }

    /// Drops what every follower has read.
    fn trim(&mut self) {
        let read = self.positions.values().min().copied().unwrap_or(usize::MAX);
        while self.first < read {
            let Some(piece) = self.pieces.pop_front() else {
                return;
            };
            self.bytes -= piece.bytes.len() + PIECE_BYTES;
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests;
