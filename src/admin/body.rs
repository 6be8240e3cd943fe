//! Reading what operators send: short, and at once.

use std::time::Duration;

use pingora_core::protocols::http::ServerSession;

use crate::error::ApiError;

/// A purge takes some hundred bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// For all of it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The body of a request.
pub async fn read(session: &mut ServerSession) -> Result<Vec<u8>, ApiError> {
    match tokio::time::timeout(BODY_TIMEOUT, read_all(session)).await {
        Ok(read) => read,
        Err(_) => Err(ApiError {
            status: 408,
            kind: "invalid_request_error",
            code: "body_timeout",
            message: format!("the request body did not arrive within {BODY_TIMEOUT:?}"),
        }),
    }
}

async fn read_all(session: &mut ServerSession) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    loop {
        let piece = session
            .read_request_body()
            .await
            .map_err(|_| ApiError::bad_request("the request body broke off"))?;
        let Some(piece) = piece else { return Ok(body) };
        if body.len() + piece.len() > BODY_BYTES_MAX {
            return Err(ApiError {
                status: 413,
                kind: "invalid_request_error",
                code: "body_too_large",
                message: format!("the request body is larger than {BODY_BYTES_MAX} bytes"),
            });
        }
        body.extend_from_slice(&piece);
    }
}
