//! The engine: every operation of the shared tier, each with one deadline and one round trip.
//!
//! Nothing waits for a connection, nothing is tried again but what a cluster sends elsewhere, and
//! everything that queues is bounded: operations and their bytes here, commands in the link.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, RedisConnectionInfo, Value};
use tokio::time::Instant;

use super::breaker::State;
use super::dial::{Dialer, Target};
use super::link::Link;
use super::options::{EngineError, Mode, Options};
use super::reply::{self, Redirect};
use super::route::{Cluster, Router};
use super::seats::Seats;
use super::slots::Addr;
use super::tls;
use super::trouble::Trouble;

pub use each::SHORT_BYTES_MAX;
pub use leases::Claimed;
pub use logs::Log;

mod each;
mod leases;
mod logs;
mod values;

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
    /// Prepares the engine; reads certificates and keys, connects to nothing.
    pub fn new(options: &Options) -> Result<Engine, EngineError> {
        let parse = |node: &String| Addr::parse(node).ok_or(EngineError::Node(node.clone()));
        let nodes: Vec<Addr> = options.nodes.iter().map(parse).collect::<Result<_, _>>()?;
        let tls = match options.tls {
            true => Some(tls::connector(options).map_err(EngineError::Tls)?),
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
