//! What an endpoint of the stand-in is handed, and the shapes of what it hands back.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use tokio::time::sleep;

use super::Pace;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What an endpoint answers with: one JSON document after a while, or frames, each after its own
/// wait.
pub(super) enum Reply {
    Json(Duration, Value),
    Stream(Vec<(Duration, String)>),
}

/// What an endpoint needs to know of a call.
pub(super) struct Call<'a> {
    pub pace: Pace,
    /// Makes the ids of two answers differ, as a real provider's do.
    pub number: u64,
    /// Seconds since 1970.
    pub created: u64,
    pub body: &'a [u8],
}

impl Reply {
    /// Takes its time: a document's whole wait here, a stream's waits while it is read.
    pub async fn into_response(self) -> Response<Body> {
        let frames = match self {
            Reply::Json(wait, document) => {
                sleep(wait).await;
                return json_response(StatusCode::OK, &document);
            }
            Reply::Stream(frames) => frames,
        };
        let frames = stream::unfold(frames.into_iter(), async |mut frames| {
            let (wait, frame) = frames.next()?;
            if !wait.is_zero() {
                sleep(wait).await;
            }
            Some((Ok(Frame::data(Bytes::from(frame))), frames))
        });
        response(
            StatusCode::OK,
            "text/event-stream",
            StreamBody::new(frames).boxed_unsync(),
        )
    }
}

pub(super) fn json_response(status: StatusCode, document: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(document.to_string())).boxed_unsync();
    response(status, "application/json", body)
}

fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let content_type = header::HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}
