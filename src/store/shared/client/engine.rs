//! The engine: every operation of the shared tier, each with one deadline and one round trip.
//!
//! Nothing waits for a connection, nothing is tried again but what a cluster sends elsewhere, and
//! everything that queues is bounded: operations and their bytes here, commands in the link.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{Pipeline, RedisConnectionInfo, Value};
use tokio::time::Instant;

use super::breaker::State;
use super::dial::{self, Dialer, Target};
use super::link::Link;
use super::options::{EngineError, Mode, Options};
use super::reply::{self, Redirect};
use super::route::{Cluster, Router};
use super::scripts::{APPEND_AT, CLAIM, END, LOG_APPEND, RENAME, RENEW};
use super::seats::Seats;
use super::slots::{Addr, beside};
use super::trouble::Trouble;

/// How long an operation may take, unless configured.
pub const DEADLINE: Duration = Duration::from_millis(30);
/// The longest value that is written, and as much of one as is read: a stranger's may be 512 MB.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// As much as one `range_from` brings.
pub const RANGE_BYTES_MAX: usize = 1024 * 1024;
/// Keys of one `get_many` or `delete`: with values of full length all of a large answer.
pub const KEYS_MAX: usize = 64;
/// Entries of a log that are read at once.
pub const LOG_READ_MAX: usize = 1024;
/// How often an operation is sent on: once for a slot that moved, once more for one that moves.
const REDIRECTS_MAX: usize = 2;

/// What a claim came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// There is a value, or its first [`VALUE_BYTES_MAX`].
    Value(Bytes),
    /// There was neither value nor lease: the lease is ours.
    Taken,
    /// Somebody has the lease, with this token.
    Held(Bytes),
}

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

/// How the engine is, for metrics and `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The worst breaker of all servers.
    pub breaker: State,
    /// Servers known.
    pub servers: usize,
    /// Servers with a connection.
    pub connected: usize,
    /// Operations under way.
    pub in_flight: usize,
    /// Why one of the servers has no connection.
    pub error: Option<String>,
}

/// Connections to the configured servers.
pub struct Engine {
    router: Router,
    deadline: Duration,
    read_replicas: bool,
    seats: Seats,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// From a replica if that is wanted.
    Value,
    /// From the master: what was just written counts.
    Read,
    Write,
}

impl Engine {
    /// Prepares the engine; reads the certificate authorities, connects to nothing.
    pub fn new(options: &Options) -> Result<Engine, EngineError> {
        let parse = |node: &String| Addr::parse(node).ok_or(EngineError::Node(node.clone()));
        let nodes: Vec<Addr> = options.nodes.iter().map(parse).collect::<Result<_, _>>()?;
        let tls = match options.tls {
            true => Some(dial::connector(options.ca_file.as_deref()).map_err(EngineError::Tls)?),
            false => None,
        };
        let (sentinel_user, sentinel_password) = match &options.mode {
            Mode::Sentinel {
                username, password, ..
            } => (username.as_ref(), password.as_ref()),
            Mode::Single | Mode::Cluster => (None, None),
        };
        let read_replicas = options.read_replicas && options.mode == Mode::Cluster;
        let dialer = Arc::new(Dialer {
            tls,
            server: credentials(options.username.as_ref(), options.password.as_ref()),
            sentinel: credentials(sentinel_user, sentinel_password),
            readonly: read_replicas,
        });
        let router = match &options.mode {
            _ if nodes.is_empty() => return Err(EngineError::Nodes("no node to connect to")),
            Mode::Single => {
                let [node] = nodes.as_slice() else {
                    return Err(EngineError::Nodes("several nodes, and not a cluster"));
                };
                Router::One(Arc::new(Link::new(Target::Node(node.clone()), dialer)))
            }
            Mode::Sentinel { master, .. } => {
                let target = Target::Master {
                    sentinels: nodes,
                    name: master.clone(),
                };
                Router::One(Arc::new(Link::new(target, dialer)))
            }
            Mode::Cluster => Router::Cluster(Arc::new(Cluster::new(nodes, dialer))),
        };
        Ok(Engine {
            router,
            deadline: options.deadline,
            read_replicas,
            seats: Seats::default(),
        })
    }

    /// Begins to connect, on the runtime it is called on, which has to outlive the engine's use. The
    /// first operation does the same.
    pub fn start(&self) {
        self.router.start();
    }

    /// How it is.
    pub fn health(&self) -> Health {
        let links = self.router.links();
        Health {
            breaker: links
                .iter()
                .map(|l| l.state())
                .max()
                .unwrap_or(State::Closed),
            servers: links.len(),
            connected: links.iter().filter(|link| link.is_up()).count(),
            in_flight: self.seats.taken(),
            error: links.iter().find_map(|link| link.error()),
        }
    }

    /// A value, or its first [`VALUE_BYTES_MAX`]. An empty one reads as none.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Trouble> {
        let mut commands = redis::pipe();
        read(&mut commands, key);
        let [answer] = self.run(key, Access::Value, &commands, 0).await?;
        reply::value(answer)
    }

    /// Values of keys with the same hash tag, at most [`KEYS_MAX`].
    pub async fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
    ) -> Result<Vec<Option<Bytes>>, Trouble> {
        let Some(first) = some_keys(keys)? else {
            return Ok(Vec::new());
        };
        let mut commands = redis::pipe();
        for key in keys {
            read(&mut commands, key.as_ref());
        }
        let answers = self.send(first, Access::Value, &commands, 0).await?;
        answers.into_iter().map(reply::value).collect()
    }

    /// Stores a value for so long.
    pub async fn set(&self, key: &[u8], value: &[u8], ttl_ms: u64) -> Result<(), Trouble> {
        fits(value)?;
        let mut commands = redis::pipe();
        commands
            .cmd("SET")
            .arg(key)
            .arg(value)
            .arg("PX")
            .arg(ttl_ms.max(1));
        let [answer] = self.run(key, Access::Write, &commands, value.len()).await?;
        reply::done(answer).map(drop)
    }

    /// Removes keys with the same hash tag, at most [`KEYS_MAX`]; returns how many there were.
    pub async fn delete<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<u64, Trouble> {
        let Some(first) = some_keys(keys)? else {
            return Ok(0);
        };
        let mut commands = redis::pipe();
        commands.cmd("DEL");
        for key in keys {
            commands.arg(key.as_ref());
        }
        let [answer] = self.run(first, Access::Write, &commands, 0).await?;
        reply::number(answer)
    }

    /// A value, or else the lease on it, unless somebody has that; both keys with the same hash tag.
    /// After [`Trouble::Deadline`] the lease may be ours.
    pub async fn claim(
        &self,
        key: &[u8],
        lease: &[u8],
        token: &[u8],
        ttl_ms: u64,
    ) -> Result<Claimed, Trouble> {
        let mut commands = redis::pipe();
        commands.cmd("EVAL").arg(CLAIM).arg(2).arg(key).arg(lease);
        commands
            .arg(token)
            .arg(ttl_ms.max(1))
            .arg(VALUE_BYTES_MAX - 1);
        let [answer] = self.run(key, Access::Write, &commands, 0).await?;
        let (which, bytes) = reply::pair(answer)?;
        Ok(match which {
            1 => Claimed::Value(bytes),
            2 => Claimed::Held(bytes),
            _ => Claimed::Taken,
        })
    }

    /// Takes a lease, unless somebody has it. After [`Trouble::Deadline`] it may be ours.
    pub async fn lease_take(&self, key: &[u8], token: &[u8], ttl_ms: u64) -> Result<bool, Trouble> {
        let mut commands = redis::pipe();
        commands
            .cmd("SET")
            .arg(key)
            .arg(token)
            .arg("NX")
            .arg("PX")
            .arg(ttl_ms.max(1));
        let [answer] = self.run(key, Access::Write, &commands, 0).await?;
        reply::done(answer)
    }

    /// Extends a lease; false if it is no longer ours.
    pub async fn lease_renew(
        &self,
        key: &[u8],
        token: &[u8],
        ttl_ms: u64,
    ) -> Result<bool, Trouble> {
        let mut commands = redis::pipe();
        commands
            .cmd("EVAL")
            .arg(RENEW)
            .arg(1)
            .arg(key)
            .arg(token)
            .arg(ttl_ms.max(1));
        let [answer] = self.run(key, Access::Write, &commands, 0).await?;
        Ok(reply::number(answer)? == 1)
    }

    /// Ends a lease; false if it was no longer ours.
    pub async fn lease_end(&self, key: &[u8], token: &[u8]) -> Result<bool, Trouble> {
        let mut commands = redis::pipe();
        commands.cmd("EVAL").arg(END).arg(1).arg(key).arg(token);
        let [answer] = self.run(key, Access::Write, &commands, 0).await?;
        Ok(reply::number(answer)? == 1)
    }

    /// Appends to a value that has `offset` bytes and puts off its end; returns the length that it has then.
    /// Of another length it stays as it is. So an append whose outcome is not known can be sent again.
    pub async fn append_at(
        &self,
        key: &[u8],
        offset: u64,
        bytes: &[u8],
        ttl_ms: u64,
    ) -> Result<u64, Trouble> {
        fits(bytes)?;
        let mut commands = redis::pipe();
        commands.cmd("EVAL").arg(APPEND_AT).arg(1).arg(key);
        commands.arg(offset).arg(bytes).arg(ttl_ms.max(1));
        let [answer] = self.run(key, Access::Write, &commands, bytes.len()).await?;
        reply::number(answer)
    }

    /// What stands in `key` from `offset` on, at most [`RANGE_BYTES_MAX`], and the value of another
    /// key of the same slot. The other is read first: if it says that `key` is finished, it is.
    pub async fn range_from(
        &self,
        key: &[u8],
        offset: u64,
        other: &[u8],
    ) -> Result<(Bytes, Option<Bytes>), Trouble> {
        let mut commands = redis::pipe();
        read(&mut commands, other);
        let last = offset.saturating_add(RANGE_BYTES_MAX as u64 - 1);
        commands.cmd("GETRANGE").arg(key).arg(offset).arg(last);
        let [other, range] = self.run(key, Access::Read, &commands, 0).await?;
        Ok((reply::bytes(range)?, reply::value(other)?))
    }

    /// Adds an entry to a log that keeps the newest `keep_max`; returns its number, which is above `last`
    /// even if the log has lost entries.
    pub async fn log_append(
        &self,
        log: &[u8],
        entry: &[u8],
        keep_max: usize,
        last: u64,
    ) -> Result<u64, Trouble> {
        fits(entry)?;
        let mut commands = redis::pipe();
        commands
            .cmd("EVAL")
            .arg(LOG_APPEND)
            .arg(2)
            .arg(log)
            .arg(beside(log, b":n"));
        commands.arg(entry).arg(keep_max.max(1)).arg(last);
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

    async fn run<const N: usize>(
        &self,
        key: &[u8],
        access: Access,
        commands: &Pipeline,
        bytes: usize,
    ) -> Result<[Value; N], Trouble> {
        let answers = self.send(key, access, commands, bytes).await?;
        // As many as there were commands; the link has counted them.
        answers.try_into().map_err(|_| Trouble::Unreachable)
    }

    async fn send(
        &self,
        key: &[u8],
        access: Access,
        commands: &Pipeline,
        bytes: usize,
    ) -> Result<Vec<Value>, Trouble> {
        let _seat = self.seats.take(bytes)?;
        self.start();
        let deadline = Instant::now() + self.deadline;
        let replica = self.read_replicas && access == Access::Value;
        let mut link = self.router.pick(key, replica).ok_or(Trouble::Unreachable)?;
        let mut answers = self.call(&link, commands, false, deadline).await?;
        for _ in 0..REDIRECTS_MAX {
            let asked = match link.target() {
                Target::Node(addr) => Some(addr),
                Target::Master { .. } => None,
            };
            let mut redirects = answers.iter().map(|answer| reply::redirect(answer, asked));
            // What was written is not written again because a later command was sent elsewhere.
            let redirect = match access {
                Access::Write => redirects.next().flatten(),
                Access::Read | Access::Value => redirects.flatten().next(),
            };
            let (slot, addr, ask) = match redirect {
                None => break,
                Some(Redirect::Moved(slot, addr)) => (Some(slot), addr, false),
                Some(Redirect::Ask(addr)) => (None, addr, true),
            };
            link = self
                .router
                .redirected(slot, addr)
                .ok_or(Trouble::Unreachable)?;
            answers = self.call(&link, commands, ask, deadline).await?;
        }
        if answers
            .iter()
            .any(|answer| reply::is_demoted(answer) || reply::is_unwell(answer))
        {
            let demoted = answers.iter().any(reply::is_demoted);
            self.router.doubt(&link, demoted);
        }
        Ok(answers)
    }

    async fn call(
        &self,
        link: &Link,
        commands: &Pipeline,
        ask: bool,
        deadline: Instant,
    ) -> Result<Vec<Value>, Trouble> {
        let answers = match ask {
            false => link.call(commands, deadline).await,
            true => link.call(&asking(commands), deadline).await,
        };
        if answers.is_err() {
            self.router.doubt(link, false);
        }
        let mut answers = answers?;
        if ask {
            // Every other one answers an `ASKING`.
            let mut wanted = true;
            answers.retain(|_| {
                wanted = !wanted;
                wanted
            });
        }
        Ok(answers)
    }
}

/// `ASKING` holds for one command only.
fn asking(commands: &Pipeline) -> Pipeline {
    let mut all = redis::pipe();
    for command in commands.cmd_iter() {
        all.cmd("ASKING");
        all.add_command(command.clone());
    }
    all
}

fn credentials(username: Option<&String>, password: Option<&String>) -> RedisConnectionInfo {
    // Not every server and not every user may CLIENT SETINFO.
    let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = username {
        info = info.set_username(username);
    }
    if let Some(password) = password {
        info = info.set_password(password);
    }
    info
}

/// A range instead of all of it, because only a range is bounded.
fn read(commands: &mut Pipeline, key: &[u8]) {
    commands
        .cmd("GETRANGE")
        .arg(key)
        .arg(0)
        .arg(VALUE_BYTES_MAX - 1);
}

fn fits(value: &[u8]) -> Result<(), Trouble> {
    match value.len() {
        ..=VALUE_BYTES_MAX => Ok(()),
        _ => Err(Trouble::Refused("longer than a value may be".to_owned())),
    }
}

fn some_keys<K: AsRef<[u8]>>(keys: &[K]) -> Result<Option<&[u8]>, Trouble> {
    match keys.len() {
        ..=KEYS_MAX => Ok(keys.first().map(AsRef::as_ref)),
        _ => Err(Trouble::Refused(
            "more keys than one operation may have".to_owned(),
        )),
    }
}
