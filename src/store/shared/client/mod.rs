//! The shared tier's client: one cache on a Redis-protocol server for many replicas.
//!
//! What is absent: no policy about what is stored, no key layout, no retry. Nothing here may make
//! a request fail or wait longer than the deadline.

pub mod breaker;
mod dial;
pub mod engine;
mod link;
pub mod options;
mod reply;
mod route;
mod scripts;
pub mod seats;
mod slots;
mod stream;
pub mod tls;
pub mod trouble;
pub mod value;
