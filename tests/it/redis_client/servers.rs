//! Redis servers as they come with the system, on ephemeral loopback ports, and what can happen to
//! them.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

/// How long a server may take to come up, a cluster to agree.
const PATIENCE: Duration = Duration::from_secs(30);
/// A port may be taken between the moment it was found free and the server's start.
const STARTS_MAX: usize = 5;
/// Between looks at something that has no event to wait for.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until something is so; asks again and again.
pub async fn until<F: AsyncFnMut() -> bool>(what: &str, mut so: F) {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain for: {what}");
        sleep(LOOK).await;
    }
}

/// A server. It is killed when this is dropped, and only it.
pub struct Redis {
    child: Child,
    dir: TempDir,
    pub port: u16,
    options: Vec<(String, String)>,
}

impl Redis {
    /// One node with nothing special.
    pub async fn start() -> Redis {
        Redis::start_with(&[]).await
    }

    /// One node with options of redis.conf.
    pub async fn start_with(options: &[(&str, &str)]) -> Redis {
        Redis::start_from(options, None).await
    }

    async fn start_from(options: &[(&str, &str)], sentinel: Option<String>) -> Redis {
        let options: Vec<(String, String)> = options
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        for _ in 0..STARTS_MAX {
            let dir = tempfile::tempdir().unwrap();
            let port = match options.iter().find(|(name, _)| name == "port") {
                Some((_, port)) if port != "0" => port.parse().unwrap(),
                _ => free_port(),
            };
            if let Some(config) = &sentinel {
                std::fs::write(dir.path().join("sentinel.conf"), config).unwrap();
            }
            let child = spawn(&dir, port, &options);
            let mut redis = Redis {
                child,
                dir,
                port,
                options: options.clone(),
            };
            if redis.is_up().await {
                return redis;
            }
        }
        panic!("redis-server does not start");
    }

    /// A sentinel, alone of its kind, that watches a master on loopback.
    pub async fn sentinel(name: &str, port: u16) -> Redis {
        let watch = format!("{name} 127.0.0.1 {port} 1");
        let config = format!(
            "sentinel monitor {watch}\nsentinel down-after-milliseconds {name} 500\n\
             sentinel failover-timeout {name} 2000\n"
        );
        Redis::start_from(&[], Some(config)).await
    }

    /// Waits for the port to be listened on; false if the process ends instead.
    async fn is_up(&mut self) -> bool {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "redis-server hangs");
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            if log.contains("Ready to accept connections") || log.contains("+monitor master") {
                return true;
            }
            sleep(LOOK).await;
        }
    }

    pub fn node(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Asks the server directly, around what is tested.
    pub async fn try_ask(&self, words: &[&str]) -> Result<Value, String> {
        let url = format!("redis://{}/", self.node());
        let asking = async {
            let client = redis::Client::open(url).map_err(|e| e.to_string())?;
            let connection = client.get_multiplexed_async_connection().await;
            let mut connection = connection.map_err(|e| e.to_string())?;
            let mut question = redis::Cmd::new();
            for word in words {
                question.arg(*word);
            }
            question
                .query_async(&mut connection)
                .await
                .map_err(|e| e.to_string())
        };
        timeout(Duration::from_secs(2), asking)
            .await
            .map_err(|_| "no answer".to_owned())?
    }

    pub async fn ask(&self, words: &[&str]) -> Value {
        self.try_ask(words).await.unwrap()
    }

    pub async fn ask_text(&self, words: &[&str]) -> String {
        match self.ask(words).await {
            Value::BulkString(bytes) => String::from_utf8(bytes).unwrap(),
            other => panic!("{words:?}: {other:?}"),
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// It hangs: the kernel still accepts connections and bytes for it.
    pub fn freeze(&self) {
        kill(self.pid(), Signal::SIGSTOP).unwrap();
    }

    pub fn thaw(&self) {
        kill(self.pid(), Signal::SIGCONT).unwrap();
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port, empty unless it is a cluster's, which knows its peers.
    pub async fn restart(&mut self) {
        std::fs::remove_file(self.dir.path().join("log")).unwrap();
        self.child = spawn(&self.dir, self.port, &self.options);
        assert!(self.is_up().await);
    }
}

impl Drop for Redis {
    /// Waits for its end, which is near: no process is left over, not even a dead one.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago, and so was the cluster's one.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn spawn(dir: &TempDir, port: u16, options: &[(String, String)]) -> Child {
    let mut command = Command::new("redis-server");
    let sentinel = dir.path().join("sentinel.conf");
    let command_is_sentinels = sentinel.exists();
    if command_is_sentinels {
        command.arg(sentinel).arg("--sentinel");
    }
    let mut all: BTreeMap<&str, String> = BTreeMap::from([
        ("port", port.to_string()),
        ("bind", "127.0.0.1".to_owned()),
        ("dir", dir.path().display().to_string()),
        ("logfile", "log".to_owned()),
        ("save", String::new()),
        ("appendonly", "no".to_owned()),
        ("daemonize", "no".to_owned()),
    ]);
    for (name, value) in options {
        // With TLS the plain port is closed.
        let value = value.replace("$PORT", &port.to_string());
        all.insert(name, value);
    }
    for (name, value) in all {
        if command_is_sentinels && !matches!(name, "port" | "bind" | "dir" | "logfile") {
            continue;
        }
        command.arg(format!("--{name}")).arg(value);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A cluster on loopback. Slots that nobody serves do not stop the others.
pub struct RedisCluster {
    pub masters: Vec<Redis>,
    pub replicas: Vec<Redis>,
}

impl RedisCluster {
    /// Three masters.
    pub async fn start() -> RedisCluster {
        RedisCluster::start_with(3, false).await
    }

    /// So many masters, each with a replica if wanted.
    pub async fn start_with(masters: usize, with_replicas: bool) -> RedisCluster {
        let count = if with_replicas { masters * 2 } else { masters };
        let mut nodes = Vec::new();
        for _ in 0..count {
            let bus = free_port().to_string();
            nodes.push(
                Redis::start_with(&[
                    ("cluster-enabled", "yes"),
                    ("cluster-port", &bus),
                    ("cluster-node-timeout", "1000"),
                    ("cluster-require-full-coverage", "no"),
                    ("cluster-replica-validity-factor", "0"),
                    ("repl-diskless-sync-delay", "0"),
                ])
                .await,
            );
        }
        let replicas = nodes.split_off(masters);
        let cluster = RedisCluster {
            masters: nodes,
            replicas,
        };
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
            let (port, bus) = (node.port.to_string(), node.bus_port());
            first
                .ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])
                .await;
        }
        let known = format!("cluster_known_nodes:{}\r", self.nodes().count());
        for node in self.nodes() {
            until("the nodes to know each other", async || {
                node.ask_text(&["CLUSTER", "INFO"]).await.contains(&known)
            })
            .await;
        }
        for (master, replica) in self.masters.iter().zip(&self.replicas) {
            let id = master.ask_text(&["CLUSTER", "MYID"]).await;
            until("a replica to know its master", async || {
                replica
                    .try_ask(&["CLUSTER", "REPLICATE", &id])
                    .await
                    .is_ok()
            })
            .await;
        }
        for node in self.nodes() {
            until("cluster_state:ok", async || self.agrees(node).await).await;
        }
        for replica in &self.replicas {
            until("a replica to be in step", async || {
                let info = replica.ask_text(&["INFO", "replication"]).await;
                info.contains("master_link_status:up")
            })
            .await;
        }
    }

    /// Whether a node finds the cluster well and knows all replicas.
    async fn agrees(&self, node: &Redis) -> bool {
        let info = node.ask_text(&["CLUSTER", "INFO"]).await;
        let nodes = node.ask_text(&["CLUSTER", "NODES"]).await;
        info.contains("cluster_state:ok")
            && info.contains("cluster_slots_ok:16384")
            && nodes.matches(" slave ").count() + nodes.matches(",slave ").count()
                == self.replicas.len()
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Redis> {
        self.masters.iter().chain(&self.replicas)
    }

    pub fn node_names(&self) -> Vec<String> {
        self.nodes().map(Redis::node).collect()
    }

    /// Which of the masters serves a key.
    pub async fn master_of(&self, key: &str) -> usize {
        let slot = match self.masters[0].ask(&["CLUSTER", "KEYSLOT", key]).await {
            Value::Int(slot) => slot as usize,
            other => panic!("{other:?}"),
        };
        let masters = self.masters.len();
        (0..masters)
            .find(|nth| slot < (nth + 1) * 16_384 / masters)
            .unwrap()
    }
}

impl Redis {
    fn bus_port(&self) -> String {
        let bus = self.options.iter().find(|(name, _)| name == "cluster-port");
        bus.unwrap().1.clone()
    }
}
