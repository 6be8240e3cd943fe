//! HTTP for the crate that signs and repeats, by pingora's connector.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use pingora_core::ErrorType;

use crate::outbound::Outbound;

/// Speaks HTTP for the crate.
#[derive(Clone)]
pub struct Connector(pub Arc<Outbound>);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        // It is in memory already.
        let body = body.collect().await?.to_bytes();
        let request = http::Request::from_parts(parts, body);
        let answer = self.0.send(request).await.map_err(|error| {
            let kind = match error.etype() {
                ErrorType::ReadTimedout | ErrorType::WriteTimedout => HttpErrorKind::Timeout,
                ErrorType::ConnectTimedout
                | ErrorType::ConnectRefused
                | ErrorType::ConnectNoRoute
                | ErrorType::ConnectError => HttpErrorKind::Connect,
                ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => {
                    HttpErrorKind::Interrupted
                }
                _ => HttpErrorKind::Unknown,
            };
            HttpError::new(kind, Failed(error.to_string()))
        })?;
        Ok(answer.map(Into::into))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);
