//! What is known of one request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::IntGauge;

use super::account;
use crate::api::Api;
use crate::cache::flights::FillGuard;
use crate::cache::record_miss::RecorderSlot;
use crate::key::Key;
use crate::metrics::Outcome;
use crate::tenant::Tenant;
use crate::trace::{Call, Subject, Traces, Visit};
use crate::upstream::Upstream;

/// Per-request state. Pingora makes one for every request of a client and for every fill.
pub struct Ctx {
    /// When the request's header had been read.
    pub started: Instant,
    /// What pingora is to do with it.
    pub role: Role,
    /// What is told about it afterwards.
    pub account: Account,
    /// Its place in a trace.
    pub trace: Visit,
    /// Counts the request as in flight until it is dropped.
    pub in_flight: Option<InFlight>,
}

/// The parts a request can play in pingora's phases.
pub enum Role {
    /// A client's request that this server answers in `request_filter`.
    Client,
    /// A client's request that goes through untouched.
    PassThrough(Target),
    /// The one request to the upstream on behalf of everyone who asked the same.
    Fill(Box<Fill>),
}

/// Where a request goes.
pub struct Target {
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// The API, if the path is one of an API.
    pub api: Option<Api>,
    /// What is appended to the upstream's base URL.
    pub rest: String,
    /// The query, without its question mark.
    pub query: Option<String>,
    /// Connections tried so far.
    pub attempts: usize,
    /// When the upstream had the connection to read the request from.
    pub asked: Option<Instant>,
    /// Its span.
    pub call: Call,
}

impl Target {
    /// A way that nobody has gone yet.
    pub fn new(
        upstream: Arc<Upstream>,
        api: Option<Api>,
        rest: String,
        query: Option<String>,
    ) -> Target {
        Target {
            upstream,
            api,
            rest,
            query,
            attempts: 0,
            asked: None,
            call: Call::default(),
        }
    }

    /// Begins the span of the request to the upstream, below the request that caused it.
    pub fn trace(&mut self, traces: &Traces, visit: &Visit, model: Option<&str>) {
        self.call = traces.call(visit);
        self.call.about(&Subject {
            operation: self.api.map(|api| api.operation()),
            upstream: self.upstream.name(),
            host: self.upstream.host(),
            port: self.upstream.port(),
            model,
        });
    }
}

/// A fill on its way through pingora.
pub struct Fill {
    /// Ends the flight whatever happens to this request.
    pub guard: FillGuard,
    /// The recorder, until the answer's head arrives.
    pub recorder: RecorderSlot,
    /// The key, `None` if the answer is for one client only.
    pub key: Option<Key>,
    /// Bytes of the request's body.
    pub body_len: usize,
    /// The body is not the client's, and has no content coding.
    pub rewritten: bool,
    /// Where to ask.
    pub target: Target,
}

impl Drop for Fill {
    /// Also where it is given up halfway, when pingora has no phase for it.
    fn drop(&mut self) {
        account::of_fill(self);
    }
}

/// What the access line and the metrics say about a request.
#[derive(Default)]
pub struct Account {
    /// The API asked.
    pub api: Option<Api>,
    /// The upstream it belongs to.
    pub upstream: Option<Arc<Upstream>>,
    /// How it was answered.
    pub outcome: Option<Outcome>,
    /// Why it was not answered from the cache, or what went wrong.
    pub detail: Option<String>,
    /// The model the client named.
    pub model: Option<String>,
    /// The key of the answer.
    pub key: Option<Key>,
    /// Who asked.
    pub tenant: Option<Tenant>,
    /// Status sent to the client.
    pub status: Option<u16>,
    /// Until the answer's head was sent.
    pub first_byte: Option<Duration>,
}

impl Ctx {
    /// State of a request whose header was read at `started`.
    pub fn new(started: Instant) -> Ctx {
        Ctx {
            started,
            role: Role::Client,
            account: Account::default(),
            trace: Visit::default(),
            in_flight: None,
        }
    }

    /// Where this request goes if it goes upstream itself.
    pub fn target(&mut self) -> Option<&mut Target> {
        match &mut self.role {
            Role::Client => None,
            Role::PassThrough(target) => Some(target),
            Role::Fill(fill) => Some(&mut fill.target),
        }
    }

    /// Notes that the answer's head is on its way to the client.
    pub fn head_sent(&mut self, status: u16) {
        self.account.status = Some(status);
        self.account.first_byte = Some(self.started.elapsed());
    }
}

/// A gauge that counts something for as long as this lives.
pub struct InFlight(IntGauge);

impl InFlight {
    /// Counts one more.
    pub fn of(gauge: &IntGauge) -> InFlight {
        gauge.inc();
        InFlight(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
