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
use super::body::Whole;
use super::ctx::{Ctx, Target};
use super::elsewhere;
use super::fill::{self, Asked, Task};
use super::find::{self, Wanted};
use super::question::Asker;
use super::respond::{self, Signal};
use super::stored;
use crate::api::items::{self, Piece, Text};
use crate::api::{Form, Variant};
use crate::cache::flight::{End, Follower};
use crate::cache::flights::{Joined, Lead};
use crate::cache::now_ms;
use crate::error::ApiError;
use crate::key::Key;
use crate::metrics::Outcome;
use crate::store::record::Record;

/// Look-ups of one request under way at once; each may wait for the disk.
const LOOKUPS_MAX: usize = 32;
/// What is known of a text: a record of its own, or a piece of an answer that just came.
enum Known {
    Stored(Arc<Record>),
    Came(Piece),
}

/// The keys under which the texts of a request are kept.
pub fn keys_of(wanted: &Wanted<'_>) -> Vec<(Key, Text)> {
    let texts = wanted.items.iter().flat_map(|(_, items)| &items.texts);
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
    // A batch that another replica got is one value, its texts are many.
    if known.iter().all(Option::is_none)
        && let Some(record) = elsewhere::whole(proxy, wanted).await
    {
        find::hit(proxy, session, ctx, wanted.visit, &record).await?;
        return Ok(true);
    }
    elsewhere::texts(proxy, wanted, &keys, &mut known).await;
    let of_all = keys.len();
    let missing: Vec<usize> = (0..of_all)
        .filter(|at| known.get(*at).is_none_or(Option::is_none))
        .collect();
    if missing.len() == of_all || (wanted.visit.control.only_if_cached && !missing.is_empty()) {
        return Ok(false);
    }
    let records: Vec<&Arc<Record>> = known.iter().flatten().collect();
    let bytes: usize = records.iter().map(|record| record.body.len()).sum();
    // An answer that is too long to be collected or kept is better passed through.
    let of_each = bytes / records.len().max(1);
    if bytes + of_each * missing.len() > proxy.limits.answer_bytes_max {
        return Ok(false);
    }
    let saved = records.iter().filter_map(|record| record.usage);
    let saved = saved.fold(0u64, |sum, (input, _)| sum.saturating_add(input));
    let mut times = Times::of(known.iter().flatten());
    let mut known: Vec<Option<Known>> = known
        .drain(..)
        .map(|record| record.map(Known::Stored))
        .collect();
    if !missing.is_empty() {
        let Some(rest) = ask_for(proxy, session, ctx, wanted, &keys, &missing).await? else {
            return Ok(false);
        };
        let (rest, of_rest) = match rest {
            Rest::Pieces(pieces, times) => (pieces, times),
            Rest::Answered => return Ok(true),
        };
        times = times.and(of_rest);
        for (at, piece) in missing.iter().zip(rest) {
            if let Some(slot) = known.get_mut(*at) {
                *slot = Some(Known::Came(piece));
            }
        }
    }
    let work = move || put_together(known);
    let Some(body) = stored::heavy(proxy, session, bytes, work).await? else {
        return Ok(false);
    };
    let made = record(wanted, times, body, saved);
    let Some(whole) = proxy.cache.store().keep_in_memory(made.clone()) else {
        return Ok(false);
    };
    if missing.is_empty() {
        if !whole.is_fresh(now_ms()) {
            return Ok(false);
        }
        find::hit(proxy, session, ctx, wanted.visit, &whole).await?;
        return Ok(true);
    }
    // One that came later may be over already: it was kept for a shorter time.
    let whole = match whole.is_fresh(now_ms()) {
        true => whole,
        false => Arc::new(made),
    };
    let detail = format!("items-{}-of-{of_all}", of_all - missing.len());
    ctx.account.detail = Some(detail.clone());
    let signal = Signal {
        partial: Some(detail),
        ..Signal::of(Outcome::Miss, Some(wanted.key))
    };
    let saved = Some((saved, 0));
    find::replay(proxy, session, ctx, wanted.visit, &whole, signal, saved).await?;
    Ok(true)
}

async fn look_up(
    proxy: &LlmProxy,
    wanted: &Wanted<'_>,
    keys: &[(Key, Text)],
) -> Vec<Option<Arc<Record>>> {
    let now = now_ms();
    let find = async |key: Key| {
        let record = proxy.cache.lookup(&key).await?;
        let age = record.age_secs(now);
        let usable = record.is_fresh(now) && wanted.visit.control.accepts_age(age);
        usable.then_some(record)
    };
    let keys: Vec<Key> = keys.iter().map(|(key, _)| *key).collect();
    stream::iter(keys)
        .map(find)
        .buffered(LOOKUPS_MAX)
        .collect()
        .await
}

/// The body that all texts make together.
fn put_together(known: Vec<Option<Known>>) -> Option<Bytes> {
    let pieces = known.into_iter().map(|known| match known? {
        Known::Stored(record) => Piece::read(&record.body),
        Known::Came(piece) => Some(piece),
    });
    let pieces: Vec<Piece> = pieces.collect::<Option<_>>()?;
    items::put_together(&pieces).map(Bytes::from)
}

/// When the oldest part of an answer was stored, until when all of them are fresh, and which purges
/// came after the first of them was asked for.
#[derive(Clone, Copy)]
struct Times {
    stored_ms: u64,
    expires_ms: u64,
    generation: u64,
}

impl Times {
    fn of<'a>(records: impl Iterator<Item = &'a Arc<Record>>) -> Times {
        let never = Times {
            stored_ms: u64::MAX,
            expires_ms: u64::MAX,
            generation: u64::MAX,
        };
        records.fold(never, |times, record| {
            times.and(Times {
                stored_ms: record.stored_ms,
                expires_ms: record.expires_ms,
                generation: record.generation,
            })
        })
    }

    fn and(self, other: Times) -> Times {
        Times {
            stored_ms: self.stored_ms.min(other.stored_ms),
            expires_ms: self.expires_ms.min(other.expires_ms),
            generation: self.generation.min(other.generation),
        }
    }
}

/// What became of the request for the texts that were not known.
enum Rest {
    /// What they are, and how long that lasts.
    Pieces(Vec<Piece>, Times),
    /// The upstream failed, and the client was told.
    Answered,
}

/// Asks for the texts that are not known. `None`: the answer could not be taken apart, or is not worth
/// keeping.
async fn ask_for(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &mut Ctx,
    wanted: &Wanted<'_>,
    keys: &[(Key, Text)],
    missing: &[usize],
) -> Result<Option<Rest>> {
    let (visit, whole) = (wanted.visit, &wanted.asked);
    let Some((plain, _)) = wanted.items.clone() else {
        return Ok(None);
    };
    let (length, left) = (plain.len(), missing.to_vec());
    let work = move || items::request_for(&plain, &left).map(Bytes::from);
    let Some(body) = stored::heavy(proxy, session, length, work).await? else {
        return Ok(None);
    };
    let mut body = Whole::from(body);
    let asker = Asker {
        tenant: visit.tenant,
        api: whole.api,
        place: visit.place(),
        content_type: "application/json",
    };
    let question = proxy.questions.read(asker, &mut body).await;
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
    let now = now_ms();
    let ttl_ms = u64::try_from(find::ttl_of(proxy, wanted).as_millis()).unwrap_or(u64::MAX);
    let mut times = Times {
        stored_ms: now,
        expires_ms: now.saturating_add(ttl_ms),
        generation: proxy.cache.store().generation(),
    };
    let joined = match proxy.cache.join(key, visit.tenant) {
        Joined::Stored(record) if !visit.control.accepts_age(record.age_secs(now)) => {
            Joined::Lead(proxy.cache.begin(key, visit.tenant))
        }
        joined => joined,
    };
    let answered = match joined {
        Joined::Stored(record) => {
            times = Times::of(std::iter::once(&record));
            Collected::Whole(record.body.clone())
        }
        Joined::Follow(follower) if follower.flight().tenant() != visit.tenant => return Ok(None),
        Joined::Follow(follower) => {
            let flight = follower.flight().clone();
            times.generation = times.generation.min(flight.generation());
            let came = collected(session, ctx, follower, &miss, false).await?;
            if let Some(stored_ms) = flight.found_ms() {
                if !visit
                    .control
                    .accepts_age(now.saturating_sub(stored_ms) / 1000)
                {
                    return Ok(None);
                }
                // For how long it is fresh is not known here.
                (times.stored_ms, times.expires_ms) = (stored_ms, now);
            }
            came
        }
        Joined::Lead(Lead { guard, follower }) => {
            let task = Task {
                key: Some(key),
                items: texts.clone(),
                rewritten: true,
                ..find::task_of(proxy, wanted, Outcome::Miss)
            };
            fill::spawn(proxy, session, &ctx.trace, asked, guard, task)?;
            let _following = proxy.following();
            collected(session, ctx, follower, &miss, true).await?
        }
    };
    let answered = match answered {
        Collected::Whole(body) => body,
        Collected::Answered => return Ok(Some(Rest::Answered)),
        Collected::OfNoUse => return Ok(None),
    };
    let texts: Vec<Text> = texts.into_iter().map(|(_, text)| text).collect();
    let bytes = answered.len();
    let (api, facts, worth) = (whole.api, question.facts.clone(), proxy.worth);
    let work = move || {
        // What is not worth keeping is not kept as a part of something else either.
        let mut judge = api.judge(&facts, Form::Json, worth)?;
        judge.push(&answered);
        judge.finish().keep.ok()?;
        items::take_apart(&answered, &texts)
    };
    let taken = stored::heavy(proxy, session, bytes, work).await?;
    Ok(taken.map(|pieces| Rest::Pieces(pieces, times)))
}

/// What became of an answer that is to be taken apart.
enum Collected {
    /// All of it.
    Whole(Bytes),
    /// It is an error, and the client was told.
    Answered,
    /// It says nothing about the whole request.
    OfNoUse,
}

/// Reads a good answer to its end.
async fn collected(
    session: &mut Session,
    ctx: &mut Ctx,
    mut follower: Follower,
    signal: &Signal,
    leader: bool,
) -> Result<Collected> {
    match answer::while_connected(session, follower.head()).await? {
        Ok(head) if head.status == 200 => {}
        // Another kind of success is about these texts only.
        Ok(head) if head.status < 300 => return Ok(Collected::OfNoUse),
        Err(End::Broken("abandoned" | "fill-aborted")) => return Ok(Collected::OfNoUse),
        Ok(_) | Err(_) => {
            answer::follow(session, ctx, follower, signal, leader).await?;
            return Ok(Collected::Answered);
        }
    }
    match answer::collect(session, &mut follower).await? {
        Ok(whole) => Ok(Collected::Whole(whole)),
        Err("too-large") => Ok(Collected::OfNoUse),
        Err(why) => {
            ctx.account.detail = Some(why.into());
            let upstream = ctx.account.upstream.as_ref().map_or("", |u| u.name());
            let error = ApiError::upstream_broken(upstream);
            respond::error(session, ctx, &error, Some(signal)).await?;
            Ok(Collected::Answered)
        }
    }
}

fn record(wanted: &Wanted<'_>, times: Times, body: Bytes, tokens: u64) -> Record {
    Record {
        key: wanted.key,
        stored_ms: times.stored_ms,
        expires_ms: times.expires_ms,
        generation: times.generation,
        about: wanted.about(),
        status: 200,
        stream: false,
        headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body,
        chunks: Vec::new(),
        usage: Some((tokens, 0)),
    }
}
