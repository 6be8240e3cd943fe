//! Keeping in step with the purges of the fleet.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::Shared;
use super::client::engine::Log;
use super::client::trouble::Trouble;
use super::purges::{Entry, GoesOn, KEPT_MAX, TOLD_KEPT, UnderWay, log_id};
use crate::metrics::shared::{Direction, Operation};
use crate::store::Store;
use crate::store::purge::{Covers, TooMany};

/// A purge reaches every replica within this, and a round trip.
const EVERY: Duration = Duration::from_millis(200);
/// A replica that has not looked for longer does not know what a log that was lost had in it. After less the
/// others tell it again, who remember for twice as long what it said.
const ALONE_MAX: Duration = Duration::from_secs(TOLD_KEPT.as_secs() / 2);
/// Purges that are carried out one by one after a time away.
const CARRIED_OUT_MAX: usize = 100;
/// Between attempts to write down how far they are carried out.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
const WRITE_AGAIN_MAX: Duration = Duration::from_secs(60);
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
    #[error("there are no random numbers")]
    Chance,
    #[error("the store's thread has ended")]
    Thread,
}

async fn step(shared: &'static Shared, store: &'static Store) -> Result<(), NoStep> {
    let position = shared.purges.position();
    let told = match position {
        Some(_) => tell(shared).await,
        None => Ok(()),
    };
    // Whatever became of that, what others tell is carried out.
    let from = shared.purges.last_entry().map(|number| number - 1);
    let from = from.or(position.map(|(_, last)| last)).unwrap_or(0);
    let mut log = read(shared, from).await?;
    let Some(name) = log.name.clone() else {
        // The first replica of a fleet, or a server that has lost everything.
        let log_name = shared.names.purges();
        let new_name = new_name()?;
        let begin = shared.engine.log_begin(&log_name, &new_name);
        shared.timed(Operation::Purges, begin).await?;
        return Box::pin(step(shared, store)).await;
    };
    match position {
        Some((known, _)) if known == log_id(&name) => match shared.purges.goes_on(&mut log) {
            GoesOn::Yes => {
                // One that was told may be gone with a server before anyone has read it.
                shared.purges.tell_again(log.last);
                go_on(shared, store, log).await?;
            }
            GoesOn::Gap => {
                log::warn!("this replica has missed purges that nobody remembers: it begins anew");
                begin_anew(shared, store, log_id(&name), log, true).await?;
            }
            GoesOn::SetBack => {
                log::warn!(
                    "the shared tier has lost the newest of its purges; its log begins anew"
                );
                let log_name = shared.names.purges();
                let new_name = new_name()?;
                let rename = shared.engine.log_rename(&log_name, &name, &new_name);
                shared.timed(Operation::Purges, rename).await?;
                return Box::pin(step(shared, store)).await;
            }
        },
        // Whatever it had is lost, and what this replica has told it is told again.
        Some(_) => {
            log::warn!("the shared tier has lost its log of purges; the next one is followed");
            shared.purges.tell_again(0);
            let whole = read(shared, 0).await?;
            // Who has not looked for a while may have missed what nobody tells again.
            let away = shared.stepped_at.lock().elapsed() > ALONE_MAX;
            // What it has forgotten was read here if its first entry was.
            let first = whole.entries.first();
            let knew = first.is_some_and(|(number, entry)| shared.purges.knew(*number, entry));
            let missed = away || (oldest(&whole) > 0 && !knew);
            begin_anew(shared, store, log_id(&name), whole, missed).await?;
        }
        None => begin(shared, store, log, &name).await?,
    }
    *shared.stepped_at.lock() = Instant::now();
    match told {
        // What is there may be a stranger's, which reading it shows.
        Ok(()) | Err(Trouble::Refused(_)) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

fn new_name() -> Result<[u8; NAME_LEN], NoStep> {
    let mut name = [0; NAME_LEN];
    getrandom::fill(&mut name).map_err(|_| NoStep::Chance)?;
    Ok(name)
}

/// Follows a log from its oldest entry on. `all`: what was purged before that is not known.
async fn begin_anew(
    shared: &'static Shared,
    store: &'static Store,
    id: u32,
    log: Log,
    all: bool,
) -> Result<(), NoStep> {
    if all {
        carry_out(store, Covers::All).await?;
    }
    // Before the log counts: what it says would not be known for a moment.
    let _known = note(shared, &log);
    shared.purges.begin(id, oldest(&log), !all);
    go_on(shared, store, log).await
}

/// Of what is older than this not all is in the log.
fn oldest(log: &Log) -> u64 {
    let first = log.entries.first();
    first.map_or(log.last, |(number, _)| *number - 1)
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
async fn tell(shared: &Shared) -> Result<(), Trouble> {
    let mut outcome = Ok(());
    let mut told = false;
    while let Some(purge) = shared.purges.next_untold() {
        let log = shared.names.purges();
        let append = shared.engine.log_append(&log, &purge.entry, KEPT_MAX);
        match shared.timed(Operation::Purges, append).await {
            Ok(number) => shared.purges.told(purge, number),
            Err(why) => {
                outcome = Err(why);
                break;
            }
        }
        shared.metrics.shared.purges(Direction::Sent).inc();
        told = true;
    }
    if told {
        shared.arrived.notify_one();
    }
    outcome
}

/// The first look since the start: what was missed is carried out before anything on disk is believed.
async fn begin(
    shared: &'static Shared,
    store: &'static Store,
    log: Log,
    name: &Bytes,
) -> Result<(), NoStep> {
    let id = log_id(name);
    let left_off = blocking(move || store.fleet_position()).await?;
    let oldest = oldest(&log);
    let (from, all) = match left_off {
        // Nothing on disk, and perhaps something in memory since the start.
        _ if store.is_empty() => (log.last, log.last > 0),
        Some(left) if left.log_id == id => {
            let number = left.number;
            (
                number,
                number < oldest || number > log.last || left.differs(&log),
            )
        }
        // It has been away while the log was lost.
        Some(_) => (log.last, true),
        // It has never been in a fleet: what the log still has is carried out.
        None => (0, false),
    };
    let missed = log.entries.iter().filter(|(number, _)| *number > from);
    // Each would be looked for in all entries.
    let all = all || missed.count() > CARRIED_OUT_MAX;
    let from = if all { log.last } else { from };
    if all {
        if !store.is_empty() {
            log::warn!(
                "this replica has missed purges that are too many or not known: it begins empty"
            );
        }
        carry_out(store, Covers::All).await?;
    }
    let _known = note(shared, &log);
    shared.purges.begin(id, oldest, false);
    for (number, entry) in log.entries {
        let covers = shared.purges.read(&entry).covers();
        if number > from {
            carry_out(store, covers.clone()).await?;
            shared.metrics.shared.purges(Direction::Received).inc();
        }
        shared.purges.was_carried_out(number, covers, &entry);
    }
    arrived(shared, store);
    Ok(())
}

/// What a log says counts from here on, although it takes time to carry it out: an answer of the shared tier
/// that comes meanwhile would be taken for one that is newer.
fn note(shared: &'static Shared, log: &Log) -> Vec<UnderWay<'static>> {
    let entries = log.entries.iter();
    let covers = entries.map(|(_, entry)| shared.purges.read(entry).covers());
    covers
        .map(|covers| shared.purges.under_way(&covers))
        .collect()
}

/// Carries out what has been added to the log.
async fn go_on(shared: &'static Shared, store: &'static Store, log: Log) -> Result<(), NoStep> {
    // Of a log that begins something is reached also if it says nothing.
    if log.entries.is_empty() && shared.purges.has_reached() {
        return Ok(());
    }
    let _known = note(shared, &log);
    for (number, entry) in log.entries {
        if shared.purges.knew(number, &entry) {
            shared.purges.passed(number, &entry);
            continue;
        }
        match shared.purges.read(&entry) {
            Entry::CarriedOut(covers) => shared.purges.carried_out(number, covers, &entry),
            Entry::New(covers) => {
                carry_out(store, covers.clone()).await?;
                shared.purges.carried_out(number, covers, &entry);
                shared.metrics.shared.purges(Direction::Received).inc();
            }
        }
    }
    arrived(shared, store);
    Ok(())
}

/// From here on fills carry what has been reached, and soon so does the disk.
fn arrived(shared: &'static Shared, store: &'static Store) {
    shared.purges.reached(store.generation());
    shared.arrived.notify_one();
}

/// Writes down what is carried out, and how far, for ever. Apart from carrying it out: a disk that hangs must
/// not hold that up. What is not written down is carried out once more after a restart.
pub async fn write_down(shared: &'static Shared, store: &'static Store) {
    loop {
        shared.arrived.notified().await;
        let mut pause = WRITE_AGAIN;
        while !blocking(|| store.write_down()).await.unwrap_or(false) {
            sleep(pause).await;
            pause = (pause * 2).min(WRITE_AGAIN_MAX);
        }
    }
}

/// Carries out a purge of the fleet.
async fn carry_out(store: &'static Store, covers: Covers) -> Result<(), NoStep> {
    blocking(move || {
        let all = match store.purge_now(covers.clone()) {
            Ok(_) => covers == Covers::All,
            // So many are being carried out that others must not wait for.
            Err(TooMany) => store.purge_now(Covers::All).is_ok(),
        };
        if all {
            store.drop_purged();
        }
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoStep> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| NoStep::Thread)
}
