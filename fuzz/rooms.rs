//! The rooms that are fuzzed, at the paths they have in the server.

#[path = "../src/key/mod.rs"]
pub mod key;

#[path = "../src/api/mod.rs"]
pub mod api;

#[path = "../src/coding.rs"]
pub mod coding;

#[path = "../src/store/record.rs"]
pub mod record;

/// Of the store, the record's codec.
pub mod store {
    pub use crate::record;
}
