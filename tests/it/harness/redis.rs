//! Redis servers as they come with the system, on loopback ports, and what can happen to them.
//!
//! `REDIS_SERVER` names another server of that kind, such as `valkey-server`.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::h1::Socket;
use super::port::Port;
use super::resp::{self, Resp};
use super::tls::Identity;

mod cluster;

pub use cluster::RedisCluster;

/// How long a server may take to come up, a cluster to agree.
const PATIENCE: Duration = Duration::from_secs(30);
/// A server that hangs does not hold a test up.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// What every stored answer begins with.
const MAGIC: &[u8] = b"LLMS";

/// How a server is started.
#[derive(Default)]
pub struct Plan<'a> {
    /// Of redis.conf, beside or in the place of those that all have.
    pub options: &'a [(&'a str, &'a str)],
    /// With an identity it speaks TLS and nothing else.
    pub identity: Option<&'a Identity>,
    /// Without one it is any.
    pub port: Option<Port>,
    /// For a sentinel: what it calls the master, and the port of that.
    pub watched: Option<(&'a str, u16)>,
}

/// A server. It is killed when this is dropped, and only it.
pub struct Redis {
    child: Child,
    dir: TempDir,
    pub port: u16,
    options: BTreeMap<String, String>,
    is_sentinel: bool,
    identity: Option<Identity>,
    _ports: Vec<Port>,
}

impl Redis {
    /// One node with nothing special.
    pub async fn start() -> Self {
        Plan::default().start().await
    }

    /// One node on this port.
    pub async fn start_on(port: Port) -> Self {
        let port = Some(port);
        let plan = Plan {
            port,
            ..Plan::default()
        };
        plan.start().await
    }

    /// One node with options of redis.conf.
    pub async fn start_with(options: &[(&str, &str)]) -> Self {
        let plan = Plan {
            options,
            ..Plan::default()
        };
        plan.start().await
    }

    async fn is_up(&mut self) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("redis-server ended with {status}: {}", self.log());
            }
            let pong = self.try_ask(&["PING"]).await;
            match &pong {
                Ok(Resp::Bytes(pong)) if pong == b"PONG" => return,
                // As much as it says to who has no password.
                Ok(Resp::Error(error)) if error.starts_with("NOAUTH") => return,
                _ => assert!(began.elapsed() < PATIENCE, "{pong:?}; {}", self.log()),
            }
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
        let asking = async { resp::ask(self.connect().await?, words).await };
        match timeout(ANSWER_WITHIN, asking).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Socket>> {
        let addr = ([127, 0, 0, 1], self.port).into();
        match &self.identity {
            None => Ok(Box::new(TcpStream::connect(addr).await?)),
            Some(identity) => Ok(identity.try_connect(addr, &[]).await?.0),
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

    /// A section of `INFO`.
    pub async fn info(&self, section: &str) -> String {
        self.ask(&["INFO", section]).await.text()
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
        self.child = spawn(&self.options, self.is_sentinel);
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

impl Plan<'_> {
    pub async fn start(self) -> Redis {
        let port = self.port.unwrap_or_else(Port::free);
        launch(port, self.options, Vec::new(), self.identity, self.watched).await
    }
}

async fn launch(
    port: Port,
    options: &[(&str, &str)],
    mut ports: Vec<Port>,
    identity: Option<&Identity>,
    watched: Option<(&str, u16)>,
) -> Redis {
    let dir = TempDir::new().unwrap();
    let number = port.number.to_string();
    let mut all = BTreeMap::new();
    let mut set = |name: &str, value: &str| all.insert(name.to_owned(), value.to_owned());
    set("bind", "127.0.0.1");
    set("dir", &dir.path().display().to_string());
    set("logfile", "log");
    match identity {
        None => set("port", &number),
        Some(_) => set("port", "0"),
    };
    if let Some(identity) = identity {
        set("tls-port", &number);
        set("tls-auth-clients", "no");
        set("tls-replication", "yes");
        let files = identity.write(dir.path());
        for (name, path) in [
            ("tls-ca-cert-file", files.authority),
            ("tls-cert-file", files.certificate),
            ("tls-key-file", files.key),
        ] {
            set(name, &path.display().to_string());
        }
    }
    match watched {
        None => {
            set("save", "");
            set("appendonly", "no");
            set("daemonize", "no");
        }
        Some((name, master)) => {
            let path = dir.path().join("sentinel.conf");
            let config = format!(
                "sentinel monitor {name} 127.0.0.1 {master} 1\n\
                 sentinel down-after-milliseconds {name} 500\n\
                 sentinel failover-timeout {name} 2000\n"
            );
            std::fs::write(&path, config).unwrap();
        }
    }
    for (name, value) in options {
        set(name, value);
    }
    let number = port.number;
    ports.push(port);
    let is_sentinel = watched.is_some();
    let mut redis = Redis {
        child: spawn(&all, is_sentinel),
        dir,
        port: number,
        options: all,
        is_sentinel,
        identity: identity.cloned(),
        _ports: ports,
    };
    redis.is_up().await;
    redis
}

fn spawn(options: &BTreeMap<String, String>, is_sentinel: bool) -> Child {
    let server = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
    let mut command = Command::new(&server);
    if is_sentinel {
        // It writes down in its file what it learns.
        let file = format!("{}/sentinel.conf", options["dir"]);
        command.arg(file).arg("--sentinel");
    }
    for (name, value) in options {
        // Older servers take two words for one, if they come as one.
        command.arg(format!("--{name}")).args(value.split(' '));
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
