//! What a power failure leaves is what was synced: each write is, if the configuration says so.

use super::full::question;
use super::question::{ask_truly, oracle};
use super::shim::FaultyDisk;
use crate::harness::*;

const WRITES: usize = 40;

/// How many syncs there were for so many answers, one written after the other.
async fn syncs(durability: &str) -> usize {
    let disk = FaultyDisk::new();
    let origin = oracle().await;
    let proxy = proxy()
        .upstream(&origin)
        .config(|c| {
            c.set("store.durability", durability);
            disk.under(c);
        })
        .start()
        .await;
    let before = disk.syncs();
    for n in 0..WRITES {
        ask_truly(&proxy, 1, [question(n as u64)]).await;
        proxy
            .reaches("llm_cache_store_writes_total", (n + 1) as f64)
            .await;
    }
    usize::try_from(disk.syncs() - before).unwrap()
}

#[tokio::test]
async fn each_write_is_synced_where_it_must_outlive_the_machine() {
    let of_power = syncs("power").await;
    assert!(of_power >= WRITES, "{of_power} syncs for {WRITES} writes");
    for durability in ["process", "none"] {
        let others = syncs(durability).await;
        assert!(
            others < WRITES,
            "{others} syncs for {WRITES} writes: {durability}"
        );
    }
}
