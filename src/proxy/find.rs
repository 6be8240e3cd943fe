//! A client's request, steps 5 and 6: from a tier, from a fill that is under way, or by beginning one.

use std::sync::Arc;

use pingora_core::Result;
use pingora_proxy::Session;

use super::LlmProxy;
use super::answer::{self, Outlook};
use super::ctx::Ctx;
use super::fill::{self, Asked};
use super::respond::{self, Signal};
use super::serve::Visit;
use crate::cache::flights::{Joined, Lead};
use crate::cache::now_ms;
use crate::error::ApiError;
use crate::key::Key;
use crate::metrics::Outcome;
use crate::store::record::Record;

/// A request whose fills were given up by others this often asks for itself.
const JOIN_ATTEMPTS_MAX: usize = 3;

/// Answers a request that has a key.
pub async fn cached(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &mut Ctx,
    visit: &Visit,
    asked: Asked,
    key: Key,
) -> Result<()> {
    ctx.account.key = Some(key);
    let stored = if visit.control.no_cache {
        None
    } else {
        proxy.cache.lookup(&key).await
    };
    let too_old = match stored {
        Some(record) if visit.control.accepts_age(record.age_secs(now_ms())) => {
            return hit(proxy, session, ctx, visit, &record).await;
        }
        stored => stored.is_some(),
    };
    if visit.control.only_if_cached {
        let signal = Signal {
            detail: Some("only-if-cached"),
            ..Signal::of(Outcome::Bypass, Some(key))
        };
        ctx.account.outcome = Some(Outcome::Bypass);
        return respond::error(session, ctx, &ApiError::only_if_cached(), Some(&signal)).await;
    }
    if too_old || visit.control.no_cache {
        let lead = proxy.cache.begin(key, visit.tenant);
        let refresh = Signal::of(Outcome::Refresh, Some(key));
        return lead_the_way(proxy, session, ctx, asked, lead, refresh).await;
    }
    let miss = Signal::of(Outcome::Miss, Some(key));
    for _ in 0..JOIN_ATTEMPTS_MAX {
        match proxy.cache.join(key, visit.tenant) {
            Joined::Stored(record) => return hit(proxy, session, ctx, visit, &record).await,
            Joined::Lead(lead) => {
                return lead_the_way(proxy, session, ctx, asked, lead, miss).await;
            }
            Joined::Follow(mut follower) => {
                let signal = Signal::of(Outcome::Coalesced, Some(key));
                ctx.account.outcome = Some(signal.outcome);
                let _following = proxy.following();
                match answer::outlook(session, &mut follower, visit.tenant).await? {
                    Outlook::Answer => {
                        ctx.trace.joined(follower.flight().call());
                        let usage = answer::follow(session, ctx, follower, &signal, false).await?;
                        proxy.saved(ctx, usage);
                        return Ok(());
                    }
                    Outlook::Abandoned => {}
                    Outlook::Refused => break,
                }
            }
        }
    }
    let lead = proxy.cache.begin(key, visit.tenant);
    lead_the_way(proxy, session, ctx, asked, lead, miss).await
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
    let lead = proxy.cache.alone(visit.tenant);
    lead_the_way(proxy, session, ctx, asked, lead, signal).await
}

async fn hit(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &mut Ctx,
    visit: &Visit,
    record: &Arc<Record>,
) -> Result<()> {
    ctx.account.outcome = Some(Outcome::Hit);
    answer::replay(session, ctx, record, visit.simulate).await?;
    proxy.saved(ctx, record.usage);
    Ok(())
}

/// Begins the fill and follows it like everyone else.
async fn lead_the_way(
    proxy: &LlmProxy,
    session: &mut Session,
    ctx: &mut Ctx,
    asked: Asked,
    lead: Lead,
    signal: Signal,
) -> Result<()> {
    ctx.account.outcome = Some(signal.outcome);
    if let Some(detail) = signal.detail {
        ctx.account.detail = Some(detail.into());
    }
    let Lead { guard, follower } = lead;
    fill::spawn(proxy, session, &ctx.trace, asked, guard, signal.key)?;
    let _following = proxy.following();
    answer::follow(session, ctx, follower, &signal, true).await?;
    Ok(())
}
