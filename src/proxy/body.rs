//! Reading a request's body: bounded in bytes and in time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use pingora_core::Result;
use pingora_core::protocols::http::ServerSession;

use super::patience;
use crate::coding::{Coding, DecodeError};

/// What became of reading a body.
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// Longer than the limit; what is left of it is still unread.
    TooLarge,
    /// The client paused for longer than it may.
    TimedOut,
}

/// Reads the whole body. A client that announces too much is refused before it sends anything, one
/// that waits for permission (`Expect: 100-continue`) gets it.
pub async fn read(
    session: &mut ServerSession,
    bytes_max: usize,
    pause_max: Duration,
) -> Result<Body> {
    let announced = announced_length(session);
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Ok(Body::TooLarge);
    }
    if expects_continue(session) && !session.is_http2() {
        // Pingora takes any head before the body's end for an early answer, and would close the
        // connection after it.
        session.set_close_on_response_before_downstream_finish(false);
        session.write_continue_response().await?;
        session.set_close_on_response_before_downstream_finish(true);
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    loop {
        let read = patience::within(pause_max, session.read_request_body()).await;
        let Some(piece) = read else {
            return Ok(Body::TimedOut);
        };
        let Some(piece) = piece.map_err(|e| e.into_down())? else {
            break;
        };
        let so_far = first.as_ref().map_or(0, Bytes::len) + rest.len();
        if so_far + piece.len() > bytes_max {
            return Ok(Body::TooLarge);
        }
        match &first {
            // Most bodies arrive in one piece, which then is not copied.
            None => first = Some(piece),
            Some(head) => {
                if rest.is_empty() {
                    let announced = announced.and_then(|l| usize::try_from(l).ok()).unwrap_or(0);
                    rest.reserve(announced.max(head.len() + piece.len()));
                    rest.extend_from_slice(head);
                    first = Some(Bytes::new());
                }
                rest.extend_from_slice(&piece);
            }
        }
    }
    Ok(Body::Whole(if rest.is_empty() {
        first.unwrap_or_default()
    } else {
        rest.freeze()
    }))
}

/// Encoded bodies up to this length are decoded in place: it takes about a millisecond.
const DECODED_IN_PLACE_MAX: usize = 16 * 1024;

/// What a body says, that is without its content coding. What goes upstream is the body as it came.
pub async fn decoded(
    body: &Bytes,
    coding: Option<Coding>,
    bytes_max: usize,
) -> Result<Bytes, DecodeError> {
    let Some(coding) = coding else {
        return Ok(body.clone());
    };
    let decoded = if body.len() <= DECODED_IN_PLACE_MAX {
        coding.decode(body, bytes_max)
    } else {
        let body = body.clone();
        let work = tokio::task::spawn_blocking(move || coding.decode(&body, bytes_max));
        // Only a runtime that shuts down gives no answer.
        work.await.unwrap_or(Err(DecodeError::Garbled))
    };
    decoded.map(Bytes::from)
}

/// Whether the client waits for permission to send its body.
pub fn expects_continue(session: &ServerSession) -> bool {
    let expect = session.req_header().headers.get(EXPECT);
    expect.is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn announced_length(session: &ServerSession) -> Option<u64> {
    session
        .req_header()
        .headers
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
