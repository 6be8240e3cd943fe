//! A configuration becomes a server: build, run, drain, close.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora_core::apps::HttpServerOptions;
use pingora_core::listeners::ListenerConfig;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::protocols::l4::stream::L4BufferSettings;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch};
use pingora_core::services::listening::Service;
use pingora_proxy::http_proxy;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::access_log::AccessLog;
use crate::admin::{Admin, Readiness};
use crate::api::{Fault, Worth};
use crate::cache::Cache;
use crate::cache::flights::FlightLimits;
use crate::config::{Config, Keep, Tls};
use crate::metrics::Metrics;
use crate::policy::freshness::FreshnessRules;
use crate::proxy::deadline::Deadline;
use crate::proxy::question::Questions;
use crate::proxy::{LlmProxy, ProxyOptions};
use crate::route::Router;
use crate::store::shared::Shared;
use crate::store::{Store, StoreError};
use crate::trace::Traces;
use crate::upstream::Upstream;

mod tiers;

/// How often the listeners are tried at the start and the last requests looked for at the end.
const POLL: Duration = Duration::from_millis(10);
/// Listeners that do not accept within this time never will.
const START_MAX: Duration = Duration::from_secs(10);
/// After the last answer, what the kernel and HTTP/2 still hold gets this long to leave.
const LINGER: Duration = Duration::from_millis(100);
/// What is to be shared still is written for so long at the end.
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// Why a server does not start or does not end well.
#[derive(Debug, Error)]
pub enum ServerError {
    /// A port cannot be had.
    #[error("cannot listen on {address}: {source}; stop what uses it or change {setting}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The key in the configuration.
        setting: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something the system or the framework does not provide.
    #[error("cannot start: {0}")]
    Setup(String),
    /// The listeners did not come up.
    #[error("the listeners did not accept a connection within {START_MAX:?}")]
    NotListening,
}

impl ServerError {
    /// Whether the configuration asks for what this machine does not give: not a fault of ours.
    pub fn is_configuration(&self) -> bool {
        matches!(self, ServerError::Store(_))
    }
}

/// Builds everything a configuration asks for except ports and store, to find what is wrong.
pub fn check(config: &Config) -> Result<(), ServerError> {
    build_upstreams(config)?;
    if let Some(tls) = &config.server.tls {
        tls_settings(tls)?;
    }
    if let Some(shared) = tiers::options(config).shared {
        Shared::new(shared, Arc::new(Metrics::new().map_err(setup)?)).map_err(StoreError::from)?;
    }
    Ok(())
}

/// Runs until a signal ends it. Blocks.
pub fn run(config: Config) -> Result<(), ServerError> {
    try_ports(&config)?;
    let metrics = Arc::new(Metrics::new().map_err(setup)?);
    let store = Store::open(&tiers::options(&config), metrics.clone())?;
    store.remove_leftovers();
    let limits = FlightLimits {
        flights_max: config.limits.fills_max,
        answer_bytes_max: config.limits.answer_bytes_max,
        error_linger: config.cache.error_linger,
    };
    // Leaked: pingora's storage lives as long as the process. It is closed below.
    let cache: &'static Cache = Box::leak(Box::new(Cache::new(store, limits, metrics.clone())));
    let readiness = Readiness::default();
    let (stop, stopped) = watch::channel(false);
    for upstream in &config.upstreams {
        metrics.upstream_known(&upstream.name);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(setup)?;
    {
        let _in_runtime = runtime.enter();
        cache.store().share();
    }
    let traces = match &config.tracing {
        None => Traces::default(),
        Some(tracing) => {
            let handle = runtime.handle().clone();
            Traces::new(tracing, handle, metrics.clone()).map_err(ServerError::Setup)?
        }
    };
    let dropped = metrics.access_lines_dropped.clone();
    let access_log = AccessLog::start(config.log.format, dropped).map_err(setup)?;
    let proxy = proxy_server(&config, cache, access_log.clone(), traces.clone())?;
    let admin = admin_server(&config, cache, readiness.clone());

    // Before anything listens, so that no signal is ever lost.
    let mut signals = {
        let _in_runtime = runtime.enter();
        Signals::new().map_err(setup)?
    };
    start("proxy", proxy, stopped)?;
    // Answers probes and scrapes to the very end, so it is never told to stop.
    let (_never, not_stopped) = watch::channel(false);
    start("admin", admin, not_stopped)?;

    let outcome = runtime.block_on(async {
        until_listening(&config).await?;
        readiness.set(true);
        announce(&config);
        signals.next().await;
        readiness.set(false);
        log::info!("shutting down, answers under way may finish");
        // Pingora closes its listeners and idle connections now, and its threads live on until the
        // process ends, which is decided here.
        let _ = stop.send(true);
        tokio::select! {
            () = drained(&metrics) => log::info!("all answers are finished"),
            () = tokio::time::sleep(config.server.shutdown_deadline) => {
                log::warn!("the shutdown deadline has passed, answers under way are cut off");
            }
            () = signals.next() => log::warn!("second signal, answers under way are cut off"),
        }
        Ok(())
    });
    // Writing what is queued may take a while; a signal ends that, too.
    runtime.block_on(async {
        let store = async {
            if let Some(shared) = cache.store().shared() {
                shared.settle(SETTLE_MAX).await;
            }
            let closed = tokio::task::spawn_blocking(|| cache.store().close());
            closed.await
        };
        let spans = tokio::task::spawn_blocking(move || traces.close());
        tokio::select! {
            _ = async { tokio::join!(store, spans) } => log::info!("closed"),
            () = signals.next() => log::warn!("another signal, answers not written yet are lost"),
        }
    });
    runtime.shutdown_background();
    access_log.close();
    outcome
}

fn start(name: &str, server: Server, stopped: watch::Receiver<bool>) -> Result<(), ServerError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            server.run(RunArgs {
                shutdown_signal: Box::new(StopSignal(stopped)),
            })
        })
        .map(|_| ())
        .map_err(setup)
}

fn pingora(config: &Config, threads: usize) -> Server {
    let conf = ServerConf {
        threads,
        // One worker has nobody to share with, and serves a thousand busy connections in turn, where one
        // of the other kind lets some wait eight times as long.
        work_stealing: threads > 1,
        // Longer than we ever wait: the end is not pingora's to decide.
        grace_period_seconds: Some(config.server.shutdown_deadline.as_secs() + 3600),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    server
}

fn proxy_server(
    config: &Config,
    cache: &'static Cache,
    access_log: AccessLog,
    traces: Traces,
) -> Result<Server, ServerError> {
    let mut server = pingora(config, config.server.threads);
    let upstreams = build_upstreams(config)?;
    let names = config
        .upstreams
        .iter()
        .map(|u| (u.name.as_str(), u.models.as_slice()));
    let proxy = LlmProxy::new(
        cache,
        ProxyOptions {
            router: Router::new(names),
            upstreams,
            limits: config.limits.clone(),
            scope: config.cache.scope,
            cache_default: config.cache.default_on,
            abandoned: config.cache.abandoned,
            worth: worth(&config.cache.keep),
            freshness: FreshnessRules::new(&config.cache),
            request_ttl_max: config.cache.request_ttl_max,
            retries: config.cache.retries,
            compression: config.server.compression,
            by_item: config.cache.embeddings_by_item,
            memo_bytes_max: Questions::share_of(config.store.memory_bytes_max),
            access_log,
            traces,
        },
    )
    .map_err(setup)?;
    let mut app = http_proxy(&server.configuration, proxy);
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.h2_idle_timeout = Some(config.server.keepalive);
    app.server_options = Some(options);
    let app = Deadline::new(app, config.limits.header_timeout, config.server.keepalive);
    let mut service = Service::new("proxy".to_owned(), app);
    for address in &config.server.listen {
        let listener = ListenerConfig::tcp(address.to_string());
        service.add_listener(match &config.server.tls {
            // What reads and writes has buffers of its own; a further one is a further copy.
            None => listener.l4_buffer(L4BufferSettings::unbuffered()),
            // TLS reads and writes record by record.
            Some(tls) => listener.tls(tls_settings(tls)?),
        });
    }
    server.add_service(service);
    Ok(server)
}

fn admin_server(config: &Config, cache: &'static Cache, readiness: Readiness) -> Server {
    let mut server = pingora(config, 1);
    let mut service = Service::new(
        "admin".to_owned(),
        Admin::new(cache, readiness, config.server.admin_token.as_ref()),
    );
    service.add_tcp(&config.server.admin.to_string());
    server.add_service(service);
    server
}

fn build_upstreams(config: &Config) -> Result<Vec<Arc<Upstream>>, ServerError> {
    let upstreams = config.upstreams.iter().cloned();
    upstreams
        .map(|u| Upstream::new(u).map(Arc::new).map_err(setup))
        .collect()
}

/// What the operator wants kept, in the words of the judges.
fn worth(keep: &[Keep]) -> Worth {
    let fault = |keep: &Keep| match keep {
        Keep::Length => Fault::Length,
        Keep::Filtered => Fault::Filtered,
        Keep::Refused => Fault::Refused,
        Keep::Empty => Fault::Empty,
        Keep::BadToolCall => Fault::BadToolCall,
        Keep::NullItem => Fault::NullItem,
        Keep::WrongCount => Fault::WrongCount,
    };
    keep.iter().map(fault).fold(Worth::default(), Worth::and)
}

fn tls_settings(tls: &Tls) -> Result<TlsSettings, ServerError> {
    let (cert, key) = (tls.cert.to_string_lossy(), tls.key.to_string_lossy());
    let mut settings = TlsSettings::intermediate(&cert, &key).map_err(setup)?;
    settings.enable_h2();
    Ok(settings)
}

/// Pingora panics in a task of its own when a port is taken; this says it before.
fn try_ports(config: &Config) -> Result<(), ServerError> {
    let listen = config.server.listen.iter().map(|a| (*a, "server.listen"));
    for (address, setting) in listen.chain([(config.server.admin, "server.admin")]) {
        TcpListener::bind(address).map_err(|source| ServerError::Listen {
            address,
            setting,
            source,
        })?;
    }
    Ok(())
}

async fn until_listening(config: &Config) -> Result<(), ServerError> {
    let deadline = Instant::now() + START_MAX;
    for address in config.server.listen.iter().chain([&config.server.admin]) {
        while tokio::net::TcpStream::connect(reachable(*address))
            .await
            .is_err()
        {
            if Instant::now() > deadline {
                return Err(ServerError::NotListening);
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}

/// An address to reach a listener by: "any" is no destination.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Resolves once no client is being answered and no upstream is being asked.
async fn drained(metrics: &Metrics) {
    let busy = || metrics.requests_in_flight.get() > 0 || metrics.fills_in_flight.get() > 0;
    if !busy() {
        return;
    }
    while busy() {
        tokio::time::sleep(POLL).await;
    }
    tokio::time::sleep(LINGER).await;
}

fn announce(config: &Config) {
    let scheme = if config.server.tls.is_some() {
        "https"
    } else {
        "http"
    };
    for address in &config.server.listen {
        log::info!("listening on {scheme}://{address}");
    }
    log::info!("admin on http://{}", config.server.admin);
    for upstream in &config.upstreams {
        log::info!("upstream {} is {}", upstream.name, upstream.url);
    }
}

fn setup(error: impl std::fmt::Display) -> ServerError {
    ServerError::Setup(error.to_string())
}

/// SIGTERM and SIGINT mean the same.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Tells pingora when to stop.
struct StopSignal(watch::Receiver<bool>);

#[async_trait]
impl ShutdownSignalWatch for StopSignal {
    async fn recv(&self) -> ShutdownSignal {
        let mut stopped = self.0.clone();
        // A sender that is gone means that the server failed to start.
        let _ = stopped.wait_for(|stopped| *stopped).await;
        ShutdownSignal::GracefulTerminate
    }
}
