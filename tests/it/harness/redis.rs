//! Redis servers as they come with the system, on loopback ports, and what can happen to them.
//!
//! `REDIS_SERVER` names another server of that kind, such as `valkey-server`.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::timeout;

use super::gate::within;
use super::port::Port;
use super::resp::{self, Resp};

/// How long a server may take to come up, a cluster to agree.
const PATIENCE: Duration = Duration::from_secs(20);
/// A server that hangs does not hold a test up.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// What every stored answer begins with.
const MAGIC: &[u8] = b"LLMS";

/// A server. It is killed when this is dropped, and only it.
pub struct Redis {
    child: Child,
    dir: TempDir,
    pub port: u16,
    options: BTreeMap<String, String>,
    _ports: Vec<Port>,
}

impl Redis {
    /// One node with nothing special.
    pub async fn start() -> Self {
        Self::start_on(Port::free()).await
    }

    /// One node on this port.
    pub async fn start_on(port: Port) -> Self {
        Self::launch(port, &[], Vec::new()).await
    }

    async fn launch(port: Port, options: &[(&str, &str)], mut ports: Vec<Port>) -> Self {
        let dir = TempDir::new().unwrap();
        let mut all = BTreeMap::from([
            ("port".to_owned(), port.number.to_string()),
            ("dir".to_owned(), dir.path().display().to_string()),
        ]);
        let plain = [
            ("bind", "127.0.0.1"),
            ("logfile", "log"),
            ("save", ""),
            ("appendonly", "no"),
            ("daemonize", "no"),
        ];
        for (name, value) in plain.iter().chain(options) {
            all.insert(name.to_string(), value.to_string());
        }
        let number = port.number;
        ports.push(port);
        let mut redis = Self {
            child: spawn(&all),
            dir,
            port: number,
            options: all,
            _ports: ports,
        };
        redis.is_up().await;
        redis
    }

    async fn is_up(&mut self) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("redis-server ended with {status}: {}", self.log());
            }
            let pong = self.try_ask(&["PING"]).await;
            if pong == Ok(Resp::Bytes(b"PONG".into())) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{pong:?}; {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// As it is written in a configuration.
    pub fn node(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub async fn try_ask(&self, words: &[&str]) -> Result<Resp, String> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.try_ask_bytes(&words).await
    }

    async fn try_ask_bytes(&self, words: &[&[u8]]) -> Result<Resp, String> {
        match timeout(ANSWER_WITHIN, resp::ask(self.port, words)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    /// Asks the server directly; an error is none of the test's stories.
    pub async fn ask(&self, words: &[&str]) -> Resp {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.ask_bytes(&words).await
    }

    pub async fn ask_bytes(&self, words: &[&[u8]]) -> Resp {
        match self.try_ask_bytes(words).await {
            Ok(Resp::Error(error)) | Err(error) => panic!("redis-server says {error}"),
            Ok(answer) => answer,
        }
    }

    /// Asks whatever comes of it.
    pub async fn meddle(&self, words: &[&[u8]]) -> Result<Resp, String> {
        self.try_ask_bytes(words).await
    }

    /// All keys here, whatever they hold.
    pub async fn keys(&self) -> Vec<Vec<u8>> {
        let keys = self.ask(&["KEYS", "*"]).await.list();
        keys.into_iter().map(Resp::bytes).collect()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, signal).expect("a signal to our own child");
    }

    /// It hangs: the kernel still accepts connections and bytes for it.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port, empty; one of a cluster still knows its peers.
    pub async fn start_again(&mut self) {
        assert!(self.child.try_wait().unwrap().is_some(), "it still runs");
        self.child = spawn(&self.options);
        self.is_up().await;
    }
}

impl Drop for Redis {
    /// Waits for its end, which is near: no process is left over, not even a dead one.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(options: &BTreeMap<String, String>) -> Child {
    let server = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
    let mut command = Command::new(&server);
    for (name, value) in options {
        command.arg(format!("--{name}")).arg(value);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "{server} cannot be started ({error}): the stories of a fleet need it, \
                 `scripts/setup.sh test` installs it"
            )
        })
}

/// A cluster on loopback. Slots that nobody serves do not stop the others.
pub struct RedisCluster {
    pub masters: Vec<Redis>,
    pub replicas: Vec<Redis>,
}

impl RedisCluster {
    /// Three masters.
    pub async fn start() -> Self {
        Self::launch(false).await
    }

    /// Three masters, each with a replica.
    pub async fn with_replicas() -> Self {
        Self::launch(true).await
    }

    async fn launch(with_replicas: bool) -> Self {
        const MASTERS: usize = 3;
        let count = if with_replicas { MASTERS * 2 } else { MASTERS };
        let launches = (0..count).map(|_| async {
            let bus = Port::free();
            let number = bus.number.to_string();
            let options = [
                ("cluster-enabled", "yes"),
                ("cluster-port", &number),
                ("cluster-node-timeout", "1000"),
                ("cluster-require-full-coverage", "no"),
                ("cluster-replica-validity-factor", "0"),
                ("repl-diskless-sync-delay", "0"),
            ];
            Redis::launch(Port::free(), &options, vec![bus]).await
        });
        let mut masters = futures_util::future::join_all(launches).await;
        let replicas = masters.split_off(MASTERS);
        let cluster = Self { masters, replicas };
        cluster.join().await;
        cluster
    }

    async fn join(&self) {
        let masters = self.masters.len();
        for (nth, node) in self.masters.iter().enumerate() {
            let (from, to) = (nth * 16_384 / masters, (nth + 1) * 16_384 / masters - 1);
            let (from, to) = (from.to_string(), to.to_string());
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", &from, &to]).await;
        }
        for (nth, node) in self.nodes().enumerate() {
            let epoch = (nth + 1).to_string();
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
        }
        let first = &self.masters[0];
        for node in self.nodes().skip(1) {
            let (port, bus) = (node.port.to_string(), node.options["cluster-port"].clone());
            first
                .ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])
                .await;
        }
        let known = format!("cluster_known_nodes:{}\r", self.nodes().count());
        for node in self.nodes() {
            let knows = async || match node.ask(&["CLUSTER", "INFO"]).await.text() {
                info if info.contains(&known) => Ok(()),
                info => Err(info),
            };
            within(PATIENCE, "the nodes know each other", knows).await;
        }
        for (master, replica) in self.masters.iter().zip(&self.replicas) {
            let id = master.ask(&["CLUSTER", "MYID"]).await.text();
            let follows = async || match replica.try_ask(&["CLUSTER", "REPLICATE", &id]).await {
                Ok(Resp::Bytes(_)) => Ok(()),
                other => Err(format!("{other:?}")),
            };
            within(PATIENCE, "a replica knows its master", follows).await;
        }
        self.is_well().await;
    }

    /// Waits until every node finds that all is well and every replica is in step.
    #[track_caller]
    fn is_well(&self) -> impl Future<Output = ()> {
        within(PATIENCE, "a cluster that is well", async || {
            for node in self.nodes() {
                let info = node.ask(&["CLUSTER", "INFO"]).await.text();
                let nodes = node.ask(&["CLUSTER", "NODES"]).await.text();
                let replicas = nodes.matches("slave ").count();
                if !info.contains("cluster_state:ok")
                    || !info.contains("cluster_slots_ok:16384")
                    || replicas != self.replicas.len()
                {
                    return Err(format!("{info}\n{nodes}"));
                }
            }
            for replica in &self.replicas {
                let info = replica.ask(&["INFO", "replication"]).await.text();
                if !info.contains("master_link_status:up") {
                    return Err(info);
                }
            }
            Ok(())
        })
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Redis> {
        self.masters.iter().chain(&self.replicas)
    }

    pub fn node_names(&self) -> Vec<String> {
        self.nodes().map(Redis::node).collect()
    }
}

/// Keys of answers among all keys of these nodes, each with the node that has it.
pub async fn answers<'a>(nodes: impl IntoIterator<Item = &'a Redis>) -> Vec<(&'a Redis, Vec<u8>)> {
    let mut found = Vec::new();
    for node in nodes {
        for key in node.keys().await {
            let is = node.try_ask_bytes(&[b"GETRANGE", &key, b"0", b"3"]).await;
            if is == Ok(Resp::Bytes(MAGIC.into())) {
                found.push((node, key));
            }
        }
    }
    found
}
