//! A client's request, steps 5 and 6: from a tier, from a fill that is under way, or by beginning one.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use pingora_core::Result;
use pingora_proxy::Session;
use tokio::time::Instant;

use super::LlmProxy;
use super::answer::{self, Failure, Outlook};
use super::by_item;
use super::ctx::Ctx;
use super::elsewhere;
use super::fill::{self, Asked, Task};
use super::keys::Keys;
use super::respond::{self, Signal};
use super::serve::Visit;
use super::stored::{self, Stored};
use crate::api::items::Items;
use crate::cache::fleet::{Claimed, Lease, Question};
use crate::cache::flight::Flight;
use crate::cache::flights::{Joined, Lead};
use crate::cache::now_ms;
use crate::coding::Coding;
use crate::config::Freshness;
use crate::error::ApiError;
use crate::key::Key;
use crate::metrics::Outcome;
use crate::store::about::About;
use crate::store::record::Record;

/// A request whose fills were given up by others this often asks for itself.
const JOIN_ATTEMPTS_MAX: usize = 3;

/// A request that has a key, on its way to an answer.
pub struct Wanted<'a> {
    /// What its headers say.
    pub visit: &'a Visit,
    /// What it asks, and whom.
    pub asked: Asked,
    /// The keys of its answer, form by form.
    pub keys: Keys,
    /// The key in the form that it asks for.
    pub key: Key,
    /// For how long answers can be used.
    pub freshness: Freshness,
    /// The body without its content coding, and its texts, if they are kept one by one.
    pub items: Option<(Bytes, Box<Items>)>,
    /// Until when it may wait for the shared tier, once it has asked there.
    pub until: OnceLock<Instant>,
}

impl Wanted<'_> {
    /// What its entry is about.
    pub fn about(&self) -> Arc<About> {
        self.keys.about(self.asked.facts.model.as_deref())
    }
}

/// Answers a request that has a key.
pub async fn cached(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &mut Ctx,
    wanted: Wanted<'_>,
) -> Result<()> {
    ctx.account.key = Some(wanted.key);
    match stored::look_up(proxy, session, &wanted).await? {
        Stored::Fresh(record) => hit(proxy, session, ctx, wanted.visit, &record).await,
        // Apart, and so are its rare branches: a request that waits holds what it needs for that alone,
        // and a hit does not carry the room for it.
        found => Box::pin(not_fresh(proxy, session, ctx, Box::new(wanted), found)).await,
    }
}

/// Answers a request for which there is no fresh answer.
async fn not_fresh(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &mut Ctx,
    wanted: Box<Wanted<'_>>,
    found: Stored,
) -> Result<()> {
    let Wanted { visit, key, .. } = *wanted;
    match found {
        Stored::Fresh(record) => Box::pin(hit(proxy, session, ctx, visit, &record)).await,
        Stored::WhileRevalidating(record) => {
            // Not for a client that forbids to ask.
            if !visit.control.only_if_cached
                && let Err(error) = revalidate(proxy, session, ctx, wanted)
            {
                // No reason to withhold what there is.
                log::error!("a stale answer could not be asked for anew: {error}");
            }
            Box::pin(stale(proxy, session, ctx, visit, &record, None)).await
        }
        Stored::Nothing
            if wanted.items.is_some()
                && Box::pin(by_item::answer(proxy, session, ctx, &wanted)).await? =>
        {
            Ok(())
        }
        Stored::Nothing
            if visit.control.only_if_cached
                && let Some(record) = Box::pin(elsewhere::any(proxy, session, &wanted)).await? =>
        {
            Box::pin(hit(proxy, session, ctx, visit, &record)).await
        }
        _ if visit.control.only_if_cached => {
            let signal = Signal {
                detail: Some("only-if-cached"),
                ..Signal::of(Outcome::Bypass, Some(key))
            };
            ctx.account.outcome = Some(Outcome::Bypass);
            respond::error(session, ctx, &ApiError::only_if_cached(), Some(&signal)).await
        }
        Stored::Refused => {
            let lead = (proxy.cache.begin(key, visit.tenant), None);
            let refresh = Signal::of(Outcome::Refresh, Some(key));
            Box::pin(lead_the_way(
                proxy, session, ctx, wanted, lead, refresh, None,
            ))
            .await
        }
        Stored::RetriedFrom(fallback) => {
            let refresh = Signal::of(Outcome::Refresh, Some(key));
            let joined = proxy.cache.join_anew(key, visit.tenant);
            join(proxy, session, ctx, wanted, refresh, fallback, joined).await
        }
        Stored::IfError(record) => {
            let signal = Signal {
                expired: true,
                ..Signal::of(Outcome::Miss, Some(key))
            };
            let joined = proxy.cache.join(key, visit.tenant);
            join(proxy, session, ctx, wanted, signal, Some(record), joined).await
        }
        Stored::Nothing => {
            let miss = Signal::of(Outcome::Miss, Some(key));
            let joined = proxy.cache.join(key, visit.tenant);
            join(proxy, session, ctx, wanted, miss, None, joined).await
        }
    }
}

/// Follows the fill that is under way, or begins one. `signal`: what the client is told in that
/// case. `fallback`: served should the upstream fail. `joined`: what the first attempt led to.
async fn join(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &mut Ctx,
    mut wanted: Box<Wanted<'_>>,
    signal: Signal,
    fallback: Option<Arc<Record>>,
    mut joined: Joined,
) -> Result<()> {
    let Wanted { visit, key, .. } = *wanted;
    let coding = Coding::of(&session.req_header().headers);
    let mut attempts = 1;
    // One that is to be asked anew is, whatever the fleet has.
    let mut with_fleet = signal.outcome != Outcome::Refresh;
    let lead = loop {
        if let Joined::Lead(lead) = joined {
            let Some(until) = elsewhere::time_left(proxy, &wanted).filter(|_| with_fleet) else {
                break (lead, None);
            };
            let question = asked_here(proxy, session, &wanted, until);
            match proxy.cache.claim(key, lead, question).await {
                Claimed::Lead(lead, lease) => {
                    match Box::pin(elsewhere::beside(proxy, session, &wanted)).await? {
                        Some(record) => {
                            proxy.cache.give_found(lead, lease, &record).await;
                            joined = Joined::Stored(record);
                        }
                        None => break (lead, lease),
                    }
                }
                Claimed::Joined(elsewhere) => joined = elsewhere,
                Claimed::Stored(record) if visit.control.accepts_age(record.age_secs(now_ms())) => {
                    joined = Joined::Stored(record);
                }
                Claimed::Stored(_) => break (proxy.cache.begin(key, visit.tenant), None),
            }
        }
        match joined {
            Joined::Stored(record) if !visit.control.accepts_age(record.age_secs(now_ms())) => {
                break (proxy.cache.begin(key, visit.tenant), None);
            }
            Joined::Stored(record) => {
                return Box::pin(hit(proxy, session, ctx, visit, &record)).await;
            }
            // Claimed above.
            Joined::Lead(lead) => break (lead, None),
            Joined::Follow(mut follower) => {
                let coalesced = Signal::of(Outcome::Coalesced, Some(key));
                ctx.account.outcome = Some(coalesced.outcome);
                let _following = proxy.following();
                match answer::outlook(session, &mut follower, visit.tenant, coding).await? {
                    // It was found, perhaps, and is older than this client wants.
                    Outlook::Answer
                        if follower
                            .flight()
                            .found_ms()
                            .is_some_and(|ms| !visit.control.accepts_age(age_secs(ms))) =>
                    {
                        break (proxy.cache.begin(key, visit.tenant), None);
                    }
                    Outlook::Answer => {
                        ctx.trace.joined(follower.flight().call());
                        if let Some(record) = &fallback
                            && let Some(failure) = answer::failure(session, &mut follower).await?
                            && !proxy.cache.store().is_purged(record)
                        {
                            let failure = Some(failure);
                            return Box::pin(stale(proxy, session, ctx, visit, record, failure))
                                .await;
                        }
                        let flight = follower.flight().clone();
                        let usage =
                            answer::follow(session, ctx, follower, &coalesced, false).await?;
                        note_delivered(proxy, key, &flight);
                        proxy.saved(ctx, usage);
                        return Ok(());
                    }
                    Outlook::AskHere => with_fleet = false,
                    // All of them once, for all that wait here.
                    Outlook::Abandoned if with_fleet && attempts == JOIN_ATTEMPTS_MAX => {
                        with_fleet = false;
                    }
                    Outlook::Abandoned if attempts < JOIN_ATTEMPTS_MAX => {}
                    Outlook::Abandoned | Outlook::Refused => {
                        break (proxy.cache.begin(key, visit.tenant), None);
                    }
                }
            }
        }
        joined = proxy.cache.join(key, visit.tenant);
        attempts += 1;
        wanted.until = OnceLock::new();
    };
    Box::pin(lead_the_way(
        proxy, session, ctx, wanted, lead, signal, fallback,
    ))
    .await
}

/// Asks for one client only.
pub async fn uncached(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &mut Ctx,
    visit: &Visit,
    asked: Asked,
    reason: &'static str,
) -> Result<()> {
    let signal = Signal {
        detail: Some(reason),
        ..Signal::of(Outcome::Bypass, None)
    };
    ctx.account.outcome = Some(Outcome::Bypass);
    ctx.account.detail = Some(reason.into());
    let Lead { guard, follower } = proxy.cache.alone(visit.tenant);
    fill::spawn(proxy, session, &ctx.trace, asked, guard, Task::uncached())?;
    let _following = proxy.following();
    answer::follow(session, ctx, follower, &signal, true).await?;
    Ok(())
}

/// Serves a fresh answer.
pub async fn hit(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &mut Ctx,
    visit: &Visit,
    record: &Arc<Record>,
) -> Result<()> {
    let signal = Signal::of(Outcome::Hit, Some(record.key));
    replay(proxy, session, ctx, visit, record, signal, record.usage).await
}

/// Serves an answer that is no longer fresh. `failure`: that of the upstream in the place of which it
/// stands; without one it is being asked for anew.
async fn stale(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &mut Ctx,
    visit: &Visit,
    record: &Arc<Record>,
    failure: Option<Failure>,
) -> Result<()> {
    let detail = match failure {
        Some(_) => "stale-if-error",
        None => "stale-while-revalidate",
    };
    ctx.account.detail = Some(detail.into());
    let signal = Signal {
        detail: Some(detail),
        forwarded: failure.map(|failure| failure.status),
        ..Signal::of(Outcome::Stale, Some(record.key))
    };
    replay(proxy, session, ctx, visit, record, signal, record.usage).await
}

/// Serves an answer that is there. `saved`: the tokens that nobody had to pay for.
pub async fn replay(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &mut Ctx,
    visit: &Visit,
    record: &Arc<Record>,
    signal: Signal,
    saved: Option<(u64, u64)>,
) -> Result<()> {
    ctx.account.outcome = Some(signal.outcome);
    let (compression, simulate) = (proxy.compression, visit.simulate);
    let coding = Coding::accepted(&session.req_header().headers);
    let encoded = match coding.filter(|_| compression && !simulate) {
        Some(coding) => Box::pin(stored::encoded(proxy, session, record, coding)).await?,
        None => None,
    };
    let served = encoded.as_ref().unwrap_or(record);
    proxy.cache.delivered().note(record.key);
    answer::replay(session, ctx, served, simulate, compression, signal).await?;
    proxy.saved(ctx, saved);
    Ok(())
}

/// Asks anew in the background, unless someone does so already or too much is under way. The client does not
/// wait for it, nor for what the fleet says.
fn revalidate(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &Ctx,
    wanted: Box<Wanted<'_>>,
) -> Result<()> {
    let (cache, key) = (proxy.cache, wanted.key);
    let joined = cache.join(key, wanted.visit.tenant);
    let Joined::Lead(lead) = joined else {
        return Ok(());
    };
    if !lead.guard.is_open_to_others() {
        return Ok(());
    }
    let question =
        elsewhere::until(proxy, &wanted).map(|until| asked_here(proxy, session, &wanted, until));
    let task = Task {
        detached: true,
        ..task_of(proxy, &wanted, Outcome::Refresh)
    };
    let fill = fill::prepare(proxy, session, &ctx.trace, wanted.asked, task)?;
    let Some(question) = question else {
        fill.start(lead.guard);
        return Ok(());
    };
    // A shutdown waits for those that hold a flight.
    tokio::spawn(async move {
        // Otherwise somebody in the fleet has done it, or does so.
        if let Claimed::Lead(lead, lease) = cache.claim(key, lead, question).await {
            fill.start(lead.guard);
            if let Some(lease) = lease {
                lease.publish(lead.follower.flight().clone());
            }
        }
    });
    Ok(())
}

/// Begins the fill and follows it like everyone else.
async fn lead_the_way(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &mut Ctx,
    wanted: Box<Wanted<'_>>,
    (lead, lease): (Lead, Option<Lease>),
    signal: Signal,
    fallback: Option<Arc<Record>>,
) -> Result<()> {
    ctx.account.outcome = Some(signal.outcome);
    let Lead {
        guard,
        mut follower,
    } = lead;
    let Wanted { visit, key, .. } = *wanted;
    let task = task_of(proxy, &wanted, signal.outcome);
    fill::spawn(proxy, session, &ctx.trace, wanted.asked, guard, task)?;
    if let Some(lease) = lease {
        lease.publish(follower.flight().clone());
    }
    let _following = proxy.following();
    if let Some(record) = &fallback
        && let Some(failure) = answer::failure(session, &mut follower).await?
        && !proxy.cache.store().is_purged(record)
    {
        return stale(proxy, session, ctx, visit, record, Some(failure)).await;
    }
    let flight = follower.flight().clone();
    answer::follow(session, ctx, follower, &signal, true).await?;
    note_delivered(proxy, key, &flight);
    Ok(())
}

fn age_secs(stored_ms: u64) -> u64 {
    now_ms().saturating_sub(stored_ms) / 1000
}

/// What the fleet has to know of a question.
fn asked_here(
    proxy: &LlmProxy,
    session: &Session,
    wanted: &Wanted<'_>,
    until: Instant,
) -> Question {
    Question {
        until,
        generation: proxy.cache.store().generation(),
        about: wanted.about(),
        coding: Coding::of(&session.req_header().headers),
    }
}

/// Notes that a client has the answer, if it is one that can be stored.
fn note_delivered(proxy: &LlmProxy, key: Key, flight: &Flight) {
    if flight.head().is_some_and(|head| head.status == 200) {
        proxy.cache.delivered().note(key);
    }
}

/// What becomes of the answer to a request.
pub fn task_of(proxy: &LlmProxy, wanted: &Wanted<'_>, outcome: Outcome) -> Task {
    Task {
        key: Some(wanted.key),
        ttl: ttl_of(proxy, wanted),
        generation: proxy.cache.store().generation(),
        about: wanted.about(),
        items: by_item::keys_of(wanted),
        rewritten: false,
        refreshes: outcome == Outcome::Refresh,
        replaces: match outcome {
            Outcome::Refresh => stored::other_keys(wanted),
            _ => Vec::new(),
        },
        detached: false,
    }
}

/// For how long the answer to a request is to be fresh.
pub fn ttl_of(proxy: &LlmProxy, wanted: &Wanted<'_>) -> Duration {
    let asked = wanted.visit.control.ttl;
    let ttl = asked.map(|ttl| ttl.min(proxy.request_ttl_max));
    ttl.unwrap_or(wanted.freshness.ttl)
}
