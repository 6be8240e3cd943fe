//! The rooms that are fuzzed, at the paths they have in the server.

#[path = "../src/key/mod.rs"]
pub mod key;

#[path = "../src/api/mod.rs"]
pub mod api;

#[path = "../src/coding.rs"]
pub mod coding;

#[path = "../src/store/about.rs"]
pub mod about;

#[path = "../src/store/record.rs"]
pub mod record;

#[path = "../src/store/row.rs"]
pub mod row;

/// Of the store, what is read from a disk.
pub mod store {
    pub use crate::{about, record, row};
}
