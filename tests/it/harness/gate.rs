//! Waiting without sleeping: gates a test opens, states it polls, bounds on both.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The bound on every wait of a test, unless it says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A gate that stays closed until the test opens it; clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub fn closed() -> Self {
        Self(Arc::new(watch::channel(false).0))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub async fn passed(&self) {
        // The sender lives in self, so the wait ends by opening only.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// `future`, or a panic that says what did not happen in time.
#[track_caller]
pub fn bounded<F: Future>(what: impl Display, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(done) => done,
            Err(_) => panic!("after {PATIENCE:?} still waiting for {what} (at {caller})"),
        }
    }
}

/// Polls until `probe` gives `Ok`; panics with the last `Err` after `bound`.
#[track_caller]
pub fn within<T, F, Fut>(
    bound: Duration,
    what: impl Display,
    mut probe: F,
) -> impl Future<Output = T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let caller = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        loop {
            match probe().await {
                Ok(done) => return done,
                Err(state) if started.elapsed() > bound => {
                    panic!("not within {bound:?}: {what}; last seen: {state} (at {caller})")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}
