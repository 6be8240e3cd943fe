//! An open loop: requests are due at fixed times, whatever the answers do.
//!
//! A closed loop asks less while the server is slow, and so leaves out the very times that count. Here
//! a request that has to wait for a free connection has waited, and its latency says so.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinSet, LocalSet, yield_now};
use tokio::time::timeout;

use crate::client::{Connection, Target};
use crate::figures::{Times, share};
use crate::system::{Alarm, allow_files, cpu_ns, now_ns};

/// Requests that wait for a connection. Beyond this the generator itself waits, which only delays
/// what is late already.
const WAITING_MAX: usize = 100_000;
/// From the last request that was due to the end of the measurement.
const DRAIN_MAX: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub struct Args {
    /// Where to ask, such as http://127.0.0.1:9999/v1/chat/completions
    url: Target,
    /// File with the body of each request
    #[arg(long)]
    body: PathBuf,
    /// Connections, which bound how many requests are under way at once
    #[arg(long, default_value_t = 64)]
    conns: usize,
    /// Requests a second
    #[arg(long)]
    rate: f64,
    /// For so long
    #[arg(long, default_value_t = 10.0)]
    secs: f64,
    /// Never sleeps, at the cost of a core: a virtual machine that sleeps takes some 50 µs to wake, which
    /// are in the latencies otherwise (and as `wait` beside them)
    #[arg(long)]
    spin: bool,
}

#[derive(Default)]
struct Tally {
    latency: Option<Times>,
    /// From when a request was due to when a connection took it on.
    wait: Option<Times>,
    refused: u64,
    broken: u64,
    last_ns: u64,
}

pub async fn run(args: &Args) {
    allow_files();
    LocalSet::new().run_until(measure(args)).await;
}

async fn measure(args: &Args) {
    let body = std::fs::read(&args.body).expect("the file with the body");
    let request = Rc::new(args.url.post(&body));
    let tally = Rc::new(Mutex::new(Tally {
        latency: Some(Times::new()),
        wait: Some(Times::new()),
        ..Tally::default()
    }));
    let (due, next) = mpsc::channel::<u64>(WAITING_MAX);
    let next = Rc::new(Mutex::new(next));
    let mut workers = JoinSet::new();
    for _ in 0..args.conns {
        let mut connection = Connection::open(&args.url).await.expect("a server");
        // Its first request is the connection's, not the load's.
        let warm = connection.ask(&request).await.expect("an answer");
        assert_eq!(warm.status, 200, "the first answer");
        let (request, next, tally) = (request.clone(), next.clone(), tally.clone());
        let url = args.url.clone();
        workers.spawn_local(async move {
            // The lock is fair: who has been free for longest is next.
            while let Some(due_ns) = { next.lock().await.recv().await } {
                let asked_ns = now_ns();
                let answer = connection.ask(&request).await;
                let mut tally = tally.lock().await;
                match answer {
                    Ok(answer) if answer.status == 200 => {
                        tally.last_ns = answer.end_ns;
                        let latency = answer.end_ns - due_ns;
                        tally.latency.as_mut().expect("times").add(latency);
                        tally.wait.as_mut().expect("times").add(asked_ns - due_ns);
                    }
                    Ok(_) => tally.refused += 1,
                    Err(_) => {
                        tally.broken += 1;
                        drop(tally);
                        match Connection::open(&url).await {
                            Ok(again) => connection = again,
                            Err(_) => return,
                        }
                    }
                }
            }
        });
    }

    let count = (args.rate * args.secs) as u64;
    let cpu_before_ns = cpu_ns();
    let began_ns = now_ns() + 1_000_000;
    let alarm = Alarm::new();
    for number in 0..count {
        let due_ns = began_ns + (number as f64 * 1e9 / args.rate) as u64;
        while args.spin && now_ns() < due_ns {
            yield_now().await;
        }
        alarm.until(due_ns).await;
        if due.send(due_ns).await.is_err() {
            break;
        }
    }
    drop(due);
    let drained = async { while workers.join_next().await.is_some() {} };
    let _ = timeout(DRAIN_MAX, drained).await;
    let cpu_ns = cpu_ns() - cpu_before_ns;
    workers.shutdown().await;

    let mut tally = tally.lock().await;
    let (latency, wait) = (tally.latency.take(), tally.wait.take());
    let (latency, wait) = (latency.expect("times"), wait.expect("times"));
    let span_ns = tally.last_ns.saturating_sub(began_ns).max(1);
    let unanswered = count - latency.count() - tally.refused - tally.broken;
    let mut line = json!({
        "rate_asked": args.rate,
        "rate": (latency.count() as f64 * 1e9 / span_ns as f64).round(),
        "conns": args.conns,
        "answered": latency.count(),
        "errors": tally.refused + tally.broken + unanswered,
        "refused": tally.refused,
        "broken": tally.broken,
        "unanswered": unanswered,
        "client_cpu": share(cpu_ns, span_ns),
        "wait_p50_us": wait.us(0.5),
        "wait_p99_us": wait.us(0.99),
    });
    let times = latency.json();
    line.as_object_mut()
        .expect("an object")
        .extend(times.as_object().expect("an object").clone());
    println!("{line}");
}
