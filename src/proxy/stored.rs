//! Step 5: what the tiers have for a request, in the form it asks for or in another.

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use pingora_core::Result;
use pingora_proxy::Session;
use xxhash_rust::xxh3::xxh3_128;

use super::LlmProxy;
use super::answer;
use super::fill::Asked;
use super::find::Wanted;
use crate::api::{Form, Variant, forms};
use crate::cache::now_ms;
use crate::coding::Coding;
use crate::config::Retries;
use crate::key::Key;
use crate::policy::freshness::{Use, use_of};
use crate::store::record::Record;

/// Shorter answers are sent as they are: they fit into a packet or two.
const ENCODED_FROM: usize = 1024;
/// Longer answers are worked on off the proxy's threads.
const IN_PLACE_MAX: usize = 64 * 1024;

/// What there is for a request.
pub enum Stored {
    /// An answer to be served.
    Fresh(Arc<Record>),
    /// One to be served while it is asked for anew.
    WhileRevalidating(Arc<Record>),
    /// One to be served should the upstream fail.
    IfError(Arc<Record>),
    /// Perhaps one, but the client does not want it.
    Refused,
    /// One that the client was given before and retries away from; still better than a failure.
    RetriedFrom(Option<Arc<Record>>),
    /// Nothing.
    Nothing,
}

/// Looks a request up. Fails only if the client leaves.
pub async fn look_up(
    proxy: &LlmProxy,
    session: &mut Session,
    wanted: &Wanted<'_>,
) -> Result<Stored> {
    if wanted.visit.control.no_cache {
        return Ok(Stored::Refused);
    }
    let found = find(proxy, session, wanted).await?;
    Ok(found.map_or(Stored::Nothing, |record| classed(proxy, wanted, record)))
}

/// What an answer that was found is good for.
fn classed(proxy: &LlmProxy, wanted: &Wanted<'_>, record: Arc<Record>) -> Stored {
    let control = &wanted.visit.control;
    let now = now_ms();
    let retries = control.retries && proxy.retries == Retries::Refresh;
    if retries && proxy.cache.delivered().lately(&wanted.key) {
        let usable = use_of(record.expires_ms, now, &wanted.freshness) != Use::Gone;
        let wanted = control.accepts_age(record.age_secs(now));
        return Stored::RetriedFrom((usable && wanted).then_some(record));
    }
    if !control.accepts_age(record.age_secs(now)) {
        return Stored::Refused;
    }
    match use_of(record.expires_ms, now, &wanted.freshness) {
        Use::Fresh => Stored::Fresh(record),
        Use::WhileRevalidating => Stored::WhileRevalidating(record),
        Use::IfError => Stored::IfError(record),
        Use::Gone => Stored::Nothing,
    }
}

/// The keys of the same answer in other forms.
pub fn other_keys(wanted: &Wanted<'_>) -> Vec<Key> {
    let facts = &wanted.asked.facts;
    let others = forms::all(wanted.asked.api).iter();
    let others = others.filter(|variant| **variant != facts.variant);
    others.map(|variant| wanted.keys.key(variant)).collect()
}

async fn find(
    proxy: &LlmProxy,
    session: &mut Session,
    wanted: &Wanted<'_>,
) -> Result<Option<Arc<Record>>> {
    let now = now_ms();
    let own = proxy.cache.lookup(&wanted.key).await;
    if own.as_ref().is_some_and(|record| record.is_fresh(now)) {
        return Ok(own);
    }
    let (api, variant) = (wanted.asked.api, &wanted.asked.facts.variant);
    let mut others = Vec::new();
    for source in forms::sources(api, variant) {
        let found = proxy.cache.lookup(&wanted.keys.key(source)).await;
        let usable = |record: &Arc<Record>| match own {
            Some(_) => record.is_fresh(now),
            None => use_of(record.expires_ms, now, &wanted.freshness) != Use::Gone,
        };
        others.extend(found.filter(usable).map(|record| (source, record)));
    }
    // A fresh one first, then the newest.
    others.sort_by_key(|(_, record)| Reverse((record.is_fresh(now), record.stored_ms)));
    for (source, record) in others {
        if let Some(made) = Box::pin(convert(proxy, session, source, wanted, &record)).await? {
            return Ok(Some(made));
        }
    }
    Ok(own)
}

/// Runs work that takes milliseconds or more: off the proxy's threads, and no more of it at once
/// than there are cores, since each piece of it holds copies of an answer. Fails only if the client
/// leaves.
pub async fn heavy<T: Send + 'static>(
    proxy: &LlmProxy,
    session: &mut Session,
    bytes: usize,
    work: impl FnOnce() -> Option<T> + Send + 'static,
) -> Result<Option<T>> {
    if bytes <= IN_PLACE_MAX {
        return Ok(work());
    }
    let turn = proxy.heavy.clone().acquire_owned();
    let Ok(permit) = answer::while_connected(session, turn).await? else {
        return Ok(None);
    };
    // The turn ends with the work, even if nobody waits for it any more.
    let work = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    let done = answer::while_connected(session, work).await?;
    Ok(done.ok().flatten())
}

/// A stored answer in a content coding, made once and kept in memory beside it. `None` where that
/// saves nothing. Fails only if the client leaves.
pub async fn encoded(
    proxy: &LlmProxy,
    session: &mut Session,
    record: &Arc<Record>,
    coding: Coding,
) -> Result<Option<Arc<Record>>> {
    if record.body.len() < ENCODED_FROM {
        return Ok(None);
    }
    let store = proxy.cache.store();
    let key = encoded_key(record, coding);
    if let Some(encoded) = store.get_hot(&key) {
        return Ok(Some(encoded));
    }
    let source = record.body.clone();
    let work = move || coding.encode(&source);
    let body = heavy(proxy, session, record.body.len(), work).await?;
    let Some(body) = body.filter(|body| body.len() < record.body.len()) else {
        return Ok(None);
    };
    let mut headers = record.headers.clone();
    headers.push((CONTENT_ENCODING, coding.header()));
    Ok(store.keep_in_memory(Record {
        key,
        headers,
        body: Bytes::from(body),
        chunks: Vec::new(),
        ..Record::clone(record)
    }))
}

/// A key nobody can ask for, and another one for every answer that takes the place of this one.
fn encoded_key(record: &Record, coding: Coding) -> Key {
    let mut hasher = blake3::Hasher::new_derive_key("llm-cache-server 2026-11 content coding");
    hasher.update(record.key.as_bytes());
    hasher.update(&record.stored_ms.to_le_bytes());
    hasher.update(&record.expires_ms.to_le_bytes());
    hasher.update(&xxh3_128(&record.body).to_le_bytes());
    hasher.update(coding.name().as_bytes());
    Key::from_bytes(*hasher.finalize().as_bytes())
}

/// An answer in the form that is asked for, made from another one and kept in memory: on disk there
/// is one entry for all its forms. Fails only if the client leaves.
pub async fn convert(
    proxy: &LlmProxy,
    session: &mut Session,
    from: &'static Variant,
    wanted: &Wanted<'_>,
    record: &Arc<Record>,
) -> Result<Option<Arc<Record>>> {
    let Asked { api, facts, .. } = &wanted.asked;
    let (api, to, source) = (*api, facts.variant.clone(), record.body.clone());
    let work = move || forms::convert(api, from, &to, &source);
    let Some(body) = heavy(proxy, session, record.body.len(), work).await? else {
        return Ok(None);
    };
    let streams = facts.form == Form::Stream;
    Ok(proxy.cache.store().keep_in_memory(Record {
        key: wanted.key,
        stream: streams,
        headers: retyped(&record.headers, streams),
        body: Bytes::from(body),
        chunks: Vec::new(),
        ..Record::clone(record)
    }))
}

/// The headers of an answer that has another form now.
fn retyped(headers: &[(HeaderName, HeaderValue)], streams: bool) -> Vec<(HeaderName, HeaderValue)> {
    let content_type = HeaderValue::from_static(match streams {
        true => "text/event-stream; charset=utf-8",
        false => "application/json",
    });
    let others = headers.iter().filter(|(name, _)| name != CONTENT_TYPE);
    let typed = std::iter::once((CONTENT_TYPE, content_type));
    typed.chain(others.cloned()).collect()
}
