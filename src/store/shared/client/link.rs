//! A link to one server: a connection that is made and made again in the background.
//!
//! An operation never waits for a connect. What is sent and not answered is bounded: a future that
//! is dropped leaves its command in the connection until the answer comes, so a connection that has
//! stopped answering is given up, with everything that waits in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::breaker::{Breaker, State};
use super::dial::{Dialer, Target};
use super::reply;
use super::trouble::Trouble;

/// Unanswered commands after which a connection is given up: some 100 bytes each.
const LOST_MAX: u32 = 1024;
/// A connection that has not answered for so long, though asked, is given up.
const STALL_MAX: Duration = Duration::from_secs(2);
/// Before the second attempt to connect.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Between attempts at a server that stays away.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// The way to one server.
pub struct Link {
    shared: Arc<Shared>,
    dialer: Arc<Dialer>,
    task: Mutex<Option<AbortHandle>>,
    started: AtomicBool,
}

struct Shared {
    target: Target,
    breaker: Breaker,
    live: Mutex<Option<Arc<Live>>>,
    /// Why there is no connection.
    error: Mutex<Option<String>>,
}

/// A connection that was up when it was looked at.
struct Live {
    connection: MultiplexedConnection,
    /// Unanswered since the last answer.
    lost: AtomicU32,
    lost_since: Mutex<Instant>,
    answered: AtomicBool,
    give_up: Notify,
}

impl Link {
    /// A link that is not begun yet.
    pub fn new(target: Target, dialer: Arc<Dialer>) -> Link {
        Link {
            shared: Arc::new(Shared {
                target,
                breaker: Breaker::default(),
                live: Mutex::new(None),
                error: Mutex::new(None),
            }),
            dialer,
            task: Mutex::new(None),
            started: AtomicBool::new(false),
        }
    }

    /// Begins to connect, once; needs a runtime, on which the connection then lives.
    pub fn start(&self) {
        if self.started.load(Relaxed) || self.started.swap(true, Relaxed) {
            return;
        }
        let task = tokio::spawn(keep(self.shared.clone(), self.dialer.clone()));
        *self.task.lock() = Some(task.abort_handle());
    }

    /// Where it leads to.
    pub fn target(&self) -> &Target {
        &self.shared.target
    }

    /// Whether there is a connection.
    pub fn is_up(&self) -> bool {
        self.shared.live.lock().is_some()
    }

    /// Of its breaker.
    pub fn state(&self) -> State {
        self.shared.breaker.state()
    }

    /// Why there was no connection the last time one was tried.
    pub fn error(&self) -> Option<String> {
        self.shared.error.lock().clone()
    }

    /// Lets go of the connection: what it leads to is no longer what is wanted.
    pub fn reconnect(&self) {
        if let Some(live) = self.shared.live.lock().as_ref() {
            live.give_up.notify_one();
        }
    }

    /// Sends commands and waits for as many answers, behind the breaker.
    pub async fn call(
        &self,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Result<Vec<Value>, Trouble> {
        self.start();
        let pass = self.shared.breaker.enter().ok_or(Trouble::Open)?;
        let outcome = self.ask(commands, deadline).await;
        match &outcome {
            Ok(answers) if !answers.iter().any(reply::is_unwell) => pass.good(),
            _ => pass.bad(),
        }
        outcome
    }

    /// The same for the engine's own questions, which nobody waits for: around the breaker.
    pub async fn ask(&self, commands: &Pipeline, deadline: Instant) -> Result<Vec<Value>, Trouble> {
        let live = self.shared.live.lock().clone();
        let live = live.ok_or(Trouble::Unreachable)?;
        let count = commands.len();
        let mut connection = live.connection.clone();
        let mut unanswered = Unanswered(Some(&live));
        let answer = connection.send_packed_commands(commands, 0, count);
        match timeout_at(deadline, answer).await {
            Ok(Ok(answers)) if answers.len() == count => {
                unanswered.0 = None;
                live.answered();
                Ok(answers)
            }
            Ok(_) => {
                // The connection has ended, or what came is not the protocol.
                unanswered.0 = None;
                live.give_up.notify_one();
                Err(Trouble::Unreachable)
            }
            Err(_) => Err(Trouble::Deadline),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }
}

/// A command whose future was dropped stays in the connection.
struct Unanswered<'a>(Option<&'a Live>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(live) = self.0 {
            live.lose();
        }
    }
}

impl Live {
    fn answered(&self) {
        self.answered.store(true, Relaxed);
        if self.lost.load(Relaxed) != 0 {
            self.lost.store(0, Relaxed);
        }
    }

    fn lose(&self) {
        let before = self.lost.fetch_add(1, Relaxed);
        let mut since = self.lost_since.lock();
        if before == 0 {
            *since = Instant::now();
        }
        if before >= LOST_MAX || since.elapsed() >= STALL_MAX {
            self.give_up.notify_one();
        }
    }
}

/// Connects for ever, one attempt at a time.
async fn keep(shared: Arc<Shared>, dialer: Arc<Dialer>) {
    let mut backoff = BACKOFF_MIN;
    loop {
        match dialer.dial(&shared.target).await {
            Ok((connection, driver)) => {
                let live = Arc::new(Live {
                    connection,
                    lost: AtomicU32::new(0),
                    lost_since: Mutex::new(Instant::now()),
                    answered: AtomicBool::new(false),
                    give_up: Notify::new(),
                });
                *shared.live.lock() = Some(live.clone());
                *shared.error.lock() = None;
                shared.breaker.try_soon();
                log::info!("connected to {} of the shared tier", shared.target);
                tokio::select! {
                    () = driver => {}
                    () = live.give_up.notified() => {}
                }
                *shared.live.lock() = None;
                log::warn!(
                    "lost the connection to {} of the shared tier",
                    shared.target
                );
                // One that is accepted and never answered is no sign that the server is well.
                if live.answered.load(Relaxed) {
                    backoff = BACKOFF_MIN;
                }
            }
            Err(error) => shared.note(error.to_string()),
        }
        sleep(jittered(backoff)).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

impl Shared {
    /// Logs a reason once, not at every attempt.
    fn note(&self, reason: String) {
        let mut error = self.error.lock();
        if error.as_ref() != Some(&reason) {
            log::warn!(
                "cannot connect to {} of the shared tier: {reason}",
                self.target
            );
            *error = Some(reason);
        }
    }
}

/// Between half of it and all of it, so that a fleet does not come back in one moment.
pub fn jittered(step: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or_default();
    step / 2 + (step / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
