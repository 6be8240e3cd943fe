//! Embeddings text by text: what is known of a batch comes from the tiers, and one smaller request
//! asks for the rest.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use pingora_core::Result;
use pingora_proxy::Session;

use super::LlmProxy;
use super::answer;
use super::ctx::{Ctx, Target};
use super::fill::{self, Asked, Task};
use super::find::{self, Wanted};
use super::question::Asker;
use super::respond::{self, Signal};
use crate::api::Variant;
use crate::api::items::{self, Piece, Text};
use crate::cache::flight::Follower;
use crate::cache::flights::{Joined, Lead};
use crate::cache::now_ms;
use crate::error::ApiError;
use crate::key::Key;
use crate::metrics::Outcome;
use crate::store::record::Record;

/// Look-ups of one request under way at once; each may wait for the disk.
const LOOKUPS_MAX: usize = 32;
/// More texts than this are taken apart or put together off the proxy's threads.
const IN_PLACE_MAX: usize = 16;

/// What is known of a text.
type Known = Option<(Piece, Arc<Record>)>;

/// The keys under which the texts of a request are kept.
pub fn keys_of(wanted: &Wanted<'_>) -> Vec<(Key, Text)> {
    let texts = wanted.items.iter().flat_map(|items| &items.texts);
    let keyed = texts.map(|text| (wanted.keys.with("item", &text.digest), *text));
    keyed.collect()
}

/// Answers a request by what is known of its texts. False if nothing is, or if the answer cannot be
/// had that way: then it is to be asked for as a whole.
pub async fn answer(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &mut Ctx,
    wanted: &Wanted<'_>,
) -> Result<bool> {
    let keys = keys_of(wanted);
    let mut known = look_up(proxy, wanted, &keys).await;
    let of_all = keys.len();
    let missing: Vec<usize> = (0..of_all)
        .filter(|at| known.get(*at).is_none_or(Option::is_none))
        .collect();
    if missing.len() == of_all || (wanted.visit.control.only_if_cached && !missing.is_empty()) {
        return Ok(false);
    }
    let saved = known
        .iter()
        .flatten()
        .filter_map(|(piece, _)| piece.tokens());
    let saved: u64 = saved.fold(0, u64::saturating_add);
    if !missing.is_empty() {
        let Some(rest) = ask_for(proxy, session, ctx, wanted, &keys, &missing).await? else {
            return Ok(false);
        };
        let rest = match rest {
            Rest::Pieces(pieces) => pieces,
            Rest::Answered => return Ok(true),
        };
        for (at, piece) in missing.iter().zip(rest) {
            if let Some(slot) = known.get_mut(*at) {
                *slot = Some(piece);
            }
        }
    }
    let Some(whole) = whole(wanted.key, known).await else {
        return Ok(false);
    };
    let whole = proxy.cache.store().keep_in_memory(whole);
    if missing.is_empty() {
        find::hit(proxy, session, ctx, wanted.visit, &whole).await?;
        return Ok(true);
    }
    let detail = format!("items-{}-of-{of_all}", of_all - missing.len());
    ctx.account.detail = Some(detail.clone());
    let signal = Signal {
        partial: Some(detail),
        ..Signal::of(Outcome::Miss, Some(wanted.key))
    };
    find::replay(
        proxy,
        session,
        ctx,
        wanted.visit,
        &whole,
        signal,
        Some((saved, 0)),
    )
    .await?;
    Ok(true)
}

async fn look_up(proxy: &LlmProxy, wanted: &Wanted<'_>, keys: &[(Key, Text)]) -> Vec<Known> {
    let now = now_ms();
    let find = async |key: Key| {
        let record = proxy.cache.lookup(&key).await?;
        let age = record.age_secs(now);
        let usable = record.is_fresh(now) && wanted.visit.control.accepts_age(age);
        let piece = usable.then(|| Piece::read(&record.body)).flatten()?;
        Some((piece, record))
    };
    let keys: Vec<Key> = keys.iter().map(|(key, _)| *key).collect();
    stream::iter(keys)
        .map(find)
        .buffered(LOOKUPS_MAX)
        .collect()
        .await
}

/// What became of the request for the texts that were not known.
enum Rest {
    /// What they are.
    Pieces(Vec<(Piece, Arc<Record>)>),
    /// The upstream failed, and the client was told.
    Answered,
}

/// Asks for the texts that are not known. `None`: the answer could not be taken apart.
async fn ask_for(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &mut Ctx,
    wanted: &Wanted<'_>,
    keys: &[(Key, Text)],
    missing: &[usize],
) -> Result<Option<Rest>> {
    let (visit, whole) = (wanted.visit, &wanted.asked);
    let Some(body) = items::request_for(&wanted.plain, missing).map(Bytes::from) else {
        return Ok(None);
    };
    let asker = Asker {
        tenant: visit.tenant,
        api: whole.api,
        place: visit.place(),
    };
    let question = proxy.questions.read(asker, &body).await;
    let Ok(digest) = question.digest else {
        return Ok(None);
    };
    let key = wanted.keys.with(Variant::InBody.tag(), &digest);
    let texts: Vec<(Key, Text)> = missing
        .iter()
        .filter_map(|at| keys.get(*at))
        .copied()
        .collect();
    let upstream = whole.target.upstream.clone();
    let (rest, query) = (visit.rest.clone(), visit.query.clone());
    let asked = Asked {
        api: whole.api,
        facts: question.facts.clone(),
        body,
        target: Target::new(upstream, Some(whole.api), rest, query),
    };
    let miss = Signal::of(Outcome::Miss, Some(wanted.key));
    ctx.account.outcome = Some(Outcome::Miss);
    let answered = match proxy.cache.join(key, visit.tenant) {
        Joined::Stored(record) => record.body.clone(),
        Joined::Follow(follower) if follower.flight().tenant() != visit.tenant => return Ok(None),
        Joined::Follow(follower) => match collected(session, ctx, follower, &miss, false).await? {
            Some(body) => body,
            None => return Ok(Some(Rest::Answered)),
        },
        Joined::Lead(Lead { guard, follower }) => {
            let task = Task {
                key: Some(key),
                items: texts.clone(),
                rewritten: true,
                ..find::task_of(proxy, wanted, Outcome::Miss)
            };
            fill::spawn(proxy, session, &ctx.trace, asked, guard, task)?;
            let _following = proxy.following();
            match collected(session, ctx, follower, &miss, true).await? {
                Some(body) => body,
                None => return Ok(Some(Rest::Answered)),
            }
        }
    };
    let texts: Vec<Text> = texts.into_iter().map(|(_, text)| text).collect();
    let ttl = find::ttl_of(proxy, wanted);
    let taken = off_thread(texts.len(), move || items::take_apart(&answered, &texts)).await;
    let now = now_ms();
    let expires_ms = now.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    Ok(taken.map(|pieces| {
        let record = Arc::new(record(wanted.key, now, expires_ms, Bytes::new()));
        let pieces = pieces.into_iter().map(|piece| (piece, record.clone()));
        Rest::Pieces(pieces.collect())
    }))
}

/// The whole body of a good answer. `None`: it is none, and the client was told.
async fn collected(
    session: &mut Session,
    ctx: &mut Ctx,
    mut follower: Follower,
    signal: &Signal,
    leader: bool,
) -> Result<Option<Bytes>> {
    let good = answer::while_connected(session, follower.head()).await?;
    if !good.is_ok_and(|head| head.status == 200) {
        answer::follow(session, ctx, follower, signal, leader).await?;
        return Ok(None);
    }
    match answer::collect(session, &mut follower).await? {
        Ok(whole) => Ok(Some(whole)),
        Err(why) => {
            ctx.account.detail = Some(why.into());
            respond::error(session, ctx, &ApiError::broken_answer(), Some(signal)).await?;
            Ok(None)
        }
    }
}

/// The answer that all texts make together: as old as the oldest, fresh as long as all are.
async fn whole(key: Key, known: Vec<Known>) -> Option<Record> {
    let known: Vec<(Piece, Arc<Record>)> = known.into_iter().collect::<Option<_>>()?;
    let stored_ms = known.iter().map(|(_, record)| record.stored_ms).min()?;
    let expires_ms = known.iter().map(|(_, record)| record.expires_ms).min()?;
    let tokens = known.iter().filter_map(|(piece, _)| piece.tokens());
    let tokens = tokens.fold(0, u64::saturating_add);
    let pieces: Vec<Piece> = known.into_iter().map(|(piece, _)| piece).collect();
    let body = off_thread(pieces.len(), move || items::put_together(&pieces)).await?;
    Some(Record {
        usage: Some((tokens, 0)),
        ..record(key, stored_ms, expires_ms, Bytes::from(body))
    })
}

async fn off_thread<T: Send + 'static>(
    texts: usize,
    work: impl FnOnce() -> Option<T> + Send + 'static,
) -> Option<T> {
    match texts {
        0..=IN_PLACE_MAX => work(),
        _ => tokio::task::spawn_blocking(work).await.ok().flatten(),
    }
}

fn record(key: Key, stored_ms: u64, expires_ms: u64, body: Bytes) -> Record {
    Record {
        key,
        stored_ms,
        expires_ms,
        status: 200,
        stream: false,
        headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body,
        chunks: Vec::new(),
        usage: None,
    }
}
