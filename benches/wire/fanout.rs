//! One streamed question on many connections at once: does everyone get all of it, how much later
//! than it was sent, and what does a follower cost.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::client::{Answer, Connection, Target};
use crate::events;
use crate::figures::{Times, micros, millis, share};
use crate::question::{delays_ns, unique};
use crate::system::{Peak, allow_files, cpu_ns, now_ns, resident_bytes};

#[derive(clap::Args)]
pub struct Args {
    /// The server, such as http://127.0.0.1:9999/v1/chat/completions
    url: Target,
    /// The mock behind it
    #[arg(long)]
    direct: Target,
    /// Connections that ask the same
    #[arg(long, default_value_t = 100)]
    followers: usize,
    /// Events in the stream
    #[arg(long, default_value_t = 200)]
    n: u64,
    /// Milliseconds between two of them
    #[arg(long, default_value_t = 10)]
    gap: u64,
    /// Milliseconds before the first, in which the followers can arrive
    #[arg(long, default_value_t = 200)]
    ttft: u64,
    /// Bytes of the question
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
    /// The server's process, for its memory
    #[arg(long)]
    pid: Option<u32>,
}

pub async fn run(args: &Args) {
    allow_files();
    let settings = format!("/_set?ttft={}&gap={}&n={}", args.ttft, args.gap, args.n);
    args.direct.get(&settings).await;
    let alone = ask(&args.direct, &unique(args.bytes, true)).await;
    let alone_ns = alone.1.end_ns - alone.1.asked_ns;
    let alone_delays = Times::of(delays_ns(&alone.0));
    // The path is warm, and what the first answer of all needs is not counted as the followers'.
    ask(&args.url, &unique(args.bytes, true)).await;

    let asked_before = count(&args.direct).await;
    let before = args.pid.map(resident_bytes);
    let together = Arc::new(Barrier::new(args.followers + 1));
    let request: Arc<[u8]> = args.url.post(&unique(args.bytes, true)).into();
    let mut followers = JoinSet::new();
    for _ in 0..args.followers {
        let mut connection = Connection::open(&args.url).await.expect("a server");
        let (together, request) = (together.clone(), request.clone());
        followers.spawn(async move {
            together.wait().await;
            let answer = connection.ask(&request).await;
            (connection, answer)
        });
    }
    let connected = args.pid.map(resident_bytes);
    let peak = args.pid.map(Peak::of);
    together.wait().await;
    let (began_ns, cpu_before_ns) = (now_ns(), cpu_ns());
    let answers = followers.join_all().await;
    let client_cpu = share(cpu_ns() - cpu_before_ns, now_ns() - began_ns);
    let peak = peak.map(Peak::stop);
    let asked = count(&args.direct).await - asked_before;
    args.direct.get("/_set?ttft=0&gap=0&n=200").await;

    let whole = |(connection, answer): &&(Connection, std::io::Result<Answer>)| {
        let good = answer.as_ref().is_ok_and(|answer| answer.status == 200);
        good && events::is_whole(&connection.body)
    };
    let model = answers.iter().find(whole).expect("one whole answer");
    let model = model.0.body.clone();
    let (mut times, mut first, mut delays) = (Times::new(), Times::new(), Times::new());
    let (mut identical, mut tail_ns) = (0, 0);
    let last_sent_ns = events::sent(&model).last().expect("events").1;
    for (connection, answer) in answers.iter().filter(whole) {
        let answer = answer.as_ref().expect("it is whole");
        identical += usize::from(connection.body == model);
        times.add(answer.end_ns - began_ns);
        first.add(answer.first_ns - began_ns);
        tail_ns = tail_ns.max(answer.end_ns.saturating_sub(last_sent_ns));
        delays_ns(connection)
            .into_iter()
            .for_each(|ns| delays.add(ns));
    }
    let slowest_us = times.max_us();
    let growth = |from: Option<u64>| {
        let growth = peak?.saturating_sub(from?);
        Some(growth / args.followers as u64)
    };
    let line = json!({
        "followers": args.followers,
        "identical": identical,
        "whole": times.count(),
        "bytes": model.len(),
        "upstream_calls": asked,
        "stream_alone_ms": millis(alone_ns),
        "median_ms": (times.us(0.5) / 100.0).round() / 10.0,
        "slowest_ms": (slowest_us / 100.0).round() / 10.0,
        "slowest_over_alone": (slowest_us * 1e3 / alone_ns as f64 * 1e4).round() / 1e4,
        "slowest_behind_last_event_us": micros(tail_ns as i64),
        "client_cpu": client_cpu,
        "first_byte": {"p50_us": first.us(0.5), "max_us": first.max_us()},
        "event_delay": delays.json(),
        "event_delay_alone": alone_delays.json(),
        "rss_before_bytes": before,
        "rss_connected_bytes": connected,
        "rss_peak_bytes": peak,
        "rss_per_follower_bytes": growth(before),
        "rss_per_follower_connected_bytes": growth(connected),
    });
    println!("{line}");
}

async fn ask(target: &Target, body: &[u8]) -> (Connection, Answer) {
    let mut connection = Connection::open(target).await.expect("a server");
    let answer = connection.ask(&target.post(body)).await.expect("an answer");
    assert_eq!(answer.status, 200, "from {target:?}");
    (connection, answer)
}

async fn count(mock: &Target) -> u64 {
    mock.get("/_count").await.parse().expect("a number")
}
