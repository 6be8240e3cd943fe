//! A server under a write-heavy load that is killed again and again, and what it may say after.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;

use super::question::{Dice, Question, ask_truly, hits_among, oracle};
use crate::harness::*;

/// Entries of earlier rounds that are asked for in every round.
const OLD_SAMPLE: u64 = 400;
const CONNECTIONS: usize = 16;

/// How many rounds: `FAULT_ROUNDS`, or these.
pub fn rounds(otherwise: usize) -> usize {
    let set = std::env::var("FAULT_ROUNDS").ok();
    set.map_or(otherwise, |n| n.parse().expect("FAULT_ROUNDS is a number"))
}

/// `FAULT_SEED`, or one that was not there yet; printed either way.
fn seed() -> u64 {
    let set = std::env::var("FAULT_SEED").ok();
    let seed = set.map_or_else(
        || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            now.as_nanos() as u64 % 1_000_000_007
        },
        |n| n.parse().expect("FAULT_SEED is a number"),
    );
    println!("FAULT_SEED={seed}");
    seed
}

pub struct Siege {
    pub proxy: Proxy,
    pub dice: Dice,
    origin: Origin,
    /// The number of the next question.
    next: AtomicU64,
    /// Numbers from here on belong to the round.
    first: u64,
    pub hits: usize,
}

impl Siege {
    /// A server with a small disk, so that segments are evicted and files go all the time.
    pub async fn begin() -> Self {
        let origin = oracle().await;
        let proxy = proxy()
            .upstream(&origin)
            .set("store.disk_bytes_max", "64MiB")
            .set("store.memory_bytes_max", "32MiB")
            .start()
            .await;
        Self {
            proxy,
            dice: Dice::new(seed()),
            origin,
            next: AtomicU64::new(0),
            first: 0,
            hits: 0,
        }
    }

    /// Loads the server for this long and kills it in the middle. Whatever was answered in full was
    /// the truth.
    pub async fn load_and_kill(&mut self, moment: Duration) {
        self.origin.forget();
        self.first = self.next.load(Ordering::Relaxed);
        let stop = AtomicBool::new(false);
        let load = async || {
            // A connection ends with the server; the next one is made until the round is over.
            while !stop.load(Ordering::Relaxed) {
                let Ok(stream) = tokio::net::TcpStream::connect(self.proxy.addr).await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let mut h1 = H1::over(Box::new(stream));
                while self.ask_next(&mut h1).await {}
            }
        };
        let kill = async {
            // The instant is the dice's; nothing waits for it.
            tokio::time::sleep(moment).await;
            self.proxy.kill9();
            stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(join_all((0..CONNECTIONS).map(|_| load())), kill);
        self.proxy.exits_within(ms(10_000)).await;
    }

    /// Asks a new question, now and then an old one; false once the connection is gone.
    async fn ask_next(&self, h1: &mut H1) -> bool {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let number = match number % 8 {
            7 => number / 2,
            _ => number,
        };
        let question = Question::mixed(number);
        match h1.try_ask(&question.ask()).await {
            Ok(answer) if answer.end == End::Clean => {
                question.is_answered(&answer);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Kills the server that is still starting, after this long.
    pub async fn kill_at_start(&mut self, moment: Duration) {
        self.proxy.begin_again();
        tokio::time::sleep(moment).await;
        self.proxy.kill9();
        self.proxy.exits_within(ms(10_000)).await;
    }

    /// Asks the cache for everything of this round and for some of what was before: each hit is
    /// the whole truth. How many hits there were among how many.
    pub async fn check(&mut self) -> (usize, usize) {
        let asked = self.next.load(Ordering::Relaxed);
        let mut numbers: HashSet<u64> = (self.first..asked).collect();
        for _ in 0..OLD_SAMPLE.min(self.first) {
            numbers.insert(self.dice.roll(self.first));
        }
        let count = numbers.len();
        let hits = hits_among(&self.proxy, numbers.into_iter().map(Question::mixed)).await;
        self.hits += hits.len();
        (hits.len(), count)
    }

    /// The server serves what it is asked, old and new.
    pub async fn serves(&mut self) {
        let asked = self.next.fetch_add(20, Ordering::Relaxed);
        let old = (0..20).map(|_| self.dice.roll(asked.max(1)));
        let numbers: Vec<u64> = old.chain(asked..asked + 20).collect();
        ask_truly(&self.proxy, 4, numbers.into_iter().map(Question::mixed)).await;
    }
}
