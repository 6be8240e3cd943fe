//! A client's request, steps 1 to 4: route, identify, read, key.

use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Method;
use pingora::http::RequestHeader;
use pingora_core::Result;
use pingora_proxy::Session;

use super::body::{self, Body};
use super::ctx::{Ctx, Role, Target};
use super::fill::Asked;
use super::find::Wanted;
use super::keys::Keys;
use super::question::{Asker, Read};
use super::respond::{self, Signal};
use super::{LlmProxy, find};
use crate::api::{Api, Place};
use crate::coding::Coding;
use crate::error::ApiError;
use crate::metrics::Outcome;
use crate::policy::{self, RequestControl};
use crate::tenant::Tenant;

/// What is left of a body after an early answer is read for this long, so that the connection can
/// be used again.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Pingora's HTTP/1 parser, which reads the fill's request, takes 256.
const HEADERS_MAX: usize = 200;
/// A body announced to be longer than the limit times this is not worth draining.
const DRAIN_FACTOR: u64 = 4;

/// Answers a request, or makes it pass through. True: it has been answered.
pub async fn serve(proxy: &LlmProxy, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
    let request = session.req_header();
    let path = request.uri.path();
    if is_health(request) {
        respond::json(session, ctx, 200, br#"{"status":"ok"}"#.to_vec(), None).await?;
        return Ok(true);
    }
    if !request.raw_path_is_utf8() {
        let error = ApiError::bad_request("the path is not UTF-8");
        return answer_early(session, ctx, &error, None).await;
    }
    if !path.starts_with('/') {
        let error = ApiError::bad_request("the request target is no path");
        return answer_early(session, ctx, &error, None).await;
    }
    let control = match RequestControl::of(&request.headers) {
        Ok(control) => control,
        Err(message) => {
            let error = ApiError::bad_request(&message);
            return answer_early(session, ctx, &error, None).await;
        }
    };
    let route = proxy.router.route(path);
    let content_type = policy::content_type(&request.headers).unwrap_or("unknown");
    let visit = Visit {
        named: route.upstream,
        may_cache: proxy.cache_default || route.cache,
        simulate: route.simulate,
        rest: route.rest.to_owned(),
        model: route.model.map(str::to_owned),
        content_type: content_type.to_owned(),
        query: request.uri.query().map(str::to_owned),
        control,
        tenant: Tenant::of(&request.headers, request.uri.query()),
    };
    ctx.account.api = route.api;
    ctx.account.tenant = Some(visit.tenant);
    let coding = Coding::of(&request.headers);
    let decodable = coding.is_some() || !policy::is_encoded(&request.headers);
    let readable = request.method == Method::POST && decodable;
    match route.api {
        Some(api) if readable && api.takes(&visit.content_type) => {
            ask(proxy, session, ctx, &visit, api, coding).await
        }
        api => {
            pass_through(proxy, ctx, visit, api);
            Ok(false)
        }
    }
}

/// The path that balancers probe on the clients' port.
pub fn is_health(request: &RequestHeader) -> bool {
    request.uri.path() == "/health" && matches!(request.method, Method::GET | Method::HEAD)
}

/// Steps 3 and 4 of a request to an API: its body, what it asks, whom, and under which key.
async fn ask(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &mut Ctx,
    visit: &Visit,
    api: Api,
    coding: Option<Coding>,
) -> Result<bool> {
    if session.req_header().headers.len() > HEADERS_MAX {
        let error = ApiError::too_many_headers(HEADERS_MAX);
        return answer_early(session, ctx, &error, None).await;
    }
    let limits = &proxy.limits;
    let body = body::read(
        session.as_downstream_mut(),
        limits.body_bytes_max,
        limits.body_timeout,
    );
    let mut body = match body.await? {
        Body::Whole(body) => body,
        Body::TooLarge => {
            let error = ApiError::body_too_large(limits.body_bytes_max);
            return answer_early(session, ctx, &error, Some(limits.body_bytes_max)).await;
        }
        Body::TimedOut => {
            session.as_downstream_mut().set_keepalive(None);
            return answer_early(session, ctx, &ApiError::body_timeout(), None).await;
        }
    };
    let asker = Asker {
        tenant: visit.tenant,
        api,
        place: visit.place(),
        content_type: &visit.content_type,
    };
    let (plain, question) = match coding {
        None => {
            let question = proxy.questions.read(asker, &mut body).await;
            let plain = question.items.as_ref().map(|_| body.join());
            (plain, question)
        }
        Some(coding) => match body::decoded(body.join(), coding, limits.body_bytes_max).await {
            Ok(plain) => {
                let mut whole = plain.clone().into();
                (Some(plain), proxy.questions.read(asker, &mut whole).await)
            }
            Err(error) => (None, Read::unread(error.reason())),
        },
    };
    ctx.account.model = question.facts.model.clone();
    let index = visit
        .named
        .unwrap_or_else(|| proxy.router.upstream_for(question.facts.model.as_deref()));
    let Some(upstream) = proxy.upstream(index) else {
        return answer_early(session, ctx, &ApiError::internal(), None).await;
    };
    ctx.account.upstream = Some(upstream.clone());
    let target = Target::new(upstream, Some(api), visit.rest.clone(), visit.query.clone());
    let asked = Asked {
        api,
        facts: question.facts.clone(),
        body,
        target,
    };
    let headers = &session.req_header().headers;
    match Keys::of(proxy, headers, visit, &asked, &question) {
        Ok(keys) => {
            let (upstream, model) = (asked.target.upstream.name(), asked.facts.model.as_deref());
            let freshness = proxy.freshness.of(upstream, api.label(), model);
            let make = || keys.key(&asked.facts.variant);
            let key = match keys.is_plain() {
                true => question.key(index, make),
                false => make(),
            };
            let by_item = proxy.by_item && !policy::names_the_body(headers);
            let wanted = Wanted {
                visit,
                asked,
                keys,
                key,
                freshness,
                items: plain.zip(question.items.clone()).filter(|_| by_item),
                until: OnceLock::new(),
            };
            find::cached(proxy, session, ctx, wanted).await?;
        }
        Err(reason) => {
            // Apart, so that hits do not carry the room for it.
            Box::pin(find::uncached(proxy, session, ctx, visit, asked, reason)).await?;
        }
    }
    Ok(true)
}

/// What is known before the body is.
pub struct Visit {
    named: Option<usize>,
    /// The cache is on for this path.
    pub may_cache: bool,
    /// The path says `/simulate`.
    pub simulate: bool,
    /// The path below the upstream's base URL, with its slash.
    pub rest: String,
    model: Option<String>,
    content_type: String,
    /// The query, without its question mark.
    pub query: Option<String>,
    /// What the request says about the cache.
    pub control: RequestControl,
    /// Who asks.
    pub tenant: Tenant,
}

impl Visit {
    /// Where it goes, as far as the API is concerned.
    pub fn place(&self) -> Place<'_> {
        Place {
            path: self.rest.strip_prefix('/').unwrap_or(&self.rest),
            query: self.query.as_deref().unwrap_or_default(),
            model: self.model.as_deref(),
        }
    }
}

/// Leaves the request to pingora, which forwards it as it is.
fn pass_through(proxy: &LlmProxy, ctx: &mut Ctx, visit: Visit, api: Option<Api>) {
    let index = visit.named.unwrap_or(0);
    let Some(upstream) = proxy.upstream(index) else {
        return;
    };
    ctx.account.upstream = Some(upstream.clone());
    ctx.account.outcome = Some(Outcome::Bypass);
    let mut target = Target::new(upstream, api, visit.rest, visit.query);
    target.trace(&proxy.traces, &ctx.trace, None);
    ctx.role = Role::PassThrough(target);
}

/// Answers with an error before the body has been read. What is left of the body is read and
/// dropped if it is little, so that the next request on the connection is understood.
fn answer_early<'a>(
    session: &'a mut Session,
    ctx: &'a mut Ctx,
    error: &'a ApiError,
    bytes_max: Option<usize>,
) -> BoxFuture<'a, Result<bool>> {
    // Apart, so that other requests do not carry the room for it.
    Box::pin(refuse(session, ctx, error, bytes_max))
}

async fn refuse(
    session: &mut Session,
    ctx: &mut Ctx,
    error: &ApiError,
    bytes_max: Option<usize>,
) -> Result<bool> {
    let downstream = session.as_downstream_mut();
    let length = downstream
        .req_header()
        .headers
        .get(http::header::CONTENT_LENGTH);
    let length = length
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<u64>().ok());
    let too_long = bytes_max
        .zip(length)
        .is_some_and(|(m, l)| l > (m as u64) * DRAIN_FACTOR);
    // A client that waits for permission may or may not send its body after a refusal.
    let keep = !too_long && !body::expects_continue(downstream);
    downstream.set_total_drain_timeout(Some(DRAIN_MAX));
    downstream.set_close_on_response_before_downstream_finish(!keep);
    ctx.account.outcome = Some(Outcome::Bypass);
    let signal = ctx.account.api.map(|_| Signal {
        detail: Some(error.code),
        ..Signal::of(Outcome::Bypass, None)
    });
    respond::error(session, ctx, error, signal.as_ref()).await?;
    if keep
        && session
            .as_downstream_mut()
            .drain_request_body()
            .await
            .is_err()
    {
        session.as_downstream_mut().set_keepalive(None);
    }
    Ok(true)
}
