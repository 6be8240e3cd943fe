//! Logs: numbered entries, of which the newest are kept.

use bytes::Bytes;

use super::super::scripts::{LOG_APPEND, RENAME};
use super::super::slots::beside;
use super::super::{reply, trouble::Trouble};
use super::values::{fits, read};
use super::{Access, Engine, LOG_READ_MAX};

/// What a log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// What was written first into it; another one, or none: it was lost meanwhile.
    pub name: Option<Bytes>,
    /// The number of its last entry.
    pub last: u64,
    /// Entries by their number.
    pub entries: Vec<(u64, Bytes)>,
}

impl Engine {
    /// Adds an entry to a log that keeps the newest `keep_max`; returns its number. Entries have to differ: one
    /// that is there is not added again, so that an append whose outcome is not known can be repeated.
    pub async fn log_append(
        &self,
        log: &[u8],
        entry: &[u8],
        keep_max: usize,
    ) -> Result<u64, Trouble> {
        fits(entry)?;
        let mut commands = redis::pipe();
        commands
            .cmd("EVAL")
            .arg(LOG_APPEND)
            .arg(2)
            .arg(log)
            .arg(beside(log, b":n"));
        commands.arg(entry).arg(keep_max.max(1));
        let [answer] = self.run(log, Access::Write, &commands, entry.len()).await?;
        reply::number(answer)
    }

    /// Gives a log a name, unless it has one.
    pub async fn log_begin(&self, log: &[u8], name: &[u8]) -> Result<(), Trouble> {
        let mut commands = redis::pipe();
        commands
            .cmd("SET")
            .arg(beside(log, b":e"))
            .arg(name)
            .arg("NX");
        let [answer] = self.run(log, Access::Write, &commands, 0).await?;
        reply::done(answer).map(drop)
    }

    /// Removes a log and all that belongs to it.
    pub async fn log_remove(&self, log: &[u8]) -> Result<(), Trouble> {
        let keys = [log.to_vec(), beside(log, b":n"), beside(log, b":e")];
        self.delete(&keys).await.map(drop)
    }

    /// Gives a log another name, if it has this one: it is not what it was.
    pub async fn log_rename(&self, log: &[u8], from: &[u8], to: &[u8]) -> Result<(), Trouble> {
        let mut commands = redis::pipe();
        commands
            .cmd("EVAL")
            .arg(RENAME)
            .arg(1)
            .arg(beside(log, b":e"));
        commands.arg(from).arg(to);
        let [answer] = self.run(log, Access::Write, &commands, 0).await?;
        reply::number(answer).map(drop)
    }

    /// What a log says from behind `number` on, at most [`LOG_READ_MAX`] entries. A first one that is
    /// not `number + 1` means that some are gone.
    pub async fn log_since(&self, log: &[u8], number: u64) -> Result<Log, Trouble> {
        let mut commands = redis::pipe();
        read(&mut commands, &beside(log, b":e"));
        read(&mut commands, &beside(log, b":n"));
        commands
            .cmd("ZRANGEBYSCORE")
            .arg(log)
            .arg(format!("({number}"))
            .arg("+inf");
        commands.arg("LIMIT").arg(0).arg(LOG_READ_MAX);
        let [name, counter, entries] = self.run(log, Access::Read, &commands, 0).await?;
        let entries = reply::entries(entries)?;
        let last = entries.last().map_or(0, |(number, _)| *number);
        Ok(Log {
            name: reply::value(name)?,
            last: reply::counter(counter)?.max(last),
            entries,
        })
    }
}
