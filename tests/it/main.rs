//! The promises of the server, kept by real processes over real sockets.

// A test that stops at the first surprise says where it was.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod harness;

mod admin;
mod bodies;
mod by_item;
mod cli;
mod coalescing;
mod compression;
mod connections;
mod durability;
mod early_answers;
// Faults come by LD_PRELOAD, tmpfs and kill.
#[cfg(target_os = "linux")]
mod faults;
mod fleet;
mod forms;
mod freshness;
mod isolation;
mod judging;
mod key;
mod key_table;
mod layers;
mod namespaces;
mod operating;
mod queries;
mod readers;
mod redis_client;
mod reference;
mod routing;
mod shutdown;
mod signals;
mod tls_h2;
mod traces;
mod upstreams;
mod wire;
