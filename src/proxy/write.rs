//! Writing to a client, never for longer than `limits.write_timeout` without progress.
//!
//! Pingora has a timeout for a piece of a body, but none for heads and ends, and over HTTP/1 it
//! takes a whole piece for one step: a large one is therefore cut into slices.

use bytes::Bytes;
use http::Method;
use pingora::http::ResponseHeader;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::patience;

/// A client has the write timeout for each of these. What the kernel buffers comes on top: it may
/// report room only once megabytes have left, so a client needs some 50 KB/s at the default of 60 s.
const SLICE_BYTES: usize = 256 * 1024;

/// Writes the head.
pub async fn head(session: &mut Session, head: Box<ResponseHeader>) -> Result<()> {
    let limit = session.as_downstream().get_write_timeout();
    within(
        limit,
        session.as_downstream_mut().write_response_header(head),
    )
    .await
}

/// Writes a part of the body. Nothing is written in answer to a HEAD.
pub async fn body(session: &mut Session, mut bytes: Bytes) -> Result<()> {
    if session.req_header().method == Method::HEAD {
        return Ok(());
    }
    while !bytes.is_empty() {
        let slice = bytes.split_to(bytes.len().min(SLICE_BYTES));
        let limit = session.as_downstream().get_write_timeout();
        within(
            limit,
            session
                .as_downstream_mut()
                .write_response_body(slice, false),
        )
        .await?;
    }
    Ok(())
}

/// Ends the body.
pub async fn end(session: &mut Session) -> Result<()> {
    let limit = session.as_downstream().get_write_timeout();
    within(
        limit,
        session
            .as_downstream_mut()
            .write_response_body(Bytes::new(), true),
    )
    .await
}

async fn within(
    limit: Option<std::time::Duration>,
    write: impl Future<Output = Result<()>>,
) -> Result<()> {
    let written = match limit {
        Some(limit) => patience::within(limit, write).await.unwrap_or_else(|| {
            Error::e_explain(ErrorType::WriteTimedout, "the client takes nothing")
        }),
        None => write.await,
    };
    written.map_err(|e| e.into_down())
}
