//! What the writer's thread does.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::Shared;
use super::batch::{Batch, Command};
use crate::key::Key;
use crate::metrics::DropReason;
use crate::store::disk::{Disk, DiskError, Pass};
use crate::store::record::Record;
use crate::store::{directory, now_ms};

/// How often there is a look at what has expired, and at the size of the files.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);
/// How often the files are looked at even if they are believed to be small enough.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// After a failure the disk is tried again so soon, and later each time it fails again at once.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(30);
/// Who has written for this long begins again with the first.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// Why nothing is written.
#[derive(Debug, Clone)]
struct Off {
    reason: DropReason,
    /// The files themselves are damaged: opening them again would not help.
    damage: Option<String>,
    retry_at: Instant,
}

/// What the thread knows.
pub struct Work {
    disk: Arc<Disk>,
    shared: Arc<Shared>,
    /// The files take more than they may, and nothing is left that could go.
    beyond: bool,
    off: Option<Off>,
    on_since: Instant,
    retry_after: Duration,
    upkeep_at: Instant,
    looked_at: Instant,
    pass: Option<Pass>,
}

impl Work {
    /// Nothing done yet.
    pub fn new(disk: Arc<Disk>, shared: Arc<Shared>) -> Work {
        shared.metrics.store_writable.set(1);
        Work {
            disk,
            shared,
            beyond: false,
            off: None,
            on_since: Instant::now(),
            retry_after: RETRY_FIRST,
            upkeep_at: Instant::now(),
            looked_at: Instant::now(),
            pass: None,
        }
    }

    /// Works until it is told to stop, or nobody is left to tell.
    pub fn run(&mut self, commands: &Receiver<Command>) {
        self.disk.warm();
        loop {
            let mut batch = Batch::new(self.disk.batch_bytes());
            let mut open = match commands.recv_timeout(self.idle()) {
                Ok(command) => batch.take(command),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            while open && !batch.is_full() {
                match commands.try_recv() {
                    Ok(command) => open = batch.take(command),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => open = false,
                }
            }
            if !batch.is_empty() || !self.shared.superseded.lock().is_empty() {
                self.write(&batch);
            }
            self.shared.queued.fetch_sub(batch.commands, Relaxed);
            self.upkeep();
            if !open {
                return;
            }
        }
    }

    /// How long to wait for work before looking after things.
    fn idle(&self) -> Duration {
        match self.pass.is_some() && self.off.is_none() {
            true => Duration::ZERO,
            false => UPKEEP_EVERY,
        }
    }

    fn write(&mut self, batch: &Batch) {
        let metrics = self.shared.metrics.clone();
        let began = Instant::now();
        let superseded = self.shared.superseded.lock().clone();
        let wanted = |record: &&Arc<Record>| {
            let newest = superseded.get(&record.key);
            newest.is_none_or(|at| *at < record.stored_ms) && !self.disk.purges().refuse(record)
        };
        let puts: Vec<&Arc<Record>> = batch.puts.values().filter(wanted).collect();
        let mut deletes: HashSet<Key> = superseded.keys().copied().collect();
        deletes.extend(&batch.deletes);
        // What is not written must not leave an older answer behind.
        deletes.extend(batch.puts.keys());
        let drop_reason = match &self.off {
            Some(off) => Some(off.reason),
            None => self.beyond.then_some(DropReason::DiskFull),
        };
        let outcome = if self.off.is_some() {
            None
        } else if drop_reason.is_some() {
            Some(self.disk.write([].into_iter(), deletes.iter()))
        } else {
            for record in &puts {
                deletes.remove(&record.key);
            }
            Some(self.change(&puts, &deletes))
        };
        let count = puts.len() as u64;
        match (outcome, drop_reason) {
            (Some(Ok(())), reason) => {
                // What was superseded once more meanwhile has another time now.
                let mut now_superseded = self.shared.superseded.lock();
                now_superseded.retain(|key, at| superseded.get(key) != Some(at));
                drop(now_superseded);
                match reason {
                    Some(reason) => metrics.store_writes_dropped(reason).inc_by(count),
                    None => metrics.store_writes.inc_by(count),
                }
                metrics
                    .store_write_seconds
                    .observe(began.elapsed().as_secs_f64());
            }
            (None, reason) => self.lost(batch, reason.unwrap_or(DropReason::Error), count),
            (Some(Err(error)), _) => {
                let reason = self.failed(&error);
                self.lost(batch, reason, count);
            }
        }
        for record in &batch.taken {
            self.shared.forget(record);
        }
        if self.off.is_none() {
            self.keep_bound();
        }
    }

    /// A purge of everything comes before what is written after it.
    fn change(&mut self, puts: &[&Arc<Record>], deletes: &HashSet<Key>) -> Result<(), DiskError> {
        self.disk.carry_out_purge_of_all()?;
        self.disk.write(puts.iter().copied(), deletes.iter())
    }

    /// Counts answers that stay in memory only.
    fn lost(&self, batch: &Batch, reason: DropReason, count: u64) {
        self.shared
            .supersede(batch.puts.values().map(|r| (r.key, r.stored_ms)));
        let now = now_ms();
        self.shared
            .supersede(batch.deletes.iter().map(|key| (*key, now)));
        self.shared
            .metrics
            .store_writes_dropped(reason)
            .inc_by(count);
    }

    /// What is done now and then, or bit by bit.
    fn upkeep(&mut self) {
        if let Some(off) = &self.off {
            if Instant::now() >= off.retry_at {
                self.retry();
            }
            return;
        }
        if let Err(error) = self.go_on_purging() {
            self.failed(&error);
            return;
        }
        if self.upkeep_at.elapsed() < UPKEEP_EVERY {
            return;
        }
        self.upkeep_at = Instant::now();
        if self.looked_at.elapsed() > LOOK_EVERY {
            self.looked_at = Instant::now();
            self.disk.look_at_files();
        }
        if let Err(error) = self.disk.expire(now_ms()) {
            self.failed(&error);
            return;
        }
        self.keep_bound();
    }

    fn go_on_purging(&mut self) -> Result<(), DiskError> {
        self.disk.settle_purges()?;
        if self.disk.carry_out_purge_of_all()? {
            self.pass = None;
        }
        let mut pass = self.pass.take().or_else(|| self.disk.begin_pass());
        if let Some(going) = &mut pass
            && self.disk.go_on(going)?
        {
            pass = None;
        }
        self.pass = pass;
        Ok(())
    }

    fn keep_bound(&mut self) {
        match self.disk.keep_bound(now_ms()) {
            Ok(kept) => {
                if !kept && !self.beyond {
                    log::warn!(
                        "the store takes more than it may and nothing in it can go: answers are \
                         kept in memory only until there is room"
                    );
                }
                self.beyond = !kept;
            }
            Err(error) => {
                self.failed(&error);
            }
        }
    }

    /// Stops writing. Said once, however often it fails.
    fn failed(&mut self, error: &DiskError) -> DropReason {
        let reason = match error.is_full() {
            true => DropReason::DiskFull,
            false => DropReason::Error,
        };
        if self.on_since.elapsed() > STEADY_AFTER {
            self.retry_after = RETRY_FIRST;
        }
        log::error!(
            "the disk tier cannot write, answers are kept in memory only and the disk is tried again \
             from time to time: {error}"
        );
        self.shared.metrics.store_writable.set(0);
        let damaged = error.is_corruption();
        self.off = Some(Off {
            reason,
            damage: damaged.then(|| error.to_string()),
            retry_at: Instant::now() + self.retry_after,
        });
        self.retry_after = (self.retry_after * 2).min(RETRY_LAST);
        self.pass = None;
        reason
    }

    /// Tries whether the disk takes writes again.
    fn retry(&mut self) {
        let Some(off) = &mut self.off else { return };
        off.retry_at = Instant::now() + RETRY_FIRST;
        // Set aside once; should it fail, opening it says what is wrong.
        let opened = match off.damage.take() {
            Some(why) => self.disk.start_anew(&why),
            // Before the database is closed: what can be read is read until then.
            None => directory::try_room(self.disk.path(), self.disk.memtable_bytes())
                .map_err(|error| error.to_string())
                .and_then(|()| self.disk.reopen()),
        };
        match opened {
            Ok(()) => {
                log::warn!("the disk tier takes writes again");
                self.shared.metrics.store_writable.set(1);
                self.off = None;
                self.beyond = false;
                self.on_since = Instant::now();
            }
            Err(error) => log::debug!("the disk tier still takes no writes: {error}"),
        }
    }
}
