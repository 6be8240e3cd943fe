//! What the stories are told with: a mock provider, the server as a process, clients that see
//! every byte.

mod answer;
mod ask;
pub mod bucket;
mod config;
mod exchange;
mod framing;
mod gate;
mod h1;
mod h2;
mod lag;
pub mod llm;
mod metrics;
mod origin;
mod port;
mod process;
mod proxy;
mod quiet;
mod raw_origin;
pub mod redis;
mod reply;
mod resp;
mod selftest;
mod signature;
mod tls;

pub use answer::{Answer, End};
pub use ask::*;
pub use bucket::Bucket;
pub use config::Config;
pub use exchange::Sent;
pub use gate::{Gate, bounded, within};
pub use h1::{H1, body_of, head_of};
pub use h2::H2;
pub use lag::Lag;
pub use metrics::Metrics;
pub use origin::{Origin, origin};
pub use port::Port;
pub use process::{Process, command};
pub use proxy::{Proxy, ProxyBuilder, proxy, proxy_before, try_get};
pub use quiet::alone;
pub use raw_origin::{Act, raw_origin, until_close};
pub use redis::{Redis, RedisCluster};
pub use reply::{Call, Reply, error_object};
pub use resp::Resp;
pub use tls::{Identity, PemFiles};

use std::time::Duration;

pub const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Asks all at once, each over a connection of its own; the answers in the order of the asks.
pub async fn ask_all(proxy: &Proxy, asks: &[Ask]) -> Vec<Answer> {
    let asking = asks.iter().map(|ask| proxy.ask(ask));
    futures_util::future::join_all(asking).await
}
