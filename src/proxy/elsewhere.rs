//! Step 5 where no tier of this replica has an answer: what the shared tier has for a request beside the
//! answer under its own key. However much is looked for there, a request waits one deadline at most.

use std::cmp::Reverse;
use std::sync::Arc;

use pingora_core::Result;
use pingora_proxy::Session;
use tokio::time::{Instant, timeout_at};

use super::LlmProxy;
use super::find::Wanted;
use super::stored;
use crate::api::items::Text;
use crate::api::{Variant, forms};
use crate::cache::now_ms;
use crate::key::Key;
use crate::store::record::Record;

/// Until when a request may wait for the shared tier, counted from its first look there. `None`: there is no
/// such tier.
pub fn until(proxy: &LlmProxy, wanted: &Wanted<'_>) -> Option<Instant> {
    let shared = proxy.cache.store().shared()?;
    Some(*wanted.until.get_or_init(|| shared.until()))
}

/// The same, if there is time left.
pub fn time_left(proxy: &LlmProxy, wanted: &Wanted<'_>) -> Option<Instant> {
    until(proxy, wanted).filter(|until| *until > Instant::now())
}

/// The answer itself.
pub async fn whole(proxy: &LlmProxy, wanted: &Wanted<'_>) -> Option<Arc<Record>> {
    let until = time_left(proxy, wanted)?;
    let fetch = timeout_at(until, proxy.cache.fetch(&wanted.key));
    let found = fetch.await.ok().flatten();
    found.filter(|record| accepts(wanted, record))
}

/// The texts of an embeddings request that are not known here.
pub async fn texts(
    proxy: &LlmProxy,
    wanted: &Wanted<'_>,
    keys: &[(Key, Text)],
    known: &mut [Option<Arc<Record>>],
) {
    let Some(until) = time_left(proxy, wanted) else {
        return;
    };
    let unknown = |at: &usize| known.get(*at).is_some_and(Option::is_none);
    let missing: Vec<usize> = (0..keys.len()).filter(unknown).collect();
    let keys = missing.iter().filter_map(|at| keys.get(*at));
    let keys: Vec<Key> = keys.map(|(key, _)| *key).collect();
    // The last third is for taking the leave to ask.
    let left = until.saturating_duration_since(Instant::now());
    let found = proxy.cache.fetch_parts(&keys, until - left / 3).await;
    for (at, record) in missing.into_iter().zip(found) {
        if let Some(text) = known.get_mut(at) {
            *text = record.filter(|record| accepts(wanted, record));
        }
    }
}

/// The answer, itself or in another form, in the shared tier or below it. Fails only if the client leaves.
pub async fn any(
    proxy: &LlmProxy,
    session: &mut Session,
    wanted: &Wanted<'_>,
) -> Result<Option<Arc<Record>>> {
    match whole(proxy, wanted).await {
        Some(record) => Ok(Some(record)),
        None => beside(proxy, session, wanted).await,
    }
}

/// The answer, where the shared tier does not have it: there in another form, or in the bucket below. Fails
/// only if the client leaves.
pub async fn beside(
    proxy: &LlmProxy,
    session: &mut Session,
    wanted: &Wanted<'_>,
) -> Result<Option<Arc<Record>>> {
    let (forms, keys): (Vec<_>, Vec<Key>) = other_forms(proxy, wanted).unzip();
    if let Some(until) = time_left(proxy, wanted).filter(|_| !keys.is_empty()) {
        let found = proxy.cache.fetch_all(&keys, until).await;
        if let Some((made, _)) = made_of(proxy, session, wanted, &forms, found).await? {
            return Ok(Some(made));
        }
    }
    // It has a deadline of its own.
    let Some(until) = proxy.cache.store().until_cold() else {
        return Ok(None);
    };
    // All forms at once: a miss waits for one round trip, which is longer than a request is dear.
    let keys: Vec<Key> = std::iter::once(wanted.key).chain(keys).collect();
    let mut found = proxy.cache.fetch_cold(&keys, until).await.into_iter();
    let own = found.next().flatten();
    if let Some(record) = own.filter(|record| accepts(wanted, record)) {
        proxy.cache.share_found(record.clone());
        return Ok(Some(record));
    }
    let made = made_of(proxy, session, wanted, &forms, found.collect()).await?;
    Ok(made.map(|(made, source)| {
        proxy.cache.share_found(source);
        made
    }))
}

/// The forms from which the one that is asked for can be made, but for those that are here: these were looked
/// at.
fn other_forms(
    proxy: &LlmProxy,
    wanted: &Wanted<'_>,
) -> impl Iterator<Item = (&'static Variant, Key)> {
    let (api, variant) = (wanted.asked.api, &wanted.asked.facts.variant);
    forms::sources(api, variant)
        .map(|form| (form, wanted.keys.key(form)))
        .filter(|(_, key)| {
            let here = proxy.cache.store().get_hot(key);
            here.is_none_or(|record| !record.is_fresh(now_ms()))
        })
}

/// The answer in the form that is asked for, made of what was found in others, and of which.
async fn made_of(
    proxy: &LlmProxy,
    session: &mut Session,
    wanted: &Wanted<'_>,
    forms: &[&'static Variant],
    found: Vec<Option<Arc<Record>>>,
) -> Result<Option<(Arc<Record>, Arc<Record>)>> {
    let mut found: Vec<_> = (forms.iter().zip(found))
        .filter_map(|(form, record)| Some((*form, record?)))
        .filter(|(_, record)| accepts(wanted, record))
        .collect();
    found.sort_by_key(|(_, record)| Reverse(record.stored_ms));
    for (form, record) in found {
        let made = Box::pin(stored::convert(proxy, session, form, wanted, &record));
        if let Some(made) = made.await? {
            return Ok(Some((made, record)));
        }
    }
    Ok(None)
}

fn accepts(wanted: &Wanted<'_>, record: &Record) -> bool {
    let age = record.age_secs(now_ms());
    wanted.visit.control.accepts_age(age)
}
