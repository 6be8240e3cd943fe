//! What a connection holds on to that has had a hit and is idle.
//!
//! For a server just started: one that has had more connections has memory over for these.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::client::{Connection, Target};
use crate::question::unique;
use crate::system::{allow_files, resident_bytes};

#[derive(clap::Args)]
pub struct Args {
    /// The server, such as http://127.0.0.1:9999/v1/chat/completions
    url: Target,
    /// Its process
    #[arg(long)]
    pid: u32,
    /// Connections
    #[arg(long, default_value_t = 1000)]
    conns: usize,
    /// Bytes of the question
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
    /// Asks for a stream, 50 KB with the mock's settings; else the answer has 2 KB
    #[arg(long)]
    stream: bool,
    /// Seconds until the memory is looked at once more: the allocator gives back over ten seconds
    #[arg(long, default_value_t = 12)]
    settle: u64,
}

pub async fn run(args: &Args) {
    allow_files();
    let request = args.url.post(&unique(args.bytes, args.stream));
    let open = async || Connection::open(&args.url).await.expect("a server");
    // The answer is stored, and what the first hits need is there.
    let mut first = open().await;
    for _ in 0..10 {
        let answer = first.ask(&request).await.expect("an answer");
        assert_eq!(answer.status, 200);
    }
    let answer_bytes = first.body.len();
    let before = resident_bytes(args.pid);
    let mut idle = Vec::with_capacity(args.conns);
    for _ in 0..args.conns {
        idle.push(open().await);
    }
    sleep(Duration::from_millis(200)).await;
    let connected = resident_bytes(args.pid);
    for connection in &mut idle {
        let answer = connection.ask(&request).await.expect("an answer");
        assert_eq!((answer.status, connection.body.len()), (200, answer_bytes));
        connection.body = Vec::new();
    }
    let after = resident_bytes(args.pid);
    sleep(Duration::from_secs(args.settle)).await;
    let settled = resident_bytes(args.pid);
    let each = |bytes: u64| bytes.saturating_sub(before) / args.conns as u64;
    let line = json!({
        "conns": args.conns,
        "question_bytes": args.bytes,
        "answer_bytes": answer_bytes,
        "rss_before_bytes": before,
        "per_conn_before_hit_bytes": each(connected),
        "per_conn_after_hit_bytes": each(after),
        "per_conn_settled_bytes": each(settled),
        "settle_secs": args.settle,
    });
    println!("{line}");
    drop(idle);
}
