//! A slow disk, up to one that never answers, is nobody's business but the disk's.

use std::time::{Duration, Instant};

use super::question::{Question, ask_truly, oracle};
use super::shim::{FaultyDisk, proxy_on};
use crate::harness::*;

const SMALL: u64 = 2_000;

/// The n-th of the questions that are asked beforehand.
fn known(n: u64) -> Question {
    Question::of(n, SMALL)
}

/// The n-th of the questions that nobody asked before.
fn new(n: u64) -> Question {
    Question::of(1_000_000 + n, SMALL)
}

async fn written(proxy: &Proxy, answers: usize) {
    proxy
        .reaches("llm_cache_store_writes_total", answers as f64)
        .await;
}

#[tokio::test]
async fn with_a_disk_that_hangs_hits_and_misses_go_on() {
    const HOT: u64 = 100;
    let disk = FaultyDisk::new();
    let origin = oracle().await;
    let mut proxy = proxy_on(&disk, &origin).await;
    ask_truly(&proxy, 8, (0..HOT).map(known)).await;
    written(&proxy, HOT as usize).await;
    disk.blocks();
    let first = ask_truly(&proxy, 1, [new(0)]).await;
    assert_eq!(first["miss"], 1);
    disk.holds_something().await;
    for round in 0..4 {
        let news = (1..=100).map(|n| new(round * 100 + n));
        let seen = ask_truly(&proxy, 8, news.clone()).await;
        assert_eq!(seen["miss"], 100, "{seen:?}");
        // Finished answers are hits, whatever the disk does.
        let seen = ask_truly(&proxy, 8, (0..HOT).map(known).chain(news)).await;
        assert_eq!(seen["hit"], 200, "{seen:?}");
    }
    proxy.admin_get("/readyz").await.is_clean(200);
    proxy.metrics().await;
    assert!(disk.waiting() > 0, "the disk was not held up all the time");
    disk.releases();
    written(&proxy, HOT as usize + 401).await;
    proxy.restart().await;
    let all = (0..HOT).map(known).chain((0..=400).map(new));
    let seen = ask_truly(&proxy, 8, all).await;
    assert_eq!(seen["hit"], HOT as usize + 401, "{seen:?}");
}

#[tokio::test]
async fn with_a_slow_disk_hits_and_misses_do_not_wait_for_it() {
    const COUNT: u64 = 300;
    const DELAY: Duration = ms(300);
    let disk = FaultyDisk::new();
    let origin = oracle().await;
    let proxy = proxy_on(&disk, &origin).await;
    ask_truly(&proxy, 1, [known(0)]).await;
    written(&proxy, 1).await;
    disk.delays(DELAY);
    let before = disk.operations();
    let started = Instant::now();
    // One at a time: any that waited for the disk once would cost one delay.
    let seen = ask_truly(&proxy, 1, (0..COUNT).map(new)).await;
    assert_eq!(seen["miss"] as u64, COUNT, "{seen:?}");
    let seen = ask_truly(&proxy, 1, (0..COUNT).map(new)).await;
    assert_eq!(seen["hit"] as u64, COUNT, "{seen:?}");
    let took = started.elapsed();
    let operations = disk.operations() - before;
    // A tenth of what it would take if all waited, on the slowest of machines.
    assert!(
        took < DELAY * (COUNT as u32) / 5,
        "{COUNT} misses and as many hits took {took:?} with {operations} slow operations"
    );
    disk.mends();
    written(&proxy, COUNT as usize + 1).await;
}

/// After a restart nothing is in memory: what is known, and what is not, only the disk can tell.
#[tokio::test]
async fn what_a_hanging_disk_does_not_tell_the_upstream_does() {
    const KNOWN: u64 = 150;
    let disk = FaultyDisk::new();
    let origin = oracle().await;
    let mut proxy = proxy_on(&disk, &origin).await;
    ask_truly(&proxy, 8, (0..KNOWN).map(known)).await;
    written(&proxy, KNOWN as usize).await;
    proxy.restart().await;
    disk.blocks();
    // More at once than the store reads at once.
    let seen = ask_truly(&proxy, 100, (0..KNOWN).map(known).chain((0..50).map(new))).await;
    println!("with the disk blocked after a restart: {seen:?}");
    let seen = ask_truly(&proxy, 8, (0..KNOWN).map(known).chain((0..50).map(new))).await;
    assert_eq!(seen["hit"] as u64, KNOWN + 50, "{seen:?}");
    disk.releases();
    proxy.restart().await;
    ask_truly(&proxy, 8, (0..KNOWN).map(known).chain((0..50).map(new))).await;
}

/// Times in order, and the one at this share of them.
struct Times(Vec<Duration>);

impl Times {
    fn at(&self, share: f64) -> Duration {
        self.0[((self.0.len() - 1) as f64 * share) as usize]
    }

    fn row(&self, what: &str) -> String {
        let us = |share| self.at(share).as_micros();
        format!(
            "{what:<34} {:>7} {:>9} {:>9} {:>9} {:>9}",
            self.0.len(),
            us(0.5),
            us(0.9),
            us(0.99),
            us(1.0)
        )
    }
}

/// One subject of the measurement with its connection.
struct Subject {
    h1: H1,
    hits: Vec<Duration>,
    misses: Vec<Duration>,
}

impl Subject {
    async fn before(addr: std::net::SocketAddr) -> Self {
        Self {
            h1: H1::connect(addr).await,
            hits: Vec::new(),
            misses: Vec::new(),
        }
    }

    async fn time(&mut self, question: Question, outcome: &str) -> Duration {
        let ask = question.ask();
        let started = Instant::now();
        let answer = self.h1.ask(&ask).await;
        let took = started.elapsed();
        question.is_answered(&answer);
        assert_eq!(answer.outcome(), outcome, "{}", answer.dump());
        took
    }
}

/// One measures: a server on a slow disk, one on the same disk without delay, and the upstream
/// asked directly, in turns.
#[tokio::test]
#[ignore = "it measures time: nothing may run beside it"]
async fn with_100_ms_on_every_disk_operation_hits_and_misses_are_as_quick() {
    const HOT: u64 = 200;
    const TURNS: u64 = 200;
    let _turn = alone().await;
    let disks = [FaultyDisk::new(), FaultyDisk::new()];
    let origin = oracle().await;
    let proxies = [
        proxy_on(&disks[0], &origin).await,
        proxy_on(&disks[1], &origin).await,
    ];
    for proxy in &proxies {
        ask_truly(proxy, 8, (0..HOT).map(known)).await;
        written(proxy, HOT as usize).await;
    }
    disks[1].delays(ms(100));
    let before = disks[1].operations();
    let mut direct = Subject::before(origin.addr).await;
    let mut subjects = [
        Subject::before(proxies[0].addr).await,
        Subject::before(proxies[1].addr).await,
    ];
    for turn in 0..TURNS {
        for subject in &mut subjects {
            for n in 0..30 {
                let question = new(turn * 30 + n);
                let took = subject.time(question, "miss").await;
                // The first one of a turn finds cold caches of the processor.
                if n > 0 {
                    subject.misses.push(took);
                }
            }
            for n in 0..2 * HOT {
                let took = subject.time(known(n % HOT), "hit").await;
                if n > 0 {
                    subject.hits.push(took);
                }
            }
        }
        for n in 0..30 {
            let took = direct.time(new(turn * 30 + n), "").await;
            if n > 0 {
                direct.misses.push(took);
            }
        }
        origin.forget();
    }
    let operations = disks[1].operations() - before;
    let sorted = |times: &mut Vec<Duration>| {
        times.sort();
        Times(std::mem::take(times))
    };
    let [undelayed, delayed] = &mut subjects;
    let hits = [sorted(&mut undelayed.hits), sorted(&mut delayed.hits)];
    let misses = [sorted(&mut undelayed.misses), sorted(&mut delayed.misses)];
    let upstream = sorted(&mut direct.misses);
    println!(
        "{:<34} {:>7} {:>9} {:>9} {:>9} {:>9}",
        "microseconds", "count", "p50", "p90", "p99", "max"
    );
    println!("{}", hits[0].row("hot hits, disk as it is"));
    println!("{}", hits[1].row("hot hits, 100 ms per operation"));
    println!("{}", misses[0].row("misses, disk as it is"));
    println!("{}", misses[1].row("misses, 100 ms per operation"));
    println!("{}", upstream.row("the upstream asked directly"));
    let ratio = hits[1].at(0.99).as_secs_f64() / hits[0].at(0.99).as_secs_f64();
    println!(
        "p99 of hot hits: {ratio:.2} times the undelayed; {operations} operations were delayed"
    );
    assert!(operations > 50, "the disk was hardly used: {operations}");
    assert!(
        ratio <= 1.5,
        "p99 of hot hits is {ratio:.2} times the undelayed one"
    );
    let no_slower = |misses: &Times, shares: &[f64]| {
        for share in shares {
            let (miss, asked) = (misses.at(*share), upstream.at(*share));
            assert!(
                miss <= asked + ms(5),
                "at {share} a miss takes {miss:?}, the upstream {asked:?}"
            );
        }
    };
    no_slower(&misses[1], &[0.5, 0.99]);
    // After a restart nothing is in memory, not even where things are.
    let [_, mut proxy] = proxies;
    disks[1].mends();
    proxy.restart().await;
    disks[1].delays(ms(100));
    let mut cold = Subject::before(proxy.addr).await;
    for n in 0..HOT {
        let question = new(1_000_000 + n);
        let took = cold.time(question, "miss").await;
        cold.misses.push(took);
    }
    for n in 0..HOT {
        let started = Instant::now();
        ask_truly(&proxy, 1, [known(n)]).await;
        cold.hits.push(started.elapsed());
    }
    let (hits, misses) = (sorted(&mut cold.hits), sorted(&mut cold.misses));
    println!("{}", misses.row("misses after a restart, 100 ms"));
    println!("{}", hits.row("known only to the disk, 100 ms"));
    // The first ones read filters and indexes in.
    no_slower(&misses, &[0.5]);
}
