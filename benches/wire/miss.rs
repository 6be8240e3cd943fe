//! What the way through the server adds to an answer it has to fetch: on one connection to it and one
//! to the mock, asked in turn, so that whatever else the machine does meets both.

use serde_json::{Value, json};

use crate::client::{Connection, Target};
use crate::figures::{Times, micros};
use crate::question::{delays_ns, unique};

/// Asked and not counted: connections to the upstream, allocations, what is in the CPU's caches.
const WARM: usize = 10;

#[derive(clap::Args)]
pub struct Args {
    /// The server, such as http://127.0.0.1:9999/v1/chat/completions
    url: Target,
    /// The mock behind it
    #[arg(long)]
    direct: Target,
    /// Questions of each kind, each way
    #[arg(long, default_value_t = 300)]
    count: usize,
    /// Streams with pauses, each way
    #[arg(long, default_value_t = 5)]
    streams: usize,
    /// Milliseconds between the events of these
    #[arg(long, default_value_t = 5)]
    gap: u64,
    /// Events in each of these
    #[arg(long, default_value_t = 200)]
    n: u64,
    /// Bytes of a question
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
}

/// The same figure both ways.
struct Both {
    through: Times,
    direct: Times,
}

pub async fn run(args: &Args) {
    let mut pair = [
        (args.url.clone(), Connection::open(&args.url).await),
        (args.direct.clone(), Connection::open(&args.direct).await),
    ]
    .map(|(target, connection)| (target, connection.expect("a server")));
    args.direct.get("/_set?ttft=0&gap=0&n=200").await;
    let mut line = json!({"bytes": args.bytes, "count": args.count});
    for (name, stream) in [("plain", false), ("stream", true)] {
        let (mut first, mut end) = (Both::new(), Both::new());
        for number in 0..args.count + WARM {
            for (way, (target, connection)) in pair.iter_mut().enumerate() {
                let request = target.post(&unique(args.bytes, stream));
                let answer = connection.ask(&request).await.expect("an answer");
                assert_eq!(answer.status, 200, "from {target:?}");
                if number >= WARM {
                    first.add(way, answer.first_ns - answer.asked_ns);
                    end.add(way, answer.end_ns - answer.asked_ns);
                }
            }
        }
        line[name] = json!({"first_byte": first.json(), "whole": end.json()});
    }

    let (gap, n) = (args.gap, args.n);
    let settings = format!("/_set?ttft=0&gap={gap}&n={n}");
    args.direct.get(&settings).await;
    let mut events = Both::new();
    for _ in 0..args.streams {
        for (way, (target, connection)) in pair.iter_mut().enumerate() {
            let request = target.post(&unique(args.bytes, true));
            connection.ask(&request).await.expect("an answer");
            let delays = delays_ns(connection);
            assert_eq!(delays.len() as u64, n, "events");
            // The first is what `stream` above says.
            delays.iter().skip(1).for_each(|ns| events.add(way, *ns));
        }
    }
    args.direct.get("/_set?ttft=0&gap=0&n=200").await;
    line["chunks"] = json!({"gap_ms": gap, "streams": args.streams, "delay": events.json()});
    println!("{line}");
}

impl Both {
    fn new() -> Both {
        Both {
            through: Times::new(),
            direct: Times::new(),
        }
    }

    fn add(&mut self, way: usize, nanos: u64) {
        match way {
            0 => self.through.add(nanos),
            _ => self.direct.add(nanos),
        }
    }

    /// What is added is the difference of the percentiles, not a percentile of differences: the two
    /// answers of a pair have nothing to do with each other.
    fn json(&self) -> Value {
        let added = |share| {
            let added = self.through.us(share) - self.direct.us(share);
            micros((added * 1e3) as i64)
        };
        json!({
            "added_p50_us": added(0.5),
            "added_p99_us": added(0.99),
            "through": self.through.json(),
            "direct": self.direct.json(),
        })
    }
}
