//! Writing an answer to a client: a stored one at once, one on its way as it comes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::VARY;
use http::{HeaderValue, Version};
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::ctx::Ctx;
use super::respond::{self, Signal};
use super::write;
use crate::cache::fleet::ASK_HERE;
use crate::cache::flight::{End, Follower, Next};
use crate::cache::now_ms;
use crate::coding::Coding;
use crate::error::ApiError;
use crate::store::record::Record;
use crate::tenant::Tenant;

/// `/simulate` pauses this long between two events of a replayed stream, as the Python ancestor
/// did.
const SIMULATED_PAUSE: Duration = Duration::from_millis(50);
/// Followers that lag behind get pieces joined up to this size in one write.
const JOIN_BYTES_MAX: usize = 64 * 1024;

/// Writes a stored answer. `compression`: its coding depends on what the client accepts.
pub async fn replay(
    session: &mut Session,
    ctx: &mut Ctx,
    record: &Record,
    simulate: bool,
    compression: bool,
    signal: Signal,
) -> Result<()> {
    let now = now_ms();
    let signal = Signal {
        age_ttl: Some((record.age_secs(now), record.ttl_secs(now))),
        ..signal
    };
    // Over HTTP/1.0 a paced answer could not be told from a broken one.
    let http10 = session.req_header().version == Version::HTTP_10;
    let paced = simulate && record.stream && !http10;
    // Pingora sends every piece of a chunked body at once, and collects those of a counted one.
    let length = (!paced).then_some(record.body.len() as u64);
    let mut head = respond::head(
        session.as_downstream(),
        record.status,
        &record.headers,
        length,
    )?;
    if compression {
        head.insert_header(VARY, HeaderValue::from_static("accept-encoding"))?;
    }
    signal.add_to(&mut head)?;
    ctx.head_sent(record.status);
    write::head(session, head).await?;
    if paced {
        for frame in frames(&record.body) {
            write::body(session, frame).await?;
            while_connected(session, tokio::time::sleep(SIMULATED_PAUSE)).await?;
        }
    } else {
        write::body(session, record.body.clone()).await?;
    }
    write::end(session).await
}

/// Writes an answer as it arrives. `leader`: this client's request is the one that was sent.
/// Returns the tokens of the answer if it ended properly and the provider counted them.
pub async fn follow(
    session: &mut Session,
    ctx: &mut Ctx,
    mut follower: Follower,
    signal: &Signal,
    leader: bool,
) -> Result<Option<(u64, u64)>> {
    let head = match while_connected(session, follower.head()).await? {
        Ok(head) => head,
        Err(End::Failed(error)) => {
            respond::error(session, ctx, &error, Some(signal)).await?;
            return Ok(None);
        }
        Err(end) => {
            ctx.account.detail = Some(match end {
                End::Broken(why) => why.into(),
                _ => "no-head".into(),
            });
            let upstream = ctx.account.upstream.as_ref().map_or("", |u| u.name());
            let error = ApiError::upstream_broken(upstream);
            respond::error(session, ctx, &error, Some(signal)).await?;
            return Ok(None);
        }
    };
    let headers = if leader {
        &head.headers
    } else {
        &head.shared_headers
    };
    let (whole, length) = match head.content_length {
        None if session.req_header().version == Version::HTTP_10 => {
            match collect(session, &mut follower).await? {
                Ok(whole) => (Some(whole.clone()), Some(whole.len() as u64)),
                Err(why) => {
                    let error = ApiError::broken_answer();
                    ctx.account.detail = Some(why.into());
                    respond::error(session, ctx, &error, Some(signal)).await?;
                    return Ok(None);
                }
            }
        }
        length => (None, length),
    };
    let mut response = respond::head(session.as_downstream(), head.status, headers, length)?;
    signal.add_to(&mut response)?;
    ctx.head_sent(head.status);
    write::head(session, response).await?;
    if let Some(whole) = whole {
        write::body(session, whole).await?;
    }
    loop {
        match while_connected(session, follower.next()).await? {
            Next::Pieces(pieces) => {
                for piece in join(pieces) {
                    write::body(session, piece).await?;
                }
            }
            Next::End(End::Complete) => break,
            Next::End(End::Broken(why)) => return broken(ctx, why),
            Next::End(End::Failed(error)) => return broken(ctx, error.code),
        }
    }
    write::end(session).await?;
    Ok(follower.flight().usage())
}

/// Reads an answer of unknown length to its end, for a client that could not tell a break from an
/// end otherwise: HTTP/1.0 has no chunks. The error says why there is no whole answer.
pub async fn collect(
    session: &mut Session,
    follower: &mut Follower,
) -> Result<Result<Bytes, &'static str>> {
    let bytes_max = follower.flight().bytes_max();
    let mut whole = BytesMut::new();
    loop {
        match while_connected(session, follower.next()).await? {
            Next::Pieces(pieces) => pieces.iter().for_each(|p| whole.extend_from_slice(p)),
            Next::End(End::Complete) => return Ok(Ok(whole.freeze())),
            Next::End(End::Broken(why)) => return Ok(Err(why)),
            Next::End(End::Failed(error)) => return Ok(Err(error.code)),
        }
        if whole.len() > bytes_max {
            return Ok(Err("too-large"));
        }
    }
}

/// Waits until it is clear whether a fill that another request began answers this one too.
pub async fn outlook(
    session: &mut Session,
    follower: &mut Follower,
    tenant: Tenant,
    coding: Option<Coding>,
) -> Result<Outlook> {
    let flight = follower.flight();
    let foreign = flight.tenant() != tenant || flight.coding() != coding;
    Ok(match while_connected(session, follower.head()).await? {
        Ok(head) if foreign && head.status >= 300 => Outlook::Refused,
        Ok(_) => Outlook::Answer,
        Err(End::Failed(_)) if foreign => Outlook::Refused,
        Err(End::Broken("abandoned" | "fill-aborted")) => Outlook::Abandoned,
        Err(End::Broken(ASK_HERE)) => Outlook::AskHere,
        Err(_) => Outlook::Answer,
    })
}

/// Waits for the head. Tells whether the upstream failed in a way that an older answer can stand in
/// for.
pub async fn failure(session: &mut Session, follower: &mut Follower) -> Result<Option<Failure>> {
    Ok(match while_connected(session, follower.head()).await? {
        Ok(head) if head.status == 429 || head.status >= 500 => Some(Failure {
            status: Some(head.status),
        }),
        Ok(_) => None,
        Err(_) => Some(Failure { status: None }),
    })
}

/// A failure of an upstream.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// Its status; `None` if there was no answer.
    pub status: Option<u16>,
}

/// What to expect of another request's fill.
pub enum Outlook {
    /// An answer for everyone who asked, or an error that is theirs as well.
    Answer,
    /// It ended before there was an answer, for reasons of its own.
    Abandoned,
    /// Another replica was told something that is not for others.
    AskHere,
    /// An error, and about another credential or a body in another coding: it says nothing about
    /// this one.
    Refused,
}

/// Waits for something, but not for longer than the client does.
pub async fn while_connected<T>(session: &mut Session, wait: impl Future<Output = T>) -> Result<T> {
    tokio::select! {
        biased;
        done = wait => Ok(done),
        gone = session.as_downstream_mut().read_body_or_idle(true) => Err(match gone {
            Ok(_) => Error::explain(ErrorType::ConnectionClosed, "the client left"),
            Err(e) => e.into_down(),
        }),
    }
}

/// An error that makes pingora cut the connection without ending the body.
fn broken<T>(ctx: &mut Ctx, why: &'static str) -> Result<T> {
    ctx.account.detail = Some(why.into());
    Error::e_explain(ErrorType::ConnectionClosed, "the answer broke off")
        .map_err(|e: Box<Error>| e.into_up())
}

/// Splits an event stream behind its blank lines. A stream with other line ends stays whole.
fn frames(body: &Bytes) -> Vec<Bytes> {
    let mut rest = body.clone();
    let mut frames = Vec::new();
    while let Some(end) = memchr::memmem::find(&rest, b"\n\n") {
        frames.push(rest.split_to(end + 2));
    }
    if !rest.is_empty() {
        frames.push(rest);
    }
    frames
}

/// Joins neighbours, so that a burst costs few writes.
fn join(pieces: Vec<Bytes>) -> Vec<Bytes> {
    if pieces.len() < 2 {
        return pieces;
    }
    let mut joined = Vec::new();
    let mut open = BytesMut::new();
    for piece in pieces {
        if !open.is_empty() && open.len() + piece.len() > JOIN_BYTES_MAX {
            joined.push(open.split().freeze());
        }
        open.extend_from_slice(&piece);
    }
    if !open.is_empty() {
        joined.push(open.freeze());
    }
    joined
}
