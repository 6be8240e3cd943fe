//! A circuit breaker: a server that does not answer is asked less and less often.
//!
//! One per server, not one per tier: a dead node of a cluster costs nothing to the slots of others.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Failures in a row that open it: more than one lost connection takes along by chance.
const IN_A_ROW: u32 = 10;
/// Over this long the share of failures is looked at.
const WINDOW: Duration = Duration::from_secs(1);
/// Fewer operations within a window say nothing about a share.
const WINDOW_MIN: u32 = 20;
/// The share of failures, in percent, at which half of all look-ups only cost time.
const SHARE_PERCENT: u32 = 50;
/// Until the first probe; a restart of a server takes about this long.
const STEP_MIN: Duration = Duration::from_millis(250);
/// A server that is back is noticed at the latest after this.
const STEP_MAX: Duration = Duration::from_secs(5);

/// What a breaker is doing, for a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Every operation is let through.
    Closed,
    /// One operation may try, or is trying.
    HalfOpen,
    /// Nothing is let through.
    Open,
}

/// The breaker of one server.
pub struct Breaker(Mutex<Inner>);

struct Inner {
    position: Position,
    /// Raised whenever it opens or closes: what was let through before has no say afterwards.
    epoch: u64,
    in_a_row: u32,
    window_from: Instant,
    window_good: u32,
    window_bad: u32,
    step: Duration,
}

#[derive(Clone, Copy)]
enum Position {
    Closed,
    Open { until: Instant },
    Probing,
}

/// Leave for one operation. Dropped without a verdict (its caller went away) it says nothing.
pub struct Pass<'a> {
    breaker: &'a Breaker,
    epoch: u64,
    settled: bool,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker(Mutex::new(Inner {
            position: Position::Closed,
            epoch: 0,
            in_a_row: 0,
            window_from: now(),
            window_good: 0,
            window_bad: 0,
            step: STEP_MIN,
        }))
    }
}

impl Breaker {
    /// Leave for an operation, or `None` while open.
    pub fn enter(&self) -> Option<Pass<'_>> {
        let mut inner = self.0.lock();
        match inner.position {
            Position::Closed => {}
            Position::Open { until } if until <= now() => {
                inner.position = Position::Probing;
            }
            Position::Open { .. } | Position::Probing => return None,
        }
        Some(Pass {
            breaker: self,
            epoch: inner.epoch,
            settled: false,
        })
    }

    /// There is a new connection: the next operation may be the probe.
    pub fn try_soon(&self) {
        let mut inner = self.0.lock();
        if let Position::Open { .. } = inner.position {
            inner.position = Position::Open { until: now() };
        }
    }

    /// What it is doing now.
    pub fn state(&self) -> State {
        match self.0.lock().position {
            Position::Closed => State::Closed,
            Position::Open { until } if until > now() => State::Open,
            Position::Open { .. } | Position::Probing => State::HalfOpen,
        }
    }
}

impl Pass<'_> {
    /// The server answered, whatever it said.
    pub fn good(mut self) {
        self.settle(Some(true));
    }

    /// It did not answer, not in time, or not as a server that is well.
    pub fn bad(mut self) {
        self.settle(Some(false));
    }

    fn settle(&mut self, good: Option<bool>) {
        self.settled = true;
        let mut inner = self.breaker.0.lock();
        if inner.epoch != self.epoch {
            return;
        }
        let probing = matches!(inner.position, Position::Probing);
        match (good, probing) {
            (Some(true), true) => inner.close(),
            (Some(false), true) => inner.reopen(),
            (None, true) => inner.position = Position::Open { until: now() },
            (Some(good), false) => inner.count(good),
            (None, false) => {}
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.settle(None);
        }
    }
}

impl Inner {
    fn count(&mut self, good: bool) {
        let now = now();
        if now.duration_since(self.window_from) >= WINDOW {
            self.window_from = now;
            self.window_good = 0;
            self.window_bad = 0;
        }
        if good {
            self.in_a_row = 0;
            self.window_good = self.window_good.saturating_add(1);
            return;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.window_bad = self.window_bad.saturating_add(1);
        let all = self.window_good.saturating_add(self.window_bad);
        let share = all >= WINDOW_MIN
            && u64::from(self.window_bad) * 100 >= u64::from(all) * u64::from(SHARE_PERCENT);
        if self.in_a_row >= IN_A_ROW || share {
            self.epoch += 1;
            self.position = Position::Open {
                until: now + self.step,
            };
        }
    }

    fn reopen(&mut self) {
        self.epoch += 1;
        self.step = (self.step * 2).min(STEP_MAX);
        self.position = Position::Open {
            until: now() + self.step,
        };
    }

    fn close(&mut self) {
        self.epoch += 1;
        self.position = Position::Closed;
        self.in_a_row = 0;
        self.window_from = now();
        self.window_good = 0;
        self.window_bad = 0;
        self.step = STEP_MIN;
    }
}

fn now() -> Instant {
    #[cfg(test)]
    return Instant::now() + tests::PASSED.get();
    #[cfg(not(test))]
    Instant::now()
}

#[cfg(test)]
mod tests;
