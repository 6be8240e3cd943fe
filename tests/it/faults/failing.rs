//! A disk that fails: requests go on, it is said once, and it is used again once it works.

use nix::errno::Errno;

use super::full::{becomes, load_until_unwritable, new_answers_survive, question};
use super::question::{ask_truly, oracle};
use super::said::Said;
use super::shim::{FaultyDisk, proxy_on};
use crate::harness::*;

async fn writes_that_fail(error: Errno, kill: bool) {
    let disk = FaultyDisk::new();
    let origin = oracle().await;
    let mut proxy = proxy_on(&disk, &origin).await;
    ask_truly(&proxy, 8, (0..50).map(question)).await;
    proxy.reaches("llm_cache_store_writes_total", 50.0).await;
    becomes(&proxy, true).await;
    let mut said = Said::from_now(&proxy.process);
    disk.fails_writes(Some(error));
    let next = load_until_unwritable(&proxy, 100, 500).await;
    said.one_line(&proxy.process, "writes that stop").await;
    let seen = ask_truly(&proxy, 8, (next..next + 300).map(question)).await;
    assert_eq!(seen["miss"], 300, "{seen:?}");
    let seen = ask_truly(&proxy, 8, (next..next + 300).map(question)).await;
    assert_eq!(seen["hit"], 300, "{seen:?}");
    becomes(&proxy, false).await;
    let more = said.lines(&proxy.process);
    assert!(more.is_empty(), "it was said before: {more:#?}");
    disk.mends();
    becomes(&proxy, true).await;
    said.one_line(&proxy.process, "writes that begin again")
        .await;
    new_answers_survive(&mut proxy, 100_000, kill).await;
    // What was there before is there still.
    let seen = ask_truly(&proxy, 8, (0..50).map(question)).await;
    assert_eq!(seen.get("hit"), Some(&50), "{seen:?}");
}

#[tokio::test]
async fn writes_that_fail_stop_and_begin_again() {
    writes_that_fail(Errno::EIO, false).await;
}

#[tokio::test]
async fn what_is_written_after_a_failure_outlives_kill_9() {
    writes_that_fail(Errno::EIO, true).await;
}

#[tokio::test]
async fn a_file_system_that_turns_read_only_and_back_is_used_again() {
    writes_that_fail(Errno::EROFS, false).await;
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_like_a_full_disk() {
    writes_that_fail(Errno::EDQUOT, false).await;
}

#[tokio::test]
async fn reads_that_fail_are_misses_until_they_work_again() {
    let disk = FaultyDisk::new();
    let origin = oracle().await;
    let mut proxy = proxy_on(&disk, &origin).await;
    ask_truly(&proxy, 8, (0..200).map(question)).await;
    // Only the disk has them then.
    proxy.restart().await;
    origin.forget();
    let mut said = Said::from_now(&proxy.process);
    disk.fails_reads(Some(Errno::EIO));
    let seen = ask_truly(&proxy, 8, (0..100).map(question)).await;
    assert_eq!(seen["miss"], 100, "{seen:?}");
    assert_eq!(origin.count(), 100);
    let seen = ask_truly(&proxy, 8, (0..100).map(question)).await;
    assert_eq!(seen["hit"], 100, "memory has them now: {seen:?}");
    said.one_line(&proxy.process, "reads that fail").await;
    assert!(disk.refused() > 0);
    disk.mends();
    let seen = ask_truly(&proxy, 8, (100..200).map(question)).await;
    assert_eq!(
        seen.get("hit"),
        Some(&100),
        "the failure cost entries: {seen:?}"
    );
    becomes(&proxy, true).await;
    new_answers_survive(&mut proxy, 100_000, false).await;
    let seen = ask_truly(&proxy, 8, (100..200).map(question)).await;
    assert_eq!(seen.get("hit"), Some(&100), "{seen:?}");
    // What was asked anew may not have been written meanwhile; it is true in any case.
    let seen = ask_truly(&proxy, 8, (0..100).map(question)).await;
    println!("what was asked while reads failed, after a restart: {seen:?}");
}

/// The entry says what else has to go with it: without it the purge would hold for half of the answer.
#[tokio::test]
async fn a_purge_by_key_is_refused_while_the_entry_cannot_be_read() {
    let disk = FaultyDisk::new();
    let origin = oracle().await;
    let mut proxy = proxy_on(&disk, &origin).await;
    let answer = proxy.ask(&question(1).ask()).await;
    answer.is(200, "miss");
    let key = answer.field("x-llm-cache-key").unwrap().to_owned();
    proxy.restart().await;
    let purge = Ask::post("/cache/purge", format!("{{\"key\":\"{key}\"}}"))
        .without("authorization")
        .header("host", &proxy.admin.to_string());
    disk.fails_reads(Some(Errno::EIO));
    let refused = H1::connect(proxy.admin).await.ask(&purge).await;
    refused.is_error(503);
    let text = refused.text();
    assert!(text.contains("nothing is purged"), "{}", refused.dump());
    disk.mends();
    proxy.ask(&question(1).ask()).await.is(200, "hit");
    let purged = H1::connect(proxy.admin).await.ask(&purge).await;
    purged.is_clean(200);
    assert_eq!(purged.json()["found"], true);
    proxy.ask(&question(1).ask()).await.is(200, "miss");
}
