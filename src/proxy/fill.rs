//! Steps 7 to 9: the one request to the upstream, detached from the client that caused it.
//!
//! A fill is a pingora subrequest: it runs through the phases of `proxy.rs` with
//! [`Role::Fill`](super::ctx::Role), and what comes back is recorded into its flight by the miss
//! handler. Its body is handed over whole, which is how bodies of any size and framing reach the
//! upstream byte for byte (pingora replays at most 64 KiB of a body that was read early).

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Version;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE,
};
use parking_lot::Mutex;
use pingora::http::RequestHeader;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::subrequest::server::SubrequestHandle;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::subrequest::{BodyMode, Ctx as SubrequestCtx, UserCtx};
use pingora_proxy::{PreparedSubrequest, Session};

use super::LlmProxy;
use super::body::Whole;
use super::ctx::{Ctx, Fill, Role, Target};
use crate::api::items::Text;
use crate::api::{Api, Facts, Worth};
use crate::cache::Cache;
use crate::cache::flight::{End, Flight};
use crate::cache::flights::FillGuard;
use crate::cache::record_miss::{FillSubject, Recorder};
use crate::coding::Coding;
use crate::config::{Abandoned, Timeouts};
use crate::error::ApiError;
use crate::key::Key;
use crate::metrics::UpstreamErrorKind;
use crate::store::about::About;
use crate::trace::{Traces, Visit};

/// A fill that is to stop with its last client still gets this long: SDKs close the connection at
/// the last event, just before the end of the body makes the answer whole.
const ABANDONED_GRACE: Duration = Duration::from_millis(500);

/// What a client asks of an upstream.
pub struct Asked {
    /// The API.
    pub api: Api,
    /// What the body says.
    pub facts: Facts,
    /// The body, untouched.
    pub body: Whole,
    /// Where to ask.
    pub target: Target,
}

/// What becomes of the answer.
pub struct Task {
    /// The key it is kept under, `None` if it is for one client only.
    pub key: Option<Key>,
    /// For how long it is fresh.
    pub ttl: Duration,
    /// The purges so far: those that come while the upstream answers cover the answer.
    pub generation: u64,
    /// What it is about.
    pub about: Arc<About>,
    /// Older answers in other forms, which go when this one is kept.
    pub replaces: Vec<Key>,
    /// It is asked for although there may be an answer.
    pub refreshes: bool,
    /// The texts of an embeddings request, in its order, and the keys under which each is kept.
    pub items: Vec<(Key, Text)>,
    /// The body is not the client's but made from it, without a content coding.
    pub rewritten: bool,
    /// Nobody waits for it, and it is wanted all the same.
    pub detached: bool,
}

impl Task {
    /// The answer is for one client only.
    pub fn uncached() -> Task {
        Task {
            key: None,
            ttl: Duration::ZERO,
            generation: 0,
            about: Arc::default(),
            replaces: Vec::new(),
            refreshes: false,
            items: Vec::new(),
            rewritten: false,
            detached: false,
        }
    }
}

/// The fill on its way from the client's request to its own.
type Parcel = Arc<Mutex<Option<Box<Fill>>>>;

/// A fill that can begin after the client's request has ended.
pub struct Prepared {
    request: PreparedSubrequest,
    handle: SubrequestHandle,
    parcel: Parcel,
    cache: &'static Cache,
    traces: Traces,
    cause: Visit,
    api: Api,
    facts: Facts,
    target: Target,
    task: Task,
    body_len: usize,
    sent_as: Option<Coding>,
    worth: Worth,
    abandoned: Abandoned,
    detached_max: Duration,
}

/// Prepares a fill.
pub fn prepare(
    proxy: &LlmProxy,
    session: &mut Session,
    cause: &Visit,
    asked: Asked,
    task: Task,
) -> Result<Prepared> {
    let Asked {
        api,
        facts,
        mut body,
        target,
    } = asked;
    let body = body.join();
    let sent_as = Coding::of(&session.req_header().headers);
    let parcel = Parcel::default();
    let user_ctx: UserCtx = Box::new(parcel.clone());
    // Also for an empty body: otherwise pingora would drop the headers that describe it.
    let context = SubrequestCtx::builder()
        .user_ctx(user_ctx)
        .body_mode(BodyMode::ExpectBody)
        .build();

    let Some(spawner) = session.subrequest_spawner.take() else {
        return Error::e_explain(ErrorType::InternalError, "no subrequests on this session");
    };
    // A subrequest is made from the request's text, and its parser only knows HTTP/1.
    let version = session.req_header().version;
    session.req_header_mut().set_version(Version::HTTP_11);
    let (request, handle) = spawner.create_subrequest(&session.downstream_session, context);
    session.req_header_mut().set_version(version);
    session.subrequest_spawner = Some(spawner);

    let body_len = body.len();
    if !body.is_empty()
        && handle
            .tx
            .try_send(HttpTask::Body(Some(body), true))
            .is_err()
    {
        return Error::e_explain(ErrorType::InternalError, "the subrequest takes no body");
    }
    Ok(Prepared {
        request,
        handle,
        parcel,
        cache: proxy.cache,
        traces: proxy.traces.clone(),
        cause: cause.cause(),
        api,
        facts,
        target,
        body_len,
        sent_as: sent_as.filter(|_| !task.rewritten),
        worth: proxy.worth,
        // An answer that cannot be kept is of no use to anyone but its client.
        abandoned: match task.key {
            Some(_) if task.detached => Abandoned::Finish,
            Some(_) => proxy.abandoned,
            None => Abandoned::Stop,
        },
        detached_max: proxy.limits.fill_detached_max,
        task,
    })
}

/// Starts the fill in a task of its own.
pub fn spawn(
    proxy: &LlmProxy,
    session: &mut Session,
    cause: &Visit,
    asked: Asked,
    guard: FillGuard,
    task: Task,
) -> Result<()> {
    prepare(proxy, session, cause, asked, task)?.start(guard);
    Ok(())
}

impl Prepared {
    /// Starts it in a task of its own.
    pub fn start(self, guard: FillGuard) {
        let Prepared {
            request,
            mut handle,
            facts,
            mut target,
            task,
            ..
        } = self;
        target.trace(&self.traces, &self.cause, facts.model.as_deref());
        let flight = guard.flight().clone();
        if let Some(call) = target.call.context() {
            flight.called(call);
        }
        if let Some(coding) = self.sent_as {
            flight.sent_as(coding);
        }
        flight.asks_about(task.generation, task.about.clone());
        let upstream = target.upstream.clone();
        let subject = FillSubject {
            key: task.key,
            ttl: task.ttl,
            generation: task.generation,
            about: task.about,
            replaces: task.replaces,
            refreshes: task.refreshes,
            items: task.items,
            api: self.api,
            rate: upstream.rate(facts.model.as_deref()),
            facts,
            worth: self.worth,
            upstream: upstream.name().to_owned(),
        };
        let recorder = Recorder::new(self.cache, flight.clone(), subject);
        *self.parcel.lock() = Some(Box::new(Fill {
            guard,
            recorder: Arc::new(Mutex::new(Some(recorder))),
            key: task.key,
            body_len: self.body_len,
            rewritten: task.rewritten,
            target,
        }));
        let watch = Watch {
            flight,
            timeouts: *upstream.timeouts(),
            upstream: upstream.name().to_owned(),
            abandoned: self.abandoned,
            detached_max: self.detached_max,
            metrics: self.cache.metrics().clone(),
        };
        tokio::spawn(async move {
            // The recorder has everything; what the subrequest writes to its "client" is dropped. The
            // sender must live as long: its end would mean that the client left.
            let exchange = async {
                tokio::join!(request.run(), async {
                    while handle.rx.recv().await.is_some() {}
                });
            };
            tokio::select! {
                () = exchange => {}
                () = watch.run() => {}
            }
            drop(handle.tx);
        });
    }
}

/// In the subrequest's first phase: takes the fill out of the parcel.
pub fn unpack(session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
    let Some(context) = session.subrequest_ctx.as_mut() else {
        return Ok(false);
    };
    let parcel = context
        .user_ctx_mut()
        .and_then(|user| user.downcast_mut::<Parcel>());
    let Some(fill) = parcel.and_then(|parcel| parcel.lock().take()) else {
        return Error::e_explain(ErrorType::InternalError, "a subrequest that is no fill");
    };
    frame(session.req_header_mut(), fill.body_len)?;
    if fill.rewritten {
        session.req_header_mut().remove_header(&CONTENT_ENCODING);
    }
    ctx.role = Role::Fill(fill);
    Ok(true)
}

/// The body is whole now, whatever its framing was, and is stored as plain bytes.
fn frame(request: &mut RequestHeader, length: usize) -> Result<()> {
    for name in [TRANSFER_ENCODING, EXPECT, UPGRADE] {
        request.remove_header(&name);
    }
    request.insert_header(CONTENT_LENGTH, length)?;
    request.insert_header(ACCEPT_ENCODING, "identity")
}

/// Ends fills that take too long or that nobody waits for.
struct Watch {
    flight: Arc<Flight>,
    timeouts: Timeouts,
    upstream: String,
    abandoned: Abandoned,
    detached_max: Duration,
    metrics: Arc<crate::metrics::Metrics>,
}

impl Watch {
    /// Resolves when the fill is to be stopped.
    async fn run(self) {
        tokio::select! {
            () = self.silent() => {
                self.metrics.upstream_errors(&self.upstream, UpstreamErrorKind::Timeout).inc();
                let error = ApiError::upstream_timeout(&self.upstream);
                self.flight.end(match self.flight.head() {
                    None => End::Failed(error),
                    Some(_) => End::Broken("upstream-timeout"),
                });
            }
            () = self.unwanted() => self.flight.end(End::Broken("abandoned")),
        }
    }

    /// Resolves once the upstream has been silent for too long.
    async fn silent(&self) {
        let mut progress = self.flight.progress();
        loop {
            progress.borrow_and_update();
            let Some(silence) = self.flight.silence() else {
                // Connecting has limits of its own.
                if progress.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let limit = if silence.answering {
                self.timeouts.idle
            } else {
                self.timeouts.first_byte
            };
            let deadline = silence.since + limit;
            if Instant::now() >= deadline {
                return;
            }
            let sleep = tokio::time::sleep_until(deadline.into());
            if silence.answering {
                // Pieces only move the deadline, which is looked at when it comes.
                sleep.await;
            } else {
                tokio::select! {
                    () = sleep => {}
                    changed = progress.changed() => if changed.is_err() { return },
                }
            }
        }
    }

    /// Resolves once nobody has been waiting for longer than is allowed.
    async fn unwanted(&self) {
        loop {
            self.flight.deserted().await;
            if self.flight.ended().is_some() {
                // The exchange is about to hand its connection back and ends by itself.
                return std::future::pending().await;
            }
            tokio::time::sleep(match self.abandoned {
                Abandoned::Stop => ABANDONED_GRACE,
                Abandoned::Finish => self.detached_max,
            })
            .await;
            if self.flight.followers() == 0 {
                return;
            }
        }
    }
}
