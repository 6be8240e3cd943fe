//! Brings spans to the collector.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

use crate::outbound::Outbound;

/// One batch, from the connect to the end of the collector's answer.
const SEND_MAX: Duration = Duration::from_secs(5);
/// A collector answers with a few bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Sends requests for the exporter.
pub struct Courier {
    outbound: Arc<Outbound>,
    runtime: Handle,
}

impl Courier {
    /// A courier that works on this runtime.
    pub fn new(runtime: Handle) -> Courier {
        Courier {
            outbound: Arc::new(Outbound::new(SEND_MAX, ANSWER_BYTES_MAX, None)),
            runtime,
        }
    }
}

#[async_trait]
impl HttpClient for Courier {
    /// Called on the exporter's own thread, which has no runtime.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let outbound = self.outbound.clone();
        // All of it inside the task: this thread has no clock of the runtime's either.
        let sent = self
            .runtime
            .spawn(async move { outbound.send(request).await.map_err(|e| e.to_string()) });
        match sent.await {
            Ok(result) => Ok(result?),
            Err(_) => Err("the server is ending".into()),
        }
    }
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Courier")
    }
}
