//! Heads and bodies that this server writes itself.

use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Version};
use pingora::http::ResponseHeader;
use pingora_core::Result;
use pingora_core::protocols::http::ServerSession;
use pingora_proxy::Session;

use super::ctx::Ctx;
use super::write;
use crate::error::ApiError;
use crate::key::Key;
use crate::metrics::Outcome;

/// `hit | coalesced | miss | stale | refresh | bypass`.
pub const X_LLM_CACHE: HeaderName = HeaderName::from_static("x-llm-cache");
/// The key of the answer, hex.
pub const X_LLM_CACHE_KEY: HeaderName = HeaderName::from_static("x-llm-cache-key");
/// RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// Room for the headers this server adds.
const EXTRA_HEADERS: usize = 8;

/// What the cache has to say about an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// How the request was answered.
    pub outcome: Outcome,
    /// Of a stored answer: its age and for how long it stays fresh, in seconds; negative: since when
    /// it is no longer.
    pub age_ttl: Option<(u64, i64)>,
    /// Of a stale answer that stands in for a failure: its status, if there was one.
    pub forwarded: Option<Option<u16>>,
    /// How much of the answer was known, if not all of it.
    pub partial: Option<String>,
    /// There was an answer, but it is no longer fresh.
    pub expired: bool,
    /// The key, if there is one.
    pub key: Option<Key>,
    /// Why the cache was not used.
    pub detail: Option<&'static str>,
}

impl Signal {
    /// A signal about `outcome` and nothing else.
    pub fn of(outcome: Outcome, key: Option<Key>) -> Signal {
        Signal {
            outcome,
            age_ttl: None,
            forwarded: None,
            partial: None,
            expired: false,
            key,
            detail: None,
        }
    }

    /// The value of `Cache-Status`.
    fn cache_status(&self) -> String {
        const CACHE: &str = "llm-cache-server";
        match (self.outcome, self.age_ttl, self.detail) {
            (Outcome::Hit, Some((_, ttl)), _) => {
                let mut digits = itoa::Buffer::new();
                [CACHE, "; hit; ttl=", digits.format(ttl)].concat()
            }
            (Outcome::Hit, None, _) => format!("{CACHE}; hit"),
            (Outcome::Coalesced, ..) => format!("{CACHE}; fwd=uri-miss; collapsed"),
            (Outcome::Stale, age_ttl, detail) => {
                let ttl = age_ttl.map_or(0, |(_, ttl)| ttl);
                let detail = detail.unwrap_or("stale");
                match self.forwarded {
                    Some(None) => format!("{CACHE}; fwd=stale; ttl={ttl}; detail={detail}"),
                    Some(Some(status)) => {
                        format!(
                            "{CACHE}; fwd=stale; fwd-status={status}; ttl={ttl}; detail={detail}"
                        )
                    }
                    None => format!("{CACHE}; hit; ttl={ttl}; detail={detail}"),
                }
            }
            (Outcome::Miss, ..) if self.partial.is_some() => {
                let detail = self.partial.as_deref().unwrap_or_default();
                format!("{CACHE}; fwd=partial; detail={detail}")
            }
            (Outcome::Miss, ..) if self.expired => format!("{CACHE}; fwd=stale"),
            (Outcome::Miss, ..) => format!("{CACHE}; fwd=uri-miss"),
            (Outcome::Refresh, ..) => format!("{CACHE}; fwd=request"),
            (_, _, Some(detail)) => format!("{CACHE}; fwd=bypass; detail={detail}"),
            (_, _, None) => format!("{CACHE}; fwd=bypass"),
        }
    }

    /// Adds the headers that say so.
    pub fn add_to(&self, head: &mut ResponseHeader) -> Result<()> {
        let outcome = HeaderValue::from_static(self.outcome.as_str());
        head.insert_header(X_LLM_CACHE, outcome)?;
        head.insert_header(CACHE_STATUS, self.cache_status())?;
        if let Some(key) = &self.key {
            head.insert_header(X_LLM_CACHE_KEY, &key.hex()[..])?;
        }
        if let Some((age, _)) = self.age_ttl {
            head.insert_header(AGE, age)?;
        }
        Ok(())
    }
}

/// A head with a status, headers and, if it is known, a length. Without one the body is chunked,
/// or ended by HTTP/2's own framing.
pub fn head(
    session: &ServerSession,
    status: u16,
    headers: &[(HeaderName, HeaderValue)],
    content_length: Option<u64>,
) -> Result<Box<ResponseHeader>> {
    let mut head = ResponseHeader::build_no_case(status, Some(headers.len() + EXTRA_HEADERS))?;
    for (name, value) in headers {
        head.append_header(name.clone(), value.clone())?;
    }
    let bodiless = matches!(status, 204 | 304);
    match content_length {
        Some(length) if !bodiless => head.insert_header(CONTENT_LENGTH, length)?,
        None if !bodiless && session.req_header().version == Version::HTTP_11 => {
            head.insert_header(TRANSFER_ENCODING, "chunked")?;
        }
        Some(_) | None => {}
    }
    Ok(Box::new(head))
}

/// Answers with a small JSON body. The connection stays usable if the request was read to its end.
pub async fn json(
    session: &mut Session,
    ctx: &mut Ctx,
    status: u16,
    body: Vec<u8>,
    signal: Option<&Signal>,
) -> Result<()> {
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let mut head = head(
        session.as_downstream(),
        status,
        &headers,
        Some(body.len() as u64),
    )?;
    if let Some(signal) = signal {
        signal.add_to(&mut head)?;
    }
    ctx.head_sent(status);
    write::head(session, head).await?;
    write::body(session, Bytes::from(body)).await?;
    write::end(session).await
}

/// Answers with an error.
pub async fn error(
    session: &mut Session,
    ctx: &mut Ctx,
    error: &ApiError,
    signal: Option<&Signal>,
) -> Result<()> {
    if ctx.account.detail.is_none() {
        ctx.account.detail = Some(error.code.into());
    }
    json(session, ctx, error.status, error.to_json(), signal).await
}
