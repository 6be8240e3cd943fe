//! What the store does at its size: churn at the bound, cost as it fills, purge, codecs.
//!
//! `cargo bench --profile release --locked --bench store -- churn --help`. Each part prints
//! Markdown tables, as docs/storage.md has them.

// A measurement that cannot go on says where it stopped.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use clap::{Parser, Subcommand};

mod bed;
mod churn;
mod codec;
mod content;
mod fill;
mod policies;
mod purge;
mod system;
mod table;
mod trace;

/// The server's allocator: resident memory is what it makes of it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Parser)]
#[command(about = "Measures the store. Without a command nothing is measured.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a multiple of the bound with Zipf reads: size on disk, hit ratio beside LRU and FIFO
    Churn(churn::Args),
    /// Fills the store: memory, size on disk, time to open and latency at 10, 50 and 100 %
    Fill(fill::Args),
    /// Purges all under load: how long it takes, and that nothing of it is served again
    Purge(purge::Args),
    /// Compresses realistic answers: ratio and time on the CPU
    Codec(codec::Args),
}

fn main() {
    match Cli::parse().command {
        Some(Command::Churn(args)) => churn::run(&args),
        Some(Command::Fill(args)) => fill::run(&args),
        Some(Command::Purge(args)) => purge::run(&args),
        Some(Command::Codec(args)) => codec::run(&args),
        None => println!("store: long runs, each a command: -- churn | fill | purge | codec"),
    }
}
