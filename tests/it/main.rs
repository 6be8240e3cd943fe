//! The promises of the server, kept by real processes over real sockets.

mod harness;

mod admin;
mod bodies;
mod cli;
mod coalescing;
mod durability;
mod early_answers;
mod isolation;
mod judging;
mod key;
mod layers;
mod routing;
mod shutdown;
mod signals;
mod tls_h2;
mod upstreams;
