//! The server under test: a real process in a directory of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;

use super::answer::Answer;
use super::ask::Ask;
use super::config::Config;
use super::gate::within;
use super::h1::H1;
use super::h2::H2;
use super::metrics::Metrics;
use super::origin::Origin;
use super::port::Port;
use super::process::Process;
use super::quiet::{Turn, beside};

/// How long a server may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

pub fn proxy() -> ProxyBuilder {
    ProxyBuilder {
        config: Config::new(),
    }
}

/// A server before this origin, with the shipped behaviour.
pub async fn proxy_before(origin: &Origin) -> Proxy {
    proxy().upstream(origin).start().await
}

pub struct ProxyBuilder {
    config: Config,
}

/// The running server; its process ends when this is dropped.
pub struct Proxy {
    pub addr: SocketAddr,
    pub admin: SocketAddr,
    pub process: Process,
    dir: TempDir,
    config: Config,
    _ports: [Port; 2],
    _turn: Turn,
}

impl ProxyBuilder {
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Adds an upstream called `openai`.
    pub fn upstream(self, origin: &Origin) -> Self {
        self.config(|c| {
            c.upstream("openai", origin, json!({}));
        })
    }

    /// Adds an upstream called `openai` at this URL.
    pub fn upstream_at(self, url: &str) -> Self {
        self.config(|c| {
            c.upstream_at("openai", url, json!({}));
        })
    }

    pub fn set(self, path: &str, value: impl Into<serde_json::Value>) -> Self {
        self.config(|c| {
            c.set(path, value);
        })
    }

    /// Starts the server and waits until it is ready; new ports if the first were taken.
    pub async fn start(mut self) -> Proxy {
        let turn = beside().await;
        let dir = TempDir::new().unwrap();
        for attempt in 1.. {
            let ports = [Port::free(), Port::free()];
            let [addr, admin] = [ports[0].addr(), ports[1].addr()];
            self.config.set("server.listen", json!([addr.to_string()]));
            self.config.set("server.admin", admin.to_string());
            let mut process = launch(&dir, &self.config);
            match ready(&mut process, admin).await {
                Ok(()) => {
                    let Self { config } = self;
                    return Proxy {
                        addr,
                        admin,
                        process,
                        dir,
                        config,
                        _ports: ports,
                        _turn: turn,
                    };
                }
                Err(why) => {
                    let taken = process.output().contains("in use");
                    assert!(taken && attempt < 5, "the server did not start: {why}");
                }
            }
        }
        unreachable!("the loop returns or panics")
    }
}

fn launch(dir: &TempDir, config: &Config) -> Process {
    for (name, content) in &config.files {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    std::fs::write(dir.path().join("config.yaml"), config.yaml()).unwrap();
    Process::start(dir.path(), &["run", "--config", "config.yaml"], &config.env)
}

async fn ready(process: &mut Process, admin: SocketAddr) -> Result<(), String> {
    let started = std::time::Instant::now();
    loop {
        if let Some(status) = process.exited() {
            return Err(format!("it ended with {status}"));
        }
        if let Ok(200) = try_get(admin, "/readyz").await {
            return Ok(());
        }
        if started.elapsed() > READY_WITHIN {
            return Err(format!("/readyz did not say 200 within {READY_WITHIN:?}"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The status of a GET; an error if nobody answers.
pub async fn try_get(addr: SocketAddr, path: &str) -> std::io::Result<u16> {
    let stream = tokio::net::TcpStream::connect(addr).await?;
    let ask = Ask::get(path).header("connection", "close");
    let asked = H1::over(Box::new(stream)).try_ask(&ask).await;
    asked.map(|answer| answer.head.status)
}

impl Proxy {
    /// Asks over a new HTTP/1.1 connection.
    #[track_caller]
    pub fn ask(&self, ask: &Ask) -> impl Future<Output = Answer> {
        let addr = self.addr;
        let ask = ask.clone();
        super::gate::bounded(format!("{} {}", ask.method, ask.path), async move {
            H1::connect(addr).await.ask(&ask).await
        })
    }

    pub async fn h1(&self) -> H1 {
        H1::connect(self.addr).await
    }

    pub async fn h2(&self) -> H2 {
        H2::connect(self.addr).await
    }

    pub async fn admin_get(&self, path: &str) -> Answer {
        H1::connect(self.admin)
            .await
            .ask(&Ask::get(path).without("authorization"))
            .await
    }

    pub async fn metrics(&self) -> Metrics {
        let answer = self.admin_get("/metrics").await;
        answer.is_clean(200);
        Metrics::parse(&answer.text())
    }

    /// Waits until a series has this value or more.
    #[track_caller]
    pub fn reaches(&self, selector: &str, value: f64) -> impl Future<Output = ()> {
        let bound = Duration::from_secs(20);
        let selector = selector.to_owned();
        within(bound, format!("{selector} >= {value}"), move || {
            let selector = selector.clone();
            async move {
                let metrics = self.metrics().await;
                let now = metrics.value(&selector);
                let names = metrics.names();
                if now >= value {
                    Ok(())
                } else {
                    Err(format!("{now}; exported: {names:?}"))
                }
            }
        })
    }

    /// Waits until a series is down to this value.
    #[track_caller]
    pub fn falls_to(&self, selector: &str, value: f64) -> impl Future<Output = ()> {
        let selector = selector.to_owned();
        let bound = Duration::from_secs(20);
        within(bound, format!("{selector} <= {value}"), move || {
            let selector = selector.clone();
            async move {
                let now = self.metrics().await.value(&selector);
                if now <= value {
                    Ok(())
                } else {
                    Err(format!("{now}"))
                }
            }
        })
    }

    /// Waits until this many requests follow a fill, those that began one included.
    #[track_caller]
    pub fn following(&self, requests: usize) -> impl Future<Output = ()> {
        self.reaches("llm_cache_followers", requests as f64)
    }

    pub fn sigterm(&self) {
        self.process.signal(Signal::SIGTERM);
    }

    pub fn kill9(&self) {
        self.process.signal(Signal::SIGKILL);
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub fn exits_within(&mut self, bound: Duration) -> impl Future<Output = ExitStatus> {
        self.process.exits_within(bound)
    }

    /// Starts the server again in the same directory, on the same ports, with the same
    /// configuration; it must have ended before.
    pub async fn start_again(&mut self) {
        self.begin_again();
        if let Err(why) = ready(&mut self.process, self.admin).await {
            panic!("the server did not start again: {why}");
        }
    }

    /// Like `start_again`, without waiting until it is ready.
    pub fn begin_again(&mut self) {
        assert!(self.process.exited().is_some(), "the server still runs");
        self.process = launch(&self.dir, &self.config);
    }

    /// Ends the server in peace and starts it again.
    pub async fn restart(&mut self) {
        self.sigterm();
        let status = self.exits_within(Duration::from_secs(20)).await;
        assert!(status.success(), "the server ended with {status}");
        self.start_again().await;
    }

    /// A path in the server's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}
