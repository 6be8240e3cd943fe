//! Asking the admin listener of the running server.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::Config;
use crate::server;

/// For a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// For an answer: a look at all entries takes a minute at most, a copy to another disk longer.
const ANSWER_MAX: Duration = Duration::from_secs(30 * 60);
/// Of an answer. A body of 4 MiB that has nothing but control characters takes six times that.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a command came to nothing.
#[derive(Debug, Error)]
pub enum Failure {
    /// It cannot be done as it was asked for.
    #[error("{0}")]
    Usage(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// Asks for something.
pub fn get(config: &Config, path: &str) -> Result<Vec<u8>, Failure> {
    ask(config, Method::GET, path, Vec::new())
}

/// Asks for something to be done.
pub fn post(config: &Config, path: &str, json: Vec<u8>) -> Result<Vec<u8>, Failure> {
    ask(config, Method::POST, path, json)
}

fn ask(config: &Config, method: Method, path: &str, body: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let failed = |e: std::io::Error| Failure::Failed(e.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(exchange(config, method, path, body))
}

async fn exchange(
    config: &Config,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let address = server::reachable(config.server.admin);
    let failed =
        |why: &dyn std::fmt::Display| Failure::Failed(format!("no answer from {address}: {why}"));
    let socket = match timeout(CONNECT_MAX, TcpStream::connect(address)).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(e)) => {
            let hint = "is the server running, with this configuration?";
            return Err(failed(&format!("{e}; {hint}")));
        }
        Err(_) => return Err(failed(&format!("no connection within {CONNECT_MAX:?}"))),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, address.to_string())
        .header(CONTENT_TYPE, "application/json");
    if let Some(token) = &config.server.admin_token {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| failed(&e))?;
    let (mut sender, connection) = handshake(TokioIo::new(socket))
        .await
        .map_err(|e| failed(&e))?;
    // Its error, if any, reaches the request as well.
    let driver = tokio::spawn(async { drop(connection.await) });
    let answered = timeout(ANSWER_MAX, async {
        let answer = sender.send_request(request).await.map_err(|e| failed(&e))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|e| failed(&e))?.to_bytes();
        Ok((head.status, body))
    })
    .await;
    driver.abort();
    let (status, body) =
        answered.map_err(|_| failed(&format!("nothing within {ANSWER_MAX:?}")))??;
    match status.as_u16() {
        200 => Ok(body.into()),
        400 => Err(Failure::Usage(message(&body))),
        404 if !body.starts_with(b"{") => Err(Failure::Failed(format!(
            "{address} is not a server of this version, or not its admin listener"
        ))),
        _ => Err(Failure::Failed(message(&body))),
    }
}

/// What an error says.
fn message(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    match value.pointer("/error/message").and_then(|m| m.as_str()) {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(body).into_owned(),
    }
}
