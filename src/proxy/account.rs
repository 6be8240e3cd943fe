//! Step 10: what is told about a finished request. Metrics, the access line, spans.

use opentelemetry::KeyValue;
use pingora_core::{Error, ErrorSource, ErrorType};
use pingora_proxy::Session;

use super::LlmProxy;
use super::ctx::{Ctx, Fill, Role};
use crate::access_log::{Line, cut};
use crate::cache::flight::End;
use crate::metrics::{Outcome, Timing};

/// Logged as the status of a request whose client left before there was one (nginx's number).
const CLIENT_LEFT: u16 = 499;

/// A client's request is over, `error` says whether it ended badly.
pub fn of_client(proxy: &LlmProxy, session: &Session, error: Option<&Error>, ctx: &mut Ctx) {
    let account = &ctx.account;
    let total = ctx.started.elapsed();
    let timing = Timing {
        total_secs: total.as_secs_f64(),
        first_byte_secs: account.first_byte.map(|d| d.as_secs_f64()),
    };
    if let Some(outcome) = account.outcome {
        let api = account.api.map_or("other", |api| api.label());
        let upstream = account.upstream.as_ref().map(|u| u.name());
        let metrics = proxy.cache.metrics();
        metrics.request(api, upstream, outcome, timing);
    }
    let request = session.req_header();
    let line = Line {
        method: request.method.as_str(),
        path: request.uri.path(),
        status: account.status.unwrap_or(CLIENT_LEFT),
        outcome: account.outcome.map(Outcome::as_str),
        api: account.api.map(|api| api.label()),
        upstream: account.upstream.as_ref().map(|u| u.name()),
        model: account.model.as_deref(),
        key: account.key,
        tenant: account.tenant,
        trace: ctx.trace.trace_id(),
        bytes: session.as_downstream().body_bytes_sent(),
        first_byte: account.first_byte,
        total,
        detail: account.detail.as_deref(),
        error: error.map(ToString::to_string),
    };
    proxy.access_log.write(&line);
    // A client may leave at any time: nothing of ours has failed then.
    let broken = error.is_some_and(|e| !is_clients(e));
    if ctx.trace.is_recorded() {
        let failed = match account.status {
            _ if broken => Some("broken"),
            Some(500..) => Some("error"),
            _ => None,
        };
        let method = known_method(line.method);
        let name = format!(
            "{} {}",
            method.unwrap_or("HTTP"),
            line.api.unwrap_or("other")
        );
        let attributes = attributes(&line, account.status, failed);
        ctx.trace.end(name, attributes, failed);
    }
    if let Role::PassThrough(target) = &mut ctx.role {
        let failed = broken.then_some("broken");
        std::mem::take(&mut target.call).end(None, failed);
    }
}

fn is_clients(error: &Error) -> bool {
    match error.esource() {
        ErrorSource::Downstream => true,
        ErrorSource::Upstream | ErrorSource::Internal => false,
        ErrorSource::Unset => *error.etype() == ErrorType::ConnectionClosed,
    }
}

/// Clients may invent methods; names of spans are a closed set.
fn known_method(method: &str) -> Option<&str> {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.contains(&method).then_some(method)
}

fn attributes(line: &Line<'_>, status: Option<u16>, failed: Option<&'static str>) -> Vec<KeyValue> {
    let mut attributes = Vec::new();
    if let Some(status) = status {
        let status = i64::from(status);
        attributes.push(KeyValue::new("http.response.status_code", status));
    }
    let mut text = |name: &'static str, value: Option<&str>| {
        if let Some(value) = value {
            attributes.push(KeyValue::new(name, cut(value).to_owned()));
        }
    };
    let method = known_method(line.method);
    text("http.request.method", Some(method.unwrap_or("_OTHER")));
    text("url.path", Some(line.path));
    text("error.type", failed);
    text("llm_cache.outcome", line.outcome);
    text("llm_cache.api", line.api);
    text("llm_cache.upstream", line.upstream);
    text("llm_cache.key", line.key_text().as_deref());
    text("llm_cache.detail", line.detail);
    text("gen_ai.request.model", line.model);
    attributes
}

/// A fill is over, or given up: the call to the upstream is. On a hit there is none, so that tokens are in the
/// traces as often as they were paid for.
pub fn of_fill(fill: &mut Fill) {
    let flight = fill.guard.flight();
    let failed = match flight.ended() {
        Some((End::Complete, _)) => None,
        Some((End::Broken(why), _)) => Some(why),
        Some((End::Failed(error), _)) => Some(error.code),
        None => Some("given up"),
    };
    let usage = flight.usage();
    std::mem::take(&mut fill.target.call).end(usage, failed);
}
