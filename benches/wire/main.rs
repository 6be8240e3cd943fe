//! Both ends of the server on loopback: an upstream, a bare server to compare with, and clients that
//! measure.
//!
//! `cargo bench --profile release --locked --bench wire -- fanout --help`. Clients print one line of
//! JSON; the unit of a figure is the end of its name. Connections are HTTP/1.1, kept alive.

// A measurement that cannot go on says where it stopped.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

mod bare;
mod client;
mod events;
mod fanout;
mod figures;
mod fill;
mod framing;
mod idle;
mod miss;
mod mock;
mod open;
mod question;
mod system;

#[derive(Parser)]
#[command(about = "An upstream and clients. Without a command nothing is measured.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Serves as an upstream: chat completions, streamed and not
    Mock(mock::Args),
    /// Serves a fixed answer with pingora and nothing else
    Bare(bare::Args),
    /// Asks at a fixed rate, whatever the answers do; latency counts from when a request was due
    Open(open::Args),
    /// Asks one streamed question on many connections at once
    Fanout(fanout::Args),
    /// Asks what is not stored, through the server and directly: what the way through it adds
    Miss(miss::Args),
    /// Asks many questions once, so that their answers are stored
    Fill(fill::Args),
    /// Opens connections, has a hit on each, and sees what memory they hold then
    Idle(idle::Args),
}

fn main() {
    let one_thread = || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime")
    };
    match Cli::parse().command {
        Some(Command::Mock(args)) => one_thread().block_on(mock::run(&args)),
        // It has threads of its own.
        Some(Command::Bare(args)) => bare::run(&args),
        Some(Command::Open(args)) => one_thread().block_on(open::run(&args)),
        Some(Command::Fanout(args)) => one_thread().block_on(fanout::run(&args)),
        Some(Command::Miss(args)) => one_thread().block_on(miss::run(&args)),
        Some(Command::Fill(args)) => one_thread().block_on(fill::run(&args)),
        Some(Command::Idle(args)) => one_thread().block_on(idle::run(&args)),
        None => {
            println!("wire: mock | bare | open | fanout | miss | fill | idle, each with --help")
        }
    }
}
