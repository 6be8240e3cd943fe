//! The proxy: `impl ProxyHttp` in pingora's call order.
//!
//! A request visits in one of three roles (`proxy/ctx.rs`):
//!
//! ```text
//!                            Client              PassThrough         Fill
//! early_request_filter       count it                                unpack body and flight
//! request_filter             serve::serve ──►    (falls through)
//!   answered: hit,           replay / follow
//!   coalesced, miss, error   a flight
//! request_cache_filter                                               enable the cache
//! upstream_peer                                  resolve             resolve
//! upstream_request_filter                        address it          address it
//! response_cache_filter                                              record everything
//!   (miss handler)                                                   cache/record_miss.rs
//! response_filter                                add signals
//! fail_to_proxy              cut or error JSON   error JSON          end the flight
//! logging                    account             account
//! ```
//!
//! A client's miss begins a fill (`proxy/fill.rs`) and then follows it like everyone else.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_cache::{CacheKey, CacheMeta, NoCacheReason, RespCacheable};
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use tokio::sync::Semaphore;

use crate::access_log::AccessLog;
use crate::api::Worth;
use crate::cache::Cache;
use crate::cache::flight::End;
use crate::cache::storage::cache_key;
use crate::config::{Abandoned, Limits, Retries, Scope};
use crate::error::ApiError;
use crate::metrics::{Outcome, UpstreamErrorKind};
use crate::policy::CONTROL_HEADERS;
use crate::policy::freshness::FreshnessRules;
use crate::route::Router;
use crate::trace::Traces;
use crate::upstream::{self, Upstream};
use ctx::{Ctx, InFlight, Role};
use question::Questions;
use respond::Signal;

mod account;
mod answer;
pub mod body;
mod by_item;
pub mod ctx;
pub mod deadline;
mod elsewhere;
mod fill;
mod find;
mod joined;
mod keys;
mod patience;
pub mod question;
mod respond;
mod serve;
mod stored;
mod write;

/// Connections tried for one request. Only connecting is repeated, never asking.
const CONNECT_ATTEMPTS_MAX: usize = 3;

/// Of the metadata that pingora makes for a fill and nobody reads.
const META_TTL: Duration = Duration::from_secs(1);

/// Everything a request needs.
pub struct LlmProxy {
    cache: &'static Cache,
    router: Router,
    upstreams: Vec<Arc<Upstream>>,
    questions: Arc<Questions>,
    limits: Limits,
    scope: Scope,
    cache_default: bool,
    abandoned: Abandoned,
    worth: Worth,
    freshness: FreshnessRules,
    request_ttl_max: Duration,
    retries: Retries,
    compression: bool,
    by_item: bool,
    /// Turns for work that takes long, one for each core.
    heavy: Arc<Semaphore>,
    access_log: AccessLog,
    traces: Traces,
}

/// What [`LlmProxy::new`] takes from the configuration.
pub struct ProxyOptions {
    /// Upstreams and their model patterns, the default one first.
    pub router: Router,
    /// The upstreams, in the router's order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Bounds on bodies and waits.
    pub limits: Limits,
    /// Who shares entries.
    pub scope: Scope,
    /// Whether a path without `/cache` is cached.
    pub cache_default: bool,
    /// What a fill does once all its clients have left.
    pub abandoned: Abandoned,
    /// Which bad answers are kept all the same.
    pub worth: Worth,
    /// For how long answers can be used.
    pub freshness: FreshnessRules,
    /// The longest time to live a client can ask for.
    pub request_ttl_max: Duration,
    /// What a client gets that retries by itself.
    pub retries: Retries,
    /// Whether stored answers are compressed for clients that accept it.
    pub compression: bool,
    /// Whether embeddings are kept by text.
    pub by_item: bool,
    /// Bytes of the memo of questions.
    pub memo_bytes_max: usize,
    /// Where finished requests are told of.
    pub access_log: AccessLog,
    /// Makes spans.
    pub traces: Traces,
}

impl LlmProxy {
    /// A proxy over an open cache. Fails only if the system has no random numbers.
    pub fn new(cache: &'static Cache, options: ProxyOptions) -> Result<LlmProxy, getrandom::Error> {
        Ok(LlmProxy {
            cache,
            router: options.router,
            upstreams: options.upstreams,
            questions: Arc::new(Questions::new(options.memo_bytes_max)?),
            limits: options.limits,
            scope: options.scope,
            cache_default: options.cache_default,
            abandoned: options.abandoned,
            worth: options.worth,
            freshness: options.freshness,
            request_ttl_max: options.request_ttl_max,
            retries: options.retries,
            compression: options.compression,
            by_item: options.by_item,
            heavy: Arc::new(Semaphore::new(
                std::thread::available_parallelism().map_or(1, usize::from),
            )),
            access_log: options.access_log,
            traces: options.traces,
        })
    }

    fn upstream(&self, index: usize) -> Option<Arc<Upstream>> {
        self.upstreams.get(index).cloned()
    }

    fn following(&self) -> InFlight {
        InFlight::of(&self.cache.metrics().followers)
    }

    /// Counts the tokens, and the money, of an answer nobody had to pay for.
    fn saved(&self, ctx: &Ctx, usage: Option<(u64, u64)>) {
        if let (Some(upstream), Some(usage)) = (&ctx.account.upstream, usage) {
            let rate = upstream.rate(ctx.account.model.as_deref());
            self.cache.metrics().saved(upstream.name(), usage, rate);
        }
    }

    fn upstream_error(&self, upstream: &Upstream, kind: UpstreamErrorKind) {
        self.cache
            .metrics()
            .upstream_errors(upstream.name(), kind)
            .inc();
    }
}

/// The copy of a fill's answer that goes to its own "client" is read by nobody, and the recorder has
/// seen the original. A length, or a status without a body, would make pingora end the exchange as
/// soon as that copy is complete, before the upstream's own end has been seen.
fn forget_framing(response: &mut ResponseHeader) -> Result<()> {
    if !response.status.is_informational() {
        response.set_status(StatusCode::OK)?;
        response.remove_header(&CONTENT_LENGTH);
    }
    Ok(())
}

#[async_trait]
impl ProxyHttp for LlmProxy {
    /// Pingora's futures hold it by value in several places.
    type CTX = Box<Ctx>;

    fn new_ctx(&self) -> Box<Ctx> {
        Box::new(Ctx::new(Instant::now()))
    }

    /// None: answers are replayed as they came, so nothing is to be compressed on the way.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Box<Ctx>) -> Result<()> {
        if fill::unpack(session, ctx)? {
            return Ok(());
        }
        deadline::header_is_read();
        let request = session.req_header();
        if !serve::is_health(request) {
            ctx.trace = self.traces.visit(&request.headers);
        }
        ctx.in_flight = Some(InFlight::of(&self.cache.metrics().requests_in_flight));
        let downstream = session.as_downstream_mut();
        downstream.set_write_timeout(Some(self.limits.write_timeout));
        // Without this, a client that sends its next request early is cut off in mid-answer.
        downstream.set_pipelining_enabled(true);
        Ok(())
    }

    fn allow_spawning_subrequest(&self, _session: &Session, ctx: &Box<Ctx>) -> bool {
        matches!(ctx.role, Role::Client)
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Box<Ctx>) -> Result<bool> {
        match ctx.role {
            Role::Client => serve::serve(self, session, ctx).await,
            Role::PassThrough(_) | Role::Fill(_) => Ok(false),
        }
    }

    fn request_cache_filter(&self, session: &mut Session, ctx: &mut Box<Ctx>) -> Result<()> {
        if let Role::Fill(_) = ctx.role {
            session.cache.enable(self.cache, None, None, None, None);
        }
        Ok(())
    }

    fn cache_key_callback(&self, _session: &Session, ctx: &mut Box<Ctx>) -> Result<CacheKey> {
        match &ctx.role {
            Role::Fill(fill) => {
                let key = fill
                    .key
                    .unwrap_or_else(|| crate::key::Key::from_bytes([0; 32]));
                Ok(cache_key(&key, Some(fill.recorder.clone())))
            }
            _ => Error::e_explain(ErrorType::InternalError, "only fills have a cache key"),
        }
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        ctx: &mut Box<Ctx>,
    ) -> Result<Box<HttpPeer>> {
        let Some(target) = ctx.target() else {
            return Error::e_explain(ErrorType::InternalError, "a request without an upstream");
        };
        let attempt = target.attempts;
        target.attempts += 1;
        target.upstream.peer(attempt).await.map_err(|e| e.into_up())
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Box<Ctx>,
        mut e: Box<Error>,
    ) -> Box<Error> {
        let attempts = ctx.target().map_or(usize::MAX, |t| t.attempts);
        e.set_retry(attempts < CONNECT_ATTEMPTS_MAX);
        e
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        #[cfg(unix)] _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        if let Role::Fill(fill) = &ctx.role {
            fill.guard.flight().asked();
        }
        if let Some(target) = ctx.target() {
            target.asked = Some(Instant::now());
            let metrics = self.cache.metrics();
            metrics.upstream_requests(target.upstream.name()).inc();
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        let Some(target) = ctx.target() else {
            return Ok(());
        };
        target.call.pass_on(request);
        for name in CONTROL_HEADERS {
            request.remove_header(*name);
        }
        target
            .upstream
            .address_request(request, &target.rest, target.query.as_deref(), target.api)
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        _session: &mut Session,
        e: Box<Error>,
        _ctx: &mut Box<Ctx>,
        _client_reused: bool,
    ) -> Box<Error> {
        // The upstream may have the request, so it is not sent again, whatever pingora thinks.
        let mut e = e.more_context(format!("peer: {peer}"));
        e.set_retry(false);
        e
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        let Some(target) = ctx.target() else {
            return Ok(());
        };
        let status = response.status.as_u16();
        if response.status.is_informational() {
            return Ok(());
        }
        target.call.answered(status);
        if let Some(asked) = target.asked.take() {
            let metrics = self.cache.metrics();
            let first_byte = metrics.upstream_first_byte(target.upstream.name());
            first_byte.observe(asked.elapsed().as_secs_f64());
        }
        match status {
            429 => self.upstream_error(&target.upstream, UpstreamErrorKind::RateLimited),
            500.. => self.upstream_error(&target.upstream, UpstreamErrorKind::Status5xx),
            _ => {}
        }
        Ok(())
    }

    /// Every answer of a fill goes to the recorder, errors included: it is how followers get it.
    /// What is kept is decided there, at the end.
    fn response_cache_filter(
        &self,
        _session: &Session,
        response: &ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<RespCacheable> {
        let Role::Fill(_) = ctx.role else {
            return Ok(RespCacheable::Uncacheable(NoCacheReason::NeverEnabled));
        };
        let now = SystemTime::now();
        // The record has times of its own; pingora only wants to see that it may keep something.
        let meta = CacheMeta::new(now + META_TTL, now, 0, 0, response.clone());
        Ok(RespCacheable::Cacheable(meta))
    }

    /// A fill's answer goes to everyone who asked, whatever validators one of them sent.
    fn cache_not_modified_filter(
        &self,
        _session: &Session,
        _response: &ResponseHeader,
        _ctx: &mut Box<Ctx>,
    ) -> Result<bool> {
        Ok(false)
    }

    async fn response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        let target = match &ctx.role {
            Role::PassThrough(target) => target,
            Role::Client => return Ok(()),
            Role::Fill(_) => return forget_framing(response),
        };
        if target.api.is_some() {
            let signal = Signal {
                detail: Some("not-json"),
                ..Signal::of(Outcome::Bypass, None)
            };
            signal.add_to(response)?;
        }
        ctx.head_sent(response.status.as_u16());
        Ok(())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        e: &Error,
        ctx: &mut Box<Ctx>,
    ) -> FailToProxy {
        const GONE: FailToProxy = FailToProxy {
            error_code: 0,
            can_reuse_downstream: false,
        };
        let from_upstream = *e.esource() == ErrorSource::Upstream;
        let target = ctx.target().map(|t| t.upstream.clone());
        let error = match &target {
            Some(upstream) if from_upstream => {
                let (error, kind) = upstream::classify(upstream.name(), e);
                self.upstream_error(upstream, kind);
                error
            }
            _ if *e.esource() == ErrorSource::Downstream => {
                ApiError::bad_request("the request could not be read")
            }
            _ => ApiError::internal(),
        };
        if let Role::Fill(fill) = &ctx.role {
            let flight = fill.guard.flight();
            flight.end(match flight.head() {
                None => End::Failed(error),
                Some(_) => End::Broken("upstream-broken"),
            });
            return GONE;
        }
        if error.status == 500 && !from_upstream && session.response_written().is_none() {
            log::error!("a request failed inside the proxy: {e}");
        }
        let lost = matches!(
            e.etype(),
            ErrorType::ConnectionClosed | ErrorType::WriteError | ErrorType::ReadError
        ) && !from_upstream;
        if session.response_written().is_some() || lost {
            // What was begun cannot be taken back: pingora drops the connection, which tells the
            // client that the answer is not whole.
            return GONE;
        }
        session.as_downstream_mut().set_keepalive(None);
        let signal = ctx
            .account
            .api
            .map(|_| Signal::of(Outcome::Bypass, ctx.account.key));
        match respond::error(session, ctx, &error, signal.as_ref()).await {
            Ok(()) => FailToProxy {
                error_code: error.status,
                can_reuse_downstream: false,
            },
            Err(_) => GONE,
        }
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &Box<Ctx>, _error: &Error) -> bool {
        // The access line says it.
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Box<Ctx>,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, e: Option<&Error>, ctx: &mut Box<Ctx>) {
        if let Role::Fill(_) = ctx.role {
            return;
        }
        deadline::header_is_due(session.as_downstream());
        account::of_client(self, session, e, ctx);
    }
}
