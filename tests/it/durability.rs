//! What was answered is there after a restart, whole or not at all, however the server ended.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::harness::*;

/// Connections that load a server.
const CONNECTIONS: usize = 32;

/// Asks `count` questions, each once, over [`CONNECTIONS`] connections, and checks every answer.
async fn ask_each(
    proxy: &Proxy,
    count: usize,
    ask: impl Fn(usize) -> Ask,
    check: impl Fn(usize, &Answer),
) {
    let next = AtomicUsize::new(0);
    let worker = async || {
        let mut h1 = proxy.h1().await;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            check(number, &h1.ask(&ask(number)).await);
        }
    };
    join_all((0..CONNECTIONS).map(|_| worker())).await;
}

#[tokio::test]
async fn ten_thousand_entries_are_all_hits_after_a_restart() {
    const ENTRIES: usize = 10_000;
    let _turn = alone().await;
    let started = Instant::now();
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    let ask = |n: usize| {
        let question = format!("one of many: {n}");
        if n.is_multiple_of(4) {
            chat_stream(&question)
        } else {
            chat(&question)
        }
    };
    ask_each(&proxy, ENTRIES, ask, |_, answer| {
        answer.is(200, "miss");
    })
    .await;
    origin.was_called(ENTRIES);
    proxy.restart().await;
    let exchanges = origin.exchanges();
    let by_body: HashMap<_, _> = exchanges
        .iter()
        .map(|e| (e.call.body.clone(), e.sent.borrow().0.clone()))
        .collect();
    ask_each(&proxy, ENTRIES, ask, |n, answer| {
        answer.is(200, "hit");
        assert!(
            answer.body == by_body[&ask(n).body],
            "{n} changed: {}",
            answer.dump()
        );
    })
    .await;
    origin.was_called(ENTRIES);
    let metrics = proxy.metrics().await;
    assert_eq!(
        metrics.value("llm_cache_store_entries{tier=\"disk\"}"),
        ENTRIES as f64
    );
    assert_eq!(metrics.value("llm_cache_store_corrupt_records_total"), 0.0);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(60), "took {took:?}");
}

#[tokio::test]
async fn large_answers_and_streams_survive_a_restart() {
    let long = |call: &Call| match call.streams() {
        true => llm::chat_stream(call, 20_000),
        false => {
            let mut value = llm::chat_value(call);
            value["choices"][0]["message"]["content"] = "long ".repeat(400_000).into();
            Reply::json(200, value)
        }
    };
    let origin = origin().answer(long).start().await;
    let mut proxy = proxy_before(&origin).await;
    let asks = [chat("large"), chat_stream("large")];
    let misses = ask_all(&proxy, &asks).await;
    proxy.restart().await;
    for (ask, miss) in asks.iter().zip(&misses) {
        miss.is(200, "miss");
        let hit = proxy.ask(ask).await;
        hit.is(200, "hit");
        assert!(
            hit.body == miss.body,
            "{} bytes became {}",
            miss.body.len(),
            hit.body.len()
        );
        assert_eq!(hit.field("content-type"), miss.field("content-type"));
        assert_eq!(hit.field("x-llm-cache-key"), miss.field("x-llm-cache-key"));
    }
    origin.was_called(2);
}

/// A small generator, so that a failing run can be told from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Answers of very different sizes; the call number is in each.
fn mixed(call: &Call) -> Reply {
    let words = call.body.len() % 7 * (call.number % 5) * 40;
    match call.streams() {
        // One in three takes its time, so that a kill meets it under way.
        true if call.number.is_multiple_of(3) => llm::chat_stream(call, 20).paced(ms(1)),
        true => llm::chat_stream(call, words + 1),
        false => {
            let mut value = llm::chat_value(call);
            value["choices"][0]["message"]["content"] = "word ".repeat(words * 20 + 1).into();
            Reply::json(200, value)
        }
    }
}

#[tokio::test]
async fn after_kill_9_under_load_every_hit_is_whole_and_true() {
    const ROUNDS: usize = 20;
    let _turn = alone().await;
    let seed = u64::from(std::process::id()) | 1;
    let mut dice = Dice(seed);
    let origin = origin().answer(mixed).start().await;
    let mut proxy = proxy_before(&origin).await;
    let ask = |n: usize| {
        let question = format!("{n} {}", "padding ".repeat(n % 11));
        if n.is_multiple_of(2) {
            chat_stream(&question)
        } else {
            chat(&question)
        }
    };
    let asked = AtomicUsize::new(0);
    let (mut hits, mut checked) = (0, 0);
    for round in 0..ROUNDS {
        let stop = AtomicBool::new(false);
        let load = async || {
            // A connection ends with the server; the next one is made until the round is over.
            while !stop.load(Ordering::Relaxed) {
                let Ok(stream) = tokio::net::TcpStream::connect(proxy.addr).await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let mut h1 = H1::over(Box::new(stream));
                loop {
                    let number = asked.fetch_add(1, Ordering::Relaxed);
                    match h1.try_ask(&ask(number)).await {
                        Ok(answer) if answer.end == End::Clean => {
                            answer.is_clean(200);
                        }
                        Ok(_) | Err(_) => break,
                    }
                }
            }
        };
        let moment = ms(20 + dice.roll(250));
        let killed = async {
            tokio::time::sleep(moment).await;
            proxy.kill9();
            stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(join_all((0..16).map(|_| load())), killed);
        proxy.exits_within(ms(5_000)).await;
        proxy.start_again().await;
        let exchanges = origin.exchanges();
        let first = checked;
        checked = asked.load(Ordering::Relaxed);
        // Entries of earlier rounds live through every later kill: a sample of them each time.
        let old = (0..first).filter(|n| (n + round).is_multiple_of(23));
        let mut h1 = proxy.h1().await;
        for number in old.chain(first..checked) {
            let only = ask(number).cache_control("only-if-cached");
            let answer = h1.ask(&only).await;
            if answer.head.status == 504 {
                continue;
            }
            answer.is(200, "hit");
            hits += 1;
            let exchange = &exchanges[answer.call() - 1];
            assert_eq!(
                exchange.call.body,
                ask(number).body,
                "the answer to another question"
            );
            let (sent, end) = exchange.sent.borrow().clone();
            let whole = end == Some(Sent::Whole) && answer.body == sent;
            assert!(
                whole,
                "round {round}, seed {seed}: {end:?}{}",
                answer.dump()
            );
        }
    }
    assert!(
        hits > ROUNDS,
        "{hits} hits of {checked} questions: nothing was stored at all"
    );
}

#[tokio::test]
async fn an_entry_on_disk_outlives_kill_9() {
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    for n in 0..50 {
        proxy.ask(&chat(&format!("kept {n}"))).await.is(200, "miss");
    }
    proxy.reaches("llm_cache_store_writes_total", 50.0).await;
    proxy.kill9();
    proxy.exits_within(ms(5_000)).await;
    proxy.start_again().await;
    for n in 0..50 {
        proxy.ask(&chat(&format!("kept {n}"))).await.is(200, "hit");
    }
    origin.was_called(50);
}

#[tokio::test]
async fn a_refreshed_entry_stays_refreshed_after_a_restart() {
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    let ask = chat("refreshed");
    proxy.ask(&ask).await.is(200, "miss");
    proxy
        .ask(&ask.clone().cache_control("no-cache"))
        .await
        .is(200, "refresh");
    proxy.restart().await;
    assert_eq!(proxy.ask(&ask).await.is(200, "hit").call(), 2);
}

#[tokio::test]
async fn a_store_that_goes_away_fails_no_request() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    proxy.ask(&chat("before")).await.is(200, "miss");
    std::fs::remove_dir_all(proxy.path("data")).unwrap();
    std::fs::write(proxy.path("data"), "no directory").unwrap();
    for n in 0..200 {
        let ask = chat_of_size(&format!("after {n}"), 20_000);
        proxy.ask(&ask).await.is(200, "miss");
        // Memory still serves what it holds.
        proxy.ask(&ask).await.is(200, "hit");
    }
    proxy.ask(&chat("before")).await.is_clean(200);
}

/// Flips bits in the first half of every file below `folder` that is large enough to hold mostly
/// entries there; how many files that were.
fn damage(folder: &Path) -> usize {
    let mut damaged = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            damaged += damage(&path);
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        if bytes.len() < 128 * 1024 {
            continue;
        }
        for at in (bytes.len() / 4..bytes.len() / 2).step_by(9_973) {
            bytes[at] ^= 0x20;
        }
        std::fs::write(&path, bytes).unwrap();
        damaged += 1;
    }
    damaged
}

#[tokio::test]
async fn damaged_files_cost_entries_and_never_an_answer() {
    const ENTRIES: usize = 40;
    let noisy = |call: &Call| {
        let mut dice = Dice(call.number as u64 | 1 << 40);
        let noise: String = (0..4_000)
            .map(|_| format!("{:x} ", dice.roll(u64::MAX)))
            .collect();
        let mut value = llm::chat_value(call);
        value["choices"][0]["message"]["content"] = noise.into();
        Reply::json(200, value)
    };
    let origin = origin().answer(noisy).start().await;
    let mut proxy = proxy_before(&origin).await;
    let ask = |n: usize| chat(&format!("damaged {n}"));
    for n in 0..ENTRIES {
        proxy.ask(&ask(n)).await.is(200, "miss");
    }
    proxy.sigterm();
    proxy.exits_within(ms(10_000)).await;
    assert!(damage(&proxy.path("data")) > 0, "no file holds the entries");
    proxy.start_again().await;
    let exchanges = origin.exchanges();
    for n in 0..ENTRIES {
        let answer = proxy.ask(&ask(n)).await;
        answer.is_clean(200);
        if answer.outcome() == "hit" {
            let exchange = &exchanges[answer.call() - 1];
            assert_eq!(exchange.call.body, ask(n).body);
            assert!(
                answer.body == exchange.sent.borrow().0,
                "a damaged answer was served"
            );
        }
        proxy.ask(&ask(n)).await.is(200, "hit");
    }
    assert!(
        origin.count() > ENTRIES,
        "the damage cost nothing: the test damages the wrong bytes"
    );
}
