//! What scripts/bench/guard.py counts the instructions of: `guard CASE COUNT`.
//!
//! Only [`measured`] counts, whatever is made ready before it.

// A measurement that cannot go on says where it stopped.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::hint::black_box;

use clap::{Parser, ValueEnum};
use llm_cache_server::key::canonical::{Sorting, canonicalize};
use llm_cache_server::store::record::Record;

#[path = "../parts/answers.rs"]
mod answers;
#[path = "../parts/chat.rs"]
mod chat;

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const RECORDS: u64 = 1000;

#[derive(Parser)]
#[command(
    about = "Does one thing some times, for valgrind to count. Without a case nothing is done."
)]
struct Cli {
    case: Option<Case>,
    #[arg(default_value_t = 1)]
    count: u64,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Case {
    /// From a body of 1 KB to its digest
    #[value(name = "key-1k")]
    Key1k,
    /// From a body of 100 KB to its digest
    #[value(name = "key-100k")]
    Key100k,
    /// A record of 2 KB read and checked
    RecordDecode,
    /// A look-up in memory
    GetHot,
    /// A stream of 50 KB judged, event by event
    Judge,
}

/// Does it `count` times. A function of its own in the binary, found there by its name.
#[inline(never)]
fn measured(count: u64, each: &mut dyn FnMut()) {
    for _ in 0..count {
        each();
    }
}

fn main() {
    let cli = Cli::parse();
    let Some(case) = cli.case else {
        println!("guard: a case for each count of instructions, see `make bench-guard`");
        return;
    };
    // The first time is not like the others: memory is taken, tables are made.
    let run = |each: &mut dyn FnMut()| {
        each();
        measured(cli.count, each);
    };
    match case {
        Case::Key1k => run(&mut digest(1_000)),
        Case::Key100k => run(&mut digest(100_000)),
        Case::RecordDecode => {
            let record = answers::record(1);
            let encoded = record.encode();
            run(&mut || {
                black_box(Record::decode_for(&record.key, black_box(&encoded)).expect("a record"));
            });
        }
        Case::GetHot => {
            let (store, _dir) = answers::store(RECORDS);
            let mut keys = (0..RECORDS).map(answers::key).collect::<Vec<_>>();
            keys.rotate_left(1);
            let mut turns = keys.iter().cycle();
            run(&mut || {
                let key = turns.next().expect("keys without end");
                black_box(store.get_hot(key).expect("it is in memory"));
            });
            store.close();
        }
        Case::Judge => {
            let events = answers::stream();
            run(&mut || answers::judge(black_box(&events)));
        }
    }
}

fn digest(len: usize) -> impl FnMut() {
    let body = chat::body(len, false);
    move || {
        let canonical = canonicalize(
            black_box(body.as_bytes()),
            chat::IGNORED,
            Sorting::Everywhere,
        );
        black_box(canonical.map(|canonical| canonical.digest_without(&[])))
            .expect("a chat request");
    }
}
