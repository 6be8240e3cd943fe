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
    Whole(Whole),
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
    let mut body = Whole::default();
    loop {
        let read = patience::within(pause_max, session.read_request_body()).await;
        let Some(piece) = read else {
            return Ok(Body::TimedOut);
        };
        let Some(piece) = piece.map_err(|e| e.into_down())? else {
            return Ok(Body::Whole(body));
        };
        if body.len + piece.len() > bytes_max {
            return Ok(Body::TooLarge);
        }
        body.push(piece, announced);
    }
}

/// A body in the pieces it came in, put together only for those who need it in one: a hit does not.
#[derive(Debug, Default)]
pub struct Whole {
    pieces: Vec<Bytes>,
    /// All of it, once there were too many pieces. It grows as the body comes: putting together a long
    /// one at its end would hold up everyone else.
    rest: BytesMut,
    len: usize,
}

impl Whole {
    fn push(&mut self, piece: Bytes, announced: Option<u64>) {
        self.len += piece.len();
        if self.rest.is_empty() && self.pieces.len() < PIECES_MAX {
            self.pieces.push(piece);
            return;
        }
        if self.rest.is_empty() {
            let announced = announced.and_then(|len| usize::try_from(len).ok());
            self.rest.reserve(announced.unwrap_or(0).max(self.len));
            for piece in self.pieces.drain(..) {
                self.rest.extend_from_slice(&piece);
            }
        }
        self.rest.extend_from_slice(&piece);
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The body piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let pieces = self.pieces.iter().map(|piece| &piece[..]);
        pieces.chain(std::iter::once(&self.rest[..]))
    }

    /// The body in one piece. Only the first call copies, and none does if it came in one piece or in very
    /// many.
    pub fn join(&mut self) -> Bytes {
        if self.pieces.len() > 1 {
            self.pieces = vec![self.pieces.concat().into()];
        } else if !self.rest.is_empty() {
            self.pieces = vec![std::mem::take(&mut self.rest).freeze()];
        }
        self.pieces.first().cloned().unwrap_or_default()
    }
}

impl From<Bytes> for Whole {
    fn from(bytes: Bytes) -> Whole {
        std::iter::once(bytes).collect()
    }
}

impl FromIterator<Bytes> for Whole {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Whole {
        let mut whole = Whole::default();
        pieces.into_iter().for_each(|piece| whole.push(piece, None));
        whole
    }
}

/// Pieces that are kept apart. They are of up to 64 KiB, but a client can make them of one byte each.
const PIECES_MAX: usize = 16;
/// Encoded bodies up to this length are decoded in place: it takes about a millisecond.
const DECODED_IN_PLACE_MAX: usize = 16 * 1024;

/// What a body says, that is without its content coding. What goes upstream is the body as it came.
pub async fn decoded(body: Bytes, coding: Coding, bytes_max: usize) -> Result<Bytes, DecodeError> {
    let decoded = if body.len() <= DECODED_IN_PLACE_MAX {
        coding.decode(&body, bytes_max)
    } else {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// In however many pieces it comes, it is the same body.
    #[test]
    fn a_body_in_pieces_is_put_together() {
        let body = Bytes::from((0..5000u16).map(|n| n as u8).collect::<Vec<u8>>());
        for size in [1, 7, 300, 313, 4999, 5000, 9000] {
            let pieces = body.chunks(size).map(|piece| body.slice_ref(piece));
            let mut whole: Whole = pieces.collect();
            assert_eq!(whole.len(), body.len());
            assert!(whole.pieces.len() <= PIECES_MAX);
            assert_eq!(whole.pieces().collect::<Vec<_>>().concat(), body, "{size}");
            assert_eq!((whole.join(), whole.join()), (body.clone(), body.clone()));
            assert_eq!(whole.pieces().collect::<Vec<_>>().concat(), body);
        }
        assert!(Whole::default().join().is_empty());
    }
}
