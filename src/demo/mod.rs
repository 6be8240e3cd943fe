//! The `demo` command's room: a stand-in LLM on loopback, a client that measures, and five scenes
//! played against a running proxy. It knows neither the proxy nor its configuration types, only
//! sockets and text, and nothing outside this room uses it but the command line.

use std::net::SocketAddr;
use std::path::Path;

mod anthropic;
mod ask;
mod client;
mod embeddings;
mod openai;
mod reply;
mod scenes;
mod screen;
mod stage;
mod stand_in;
mod verify;

pub use client::ClientError;
pub use scenes::play;
pub use stand_in::{Pace, StandIn};

/// The model name the demo asks for. The stand-in answers to any other as well.
const MODEL: &str = "stand-in";

/// Why a demo ended early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The terminal, or whatever stands for it, could not be written to.
    #[error("cannot write the demo's output: {0}")]
    Output(#[from] std::io::Error),
    /// The proxy could not be reached, broke off, or took longer than 30 s.
    #[error("scene {scene}: {source}")]
    Request {
        /// The scene, from 1.
        scene: u8,
        /// What went wrong.
        source: ClientError,
    },
    /// The proxy answered, and the answer is not what the scene claims.
    #[error("scene {scene} did not hold: {what}")]
    Wrong {
        /// The scene, from 1.
        scene: u8,
        /// What was seen instead.
        what: String,
    },
}

/// The stand-in LLM, at a real model's pace. Listens on 127.0.0.1, on a port the system chooses.
///
/// # Errors
/// When no loopback port can be bound.
pub async fn start_stand_in() -> std::io::Result<StandIn> {
    StandIn::start(Pace::REALISTIC).await
}

/// What to try once the scenes are over: curl lines, each at most 80 columns wide.
pub fn hints(proxy: SocketAddr, admin: SocketAddr) -> String {
    format!(
        r#"The proxy stays up until Ctrl-C. Things to try from another terminal:

# Twice: the second answer is a hit. -i shows x-llm-cache and Cache-Status.
curl -i http://{proxy}/v1/chat/completions \
  -H 'content-type: application/json' \
  -d '{{"model":"{MODEL}","messages":[{{"role":"user","content":"Hello?"}}]}}'

# Streamed: live the first time, in one piece the second.
curl -iN http://{proxy}/v1/chat/completions \
  -H 'content-type: application/json' \
  -d '{{"model":"{MODEL}","stream":true,
       "messages":[{{"role":"user","content":"What is streaming?"}}]}}'

# Asked anew although it is stored.
curl -i http://{proxy}/v1/chat/completions \
  -H 'content-type: application/json' -H 'cache-control: no-cache' \
  -d '{{"model":"{MODEL}","messages":[{{"role":"user","content":"Hello?"}}]}}'

# The Anthropic way.
curl -i http://{proxy}/v1/messages \
  -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' \
  -d '{{"model":"{MODEL}","max_tokens":200,
       "messages":[{{"role":"user","content":"What is a cache?"}}]}}'

# What has been counted so far.
curl -s http://{admin}/metrics | grep llm_cache_requests_total

# A program of yours: change its base URL, nothing else.
export OPENAI_BASE_URL=http://{proxy}/v1 OPENAI_API_KEY=demo
"#
    )
}

/// YAML for the demo's proxy: loopback only, the stand-in as its one upstream, the store under
/// `dir`. A `dir` that is not UTF-8 is written with replacement characters and so names another
/// directory.
pub fn config_yaml(
    listen: SocketAddr,
    admin: SocketAddr,
    stand_in: SocketAddr,
    dir: &Path,
) -> String {
    // A JSON string is a YAML double-quoted scalar: blanks, quotes and colons in the path do no
    // harm.
    let path = serde_json::Value::from(dir.to_string_lossy());
    format!(
        r#"server:
  listen: ["{listen}"]
  admin: "{admin}"
upstreams:
  - name: stand-in
    url: http://{stand_in}/v1
store:
  path: {path}
  memory_bytes_max: 64MiB
  disk_bytes_max: 256MiB
log: {{level: warn}}
"#
    )
}

#[cfg(test)]
mod tests;
