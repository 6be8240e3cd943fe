//! Answers of the admin listener.

use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::error::ApiError;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Who is told to come again is told when.
const RETRY_SECS: HeaderValue = HeaderValue::from_static("2");

/// An answer that is complete.
pub struct Reply {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Vec<u8>,
}

impl Reply {
    /// A text, which may be metrics.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Reply {
        Reply {
            status,
            headers: vec![(CONTENT_TYPE, TEXT)],
            body: text.into().into_bytes(),
        }
    }

    /// 200 and a value.
    pub fn json(value: &impl Serialize) -> Result<Reply, ApiError> {
        let mut body = serde_json::to_vec(value).map_err(|e| {
            log::error!("an answer to an operator cannot be written: {e}");
            ApiError::internal()
        })?;
        body.push(b'\n');
        let no_store = HeaderValue::from_static("no-store");
        Ok(Reply {
            status: StatusCode::OK,
            headers: vec![(CONTENT_TYPE, JSON), (CACHE_CONTROL, no_store)],
            body,
        })
    }

    /// An error in the shape that clients of the proxy get, too.
    pub fn error(error: &ApiError) -> Reply {
        let mut headers = vec![(CONTENT_TYPE, JSON)];
        let status = StatusCode::from_u16(error.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match status {
            StatusCode::SERVICE_UNAVAILABLE => headers.push((RETRY_AFTER, RETRY_SECS)),
            StatusCode::UNAUTHORIZED => {
                headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
            }
            _ => {}
        }
        Reply {
            status,
            headers,
            body: error.to_json(),
        }
    }

    /// What the listener sends.
    pub fn into_response(self) -> Response<Vec<u8>> {
        let length = HeaderValue::from(self.body.len());
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response.headers_mut().insert(CONTENT_LENGTH, length);
        // What is shown came from clients and upstreams: no browser shall take it for a page.
        let nosniff = HeaderValue::from_static("nosniff");
        response
            .headers_mut()
            .insert(X_CONTENT_TYPE_OPTIONS, nosniff);
        response
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Reply {
        Reply::error(&error)
    }
}
