//! Keeping in step with the purges of the fleet.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::Shared;
use super::client::engine::Log;
use super::client::trouble::Trouble;
use super::purges::{Entry, KEPT_MAX, log_id};
use crate::metrics::shared::{Direction, Operation};
use crate::store::Store;
use crate::store::operate::PurgeError;
use crate::store::purge::Covers;

/// A purge reaches every replica within this, and a round trip.
const EVERY: Duration = Duration::from_millis(200);
/// Purges that are carried out one by one after a time away.
const CARRIED_OUT_MAX: usize = 100;
/// Bytes of chance in a log's name.
const NAME_LEN: usize = 16;

/// Tells the fleet of this replica's purges, and carries out those of others, for ever.
pub async fn keep_in_step(shared: &'static Shared, store: &'static Store) {
    loop {
        match step(shared, store).await {
            Ok(()) => {
                if !shared.purges_known.swap(true, Relaxed) {
                    log::info!("the purges of the fleet are known");
                }
            }
            // Reasons are logged by those who meet them; the link tells of servers that are gone.
            Err(why) => log::debug!("the purges of the fleet cannot be read: {why}"),
        }
        shared.observe();
        // Not again and again while a server does not answer.
        let _ = timeout(EVERY, shared.untold.notified()).await;
    }
}

/// Why there was no step.
#[derive(Debug, thiserror::Error)]
enum NoStep {
    #[error(transparent)]
    Server(#[from] Trouble),
    #[error("{0}")]
    Store(#[from] PurgeError),
    #[error("there are no random numbers")]
    Chance,
    #[error("the store's thread has ended")]
    Thread,
}

async fn step(shared: &'static Shared, store: &'static Store) -> Result<(), NoStep> {
    let position = shared.purges.position();
    if let Some((_, last)) = position {
        match tell(shared, last).await {
            // What is there may be a stranger's, which reading it shows.
            Ok(()) | Err(Trouble::Refused(_)) => {}
            Err(other) => return Err(other.into()),
        }
    }
    let log = read(shared, position.map_or(0, |(_, last)| last)).await?;
    let Some(name) = log.name.clone() else {
        // The first replica of a fleet, or a server that has lost everything.
        let mut name = [0; NAME_LEN];
        getrandom::fill(&mut name).map_err(|_| NoStep::Chance)?;
        let log_name = shared.names.purges();
        let begin = shared.engine.log_begin(&log_name, &name);
        shared.timed(Operation::Purges, begin).await?;
        return Box::pin(step(shared, store)).await;
    };
    match position {
        Some((known, _)) if known == log_id(&name) => go_on(shared, store, log).await,
        // Whatever it had is lost, and what this replica has told it is told again.
        Some(_) => {
            log::warn!("the shared tier has lost its log of purges; the next one is followed");
            shared.purges.tell_again(0);
            let whole = read(shared, 0).await?;
            shared.purges.begin(log_id(&name), 0);
            // Nothing of this log has been reached, also if it says nothing.
            shared.written_down.store(false, Relaxed);
            go_on(shared, store, whole).await
        }
        None => begin(shared, store, log, &name).await,
    }
}

async fn read(shared: &Shared, number: u64) -> Result<Log, Trouble> {
    let name = shared.names.purges();
    let since = shared.engine.log_since(&name, number);
    let log = shared.timed(Operation::Purges, since).await;
    if let Err(why) = &log
        && why.is_of_another_kind()
    {
        log::warn!("the log of purges has become something else and is begun anew: {why}");
        let remove = shared.engine.log_remove(&name);
        shared.timed(Operation::Purges, remove).await?;
    }
    log
}

/// Tells the fleet what it has not been told.
async fn tell(shared: &Shared, last: u64) -> Result<(), Trouble> {
    while let Some((covers, entry)) = shared.purges.next_untold() {
        let log = shared.names.purges();
        let append = shared.engine.log_append(&log, &entry, KEPT_MAX, last);
        let number = shared.timed(Operation::Purges, append).await?;
        shared.purges.told(&covers, number);
        shared.metrics.shared.purges(Direction::Sent).inc();
    }
    Ok(())
}

/// The first look since the start: what was missed is carried out before anything on disk is believed.
async fn begin(
    shared: &'static Shared,
    store: &'static Store,
    log: Log,
    name: &Bytes,
) -> Result<(), NoStep> {
    let id = log_id(name);
    let left_off = blocking(move || Ok(store.fleet_position())).await?;
    let empty = store.is_empty();
    let oldest = log
        .entries
        .first()
        .map_or(log.last, |(number, _)| *number - 1);
    let (from, all) = match left_off {
        _ if empty => (log.last, false),
        Some((left, number)) if left == id => (number, number < oldest),
        // It has been away while the log was lost.
        Some(_) => (log.last, true),
        // It has never been in a fleet: what the log still has is carried out.
        None => (0, false),
    };
    let missed = log
        .entries
        .iter()
        .filter(|(number, _)| *number > from)
        .count();
    // Each would be looked for in all entries.
    let all = all || missed > CARRIED_OUT_MAX;
    let from = if all { log.last } else { from };
    if all {
        log::warn!(
            "this replica has missed purges that are too many or not known: it begins empty"
        );
        blocking(move || purge(store, Covers::All)).await?;
    }
    shared.purges.begin(id, oldest);
    for (number, entry) in log.entries {
        let covers = match shared.purges.read(&entry) {
            Entry::Own(covers) | Entry::Others(covers) => covers,
        };
        if number > from {
            let carried_out = covers.clone();
            blocking(move || purge(store, carried_out)).await?;
            shared.metrics.shared.purges(Direction::Received).inc();
        }
        shared.purges.carried_out(number, covers);
    }
    arrived(shared, store).await
}

/// Carries out what has been added to the log.
async fn go_on(shared: &'static Shared, store: &'static Store, log: Log) -> Result<(), NoStep> {
    let (_, last) = shared.purges.position().unwrap_or_default();
    if log.last < last {
        // A replica of the server took over without the newest entries.
        shared.purges.tell_again(log.last);
    }
    let Some((first, _)) = log.entries.first() else {
        return match shared.written_down.load(Relaxed) {
            true => Ok(()),
            false => arrived(shared, store).await,
        };
    };
    if *first > last + 1 && log.entries.len() >= KEPT_MAX {
        log::warn!("this replica has missed purges that nobody remembers: it begins anew");
        blocking(move || purge(store, Covers::All)).await?;
    }
    for (number, entry) in log.entries {
        match shared.purges.read(&entry) {
            Entry::Own(covers) => shared.purges.carried_out(number, covers),
            Entry::Others(covers) => {
                let others = covers.clone();
                let _under_way = shared.purges.under_way(&covers);
                blocking(move || purge(store, others)).await?;
                shared.purges.carried_out(number, covers);
                shared.metrics.shared.purges(Direction::Received).inc();
            }
        }
    }
    arrived(shared, store).await
}

/// From here on fills carry what has been reached, and so does the disk.
async fn arrived(shared: &'static Shared, store: &'static Store) -> Result<(), NoStep> {
    shared.purges.reached(store.generation());
    if let Some((id, last)) = shared.purges.position() {
        let written = blocking(move || Ok(store.set_fleet_position(id, last))).await?;
        shared.written_down.store(written, Relaxed);
    }
    Ok(())
}

/// Carries out a purge of the fleet. One that is not written down counts all the same; the writer goes on
/// trying, and until then the position on disk stays behind.
fn purge(store: &Store, covers: Covers) -> Result<(), PurgeError> {
    let all = covers == Covers::All;
    match store.purge(covers) {
        Ok(_) | Err(PurgeError::NotWritten(_)) => {}
        Err(other) => return Err(other),
    }
    if all {
        store.drop_purged();
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PurgeError> + Send + 'static,
) -> Result<T, NoStep> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|_| NoStep::Thread)??)
}
