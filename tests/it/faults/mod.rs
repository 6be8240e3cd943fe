//! What a disk can do to a server: be slow, be full, fail, be cut off in the middle of a write, be
//! damaged, be somebody else's. No request may notice, no answer may be wrong.
//!
//! `FAULT_ROUNDS` sets how many times the server is killed (a few by default, so that the suite
//! stays short), `FAULT_SEED` repeats a run by the seed it printed. Stories that measure time are
//! ignored unless asked for (`--run-ignored all`).

mod damage;
mod failing;
mod full;
mod kill;
mod mount;
mod power;
mod question;
mod said;
pub mod shim;
mod siege;
mod slow;
mod start;
