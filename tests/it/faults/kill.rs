//! `kill -9` at any instant: what is stored is whole or is not there.

use std::time::Instant;

use super::siege::{Siege, rounds};
use crate::harness::*;

#[tokio::test]
async fn whatever_the_instant_of_a_kill_every_hit_is_the_whole_truth() {
    let rounds = rounds(4);
    let _turn = alone().await;
    let mut siege = Siege::begin().await;
    println!("round  killed after  start ms  hits of asked");
    for round in 0..rounds {
        let moment = ms(20 + siege.dice.roll(700));
        siege.load_and_kill(moment).await;
        // In every third round the server is killed while it recovers, too.
        for _ in 0..if round % 3 == 2 { 2 } else { 0 } {
            let moment = ms(siege.dice.roll(60));
            siege.kill_at_start(moment).await;
        }
        let started = Instant::now();
        siege.proxy.start_again().await;
        let start = started.elapsed().as_millis();
        let (hits, asked) = siege.check().await;
        println!("{round:>5}  {moment:>12?}  {start:>8}  {hits:>5} of {asked}");
    }
    assert!(
        siege.hits > 10 * rounds,
        "{} hits in {rounds} rounds: hardly anything was stored",
        siege.hits
    );
    let metrics = siege.proxy.metrics().await;
    assert_eq!(
        metrics.value("llm_cache_store_corrupt_records_total"),
        0.0,
        "a kill must not damage records"
    );
}
