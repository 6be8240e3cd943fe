//! llm-cache-server: a caching proxy for LLM APIs. See `docs/ARCHITECTURE.md` for the way of a
//! request and the rules that never bend.

pub mod access_log;
pub mod admin;
pub mod api;
pub mod cache;
pub mod cli;
pub mod coding;
pub mod config;
pub mod demo;
pub mod error;
pub mod host;
pub mod key;
pub mod metrics;
pub mod outbound;
pub mod policy;
pub mod proxy;
pub mod route;
pub mod server;
pub mod store;
pub mod tenant;
pub mod trace;
pub mod upstream;
