//! Asks many questions once, so that their answers are stored.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::json;
use tokio::task::JoinSet;

use crate::client::{Connection, Target};
use crate::figures::millis;
use crate::system::{allow_files, now_ns};

/// What stands in a template for the question's number, eight digits.
const SLOT: &[u8] = b"@@@@@@@@";

#[derive(clap::Args)]
pub struct Args {
    /// Where to ask, such as http://127.0.0.1:9999/v1/chat/completions
    url: Target,
    /// File with a question that has @@@@@@@@ in it, for which a number of eight digits is put in
    #[arg(long)]
    template: PathBuf,
    /// Questions, numbered from 0
    #[arg(long)]
    count: u64,
    /// Connections
    #[arg(long, default_value_t = 32)]
    conns: usize,
}

pub async fn run(args: &Args) {
    allow_files();
    let template = std::fs::read(&args.template).expect("the template");
    let request: Arc<[u8]> = args.url.post(&template).into();
    let at = memchr::memmem::find(&request, SLOT).expect("a place for the number");
    let next = Arc::new(AtomicU64::new(0));
    let began_ns = now_ns();
    let mut workers = JoinSet::new();
    for _ in 0..args.conns {
        let mut connection = Connection::open(&args.url).await.expect("a server");
        let (mut request, next, count) = (request.to_vec(), next.clone(), args.count);
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= count {
                    return;
                }
                let digits = format!("{number:08}");
                request[at..at + SLOT.len()].copy_from_slice(digits.as_bytes());
                let answer = connection.ask(&request).await.expect("an answer");
                assert_eq!(answer.status, 200, "question {number}");
            }
        });
    }
    workers.join_all().await;
    println!(
        "{}",
        json!({"count": args.count, "took_ms": millis(now_ns() - began_ns)})
    );
}
