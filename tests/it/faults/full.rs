//! A full disk: requests go on, writes stop and begin again by themselves, each said once.

use std::time::Duration;

use futures_util::future::join;

use super::mount::{Tmpfs, bytes_on_disk};
use super::question::{Question, ask_truly, oracle};
use super::said::Said;
use super::shim::{FaultyDisk, proxy_on};
use crate::harness::*;

/// How soon writes must be resumed once that is possible.
const RESUMED_WITHIN: Duration = Duration::from_secs(10);
pub const WRITABLE: &str = "llm_cache_store_writable";

/// The n-th of questions with an answer of 20 KB.
pub fn question(n: u64) -> Question {
    Question::of(n, 20_000)
}

/// Waits until the server says that its store takes writes, or takes none.
#[track_caller]
pub fn becomes(proxy: &Proxy, writable: bool) -> impl Future<Output = ()> {
    let wanted = if writable { "1" } else { "0" };
    within(
        RESUMED_WITHIN,
        format!("{WRITABLE} {wanted}"),
        move || async move {
            let metrics = proxy.metrics().await;
            let line = metrics
                .text
                .lines()
                .find_map(|line| line.strip_prefix(WRITABLE))
                .map(|value| value.trim().to_owned());
            match line {
                Some(value) if value == wanted => Ok(()),
                other => Err(format!("{other:?}")),
            }
        },
    )
}

/// Asks what nobody asked before, until it is said that the store takes no writes; the number of
/// the next question. Every request must succeed.
pub async fn load_until_unwritable(proxy: &Proxy, first: u64, last: u64) -> u64 {
    let mut next = first;
    while proxy.metrics().await.value(WRITABLE) == 1.0 {
        assert!(next < last, "{} answers were written", next - first);
        ask_truly(proxy, 8, (next..next + 40).map(question)).await;
        next += 40;
        // What is asked must not run away from what is written.
        proxy
            .falls_to("llm_cache_store_write_queue_bytes", 0.0)
            .await;
    }
    next
}

/// Questions that are asked now survive the end of the server.
pub async fn new_answers_survive(proxy: &mut Proxy, first: u64, kill: bool) {
    const COUNT: u64 = 50;
    let written = proxy.metrics().await.value("llm_cache_store_writes_total");
    let seen = ask_truly(proxy, 8, (first..first + COUNT).map(question)).await;
    assert_eq!(seen["miss"] as u64, COUNT, "{seen:?}");
    let all = written + COUNT as f64;
    proxy.reaches("llm_cache_store_writes_total", all).await;
    if kill {
        proxy.kill9();
        proxy.exits_within(ms(5_000)).await;
        proxy.start_again().await;
    } else {
        proxy.restart().await;
    }
    let seen = ask_truly(proxy, 8, (first..first + COUNT).map(question)).await;
    assert_eq!(seen["hit"] as u64, COUNT, "{seen:?}");
}

#[tokio::test]
async fn a_disk_that_fills_up_under_load_fails_no_request_and_is_used_again() {
    let disk = FaultyDisk::new();
    let origin = oracle().await;
    let mut proxy = proxy_on(&disk, &origin).await;
    ask_truly(&proxy, 8, (0..50).map(question)).await;
    becomes(&proxy, true).await;
    let mut said = Said::from_now(&proxy.process);
    disk.has_room_for(3 << 20);
    let next = load_until_unwritable(&proxy, 100, 2_000).await;
    said.one_line(&proxy.process, "writes that stop").await;
    // While it is full: misses, and hits from memory.
    for start in [next, next + 100, next + 200] {
        let seen = ask_truly(&proxy, 8, (start..start + 100).map(question)).await;
        assert_eq!(seen["miss"], 100, "{seen:?}");
        let seen = ask_truly(&proxy, 8, (start..start + 100).map(question)).await;
        assert_eq!(seen["hit"], 100, "{seen:?}");
        becomes(&proxy, false).await;
    }
    let more = said.lines(&proxy.process);
    assert!(more.is_empty(), "it was said before: {more:#?}");
    assert!(disk.refused() > 0);
    disk.mends();
    // Nobody asks anything meanwhile.
    becomes(&proxy, true).await;
    said.one_line(&proxy.process, "writes that begin again")
        .await;
    new_answers_survive(&mut proxy, 100_000, false).await;
}

#[tokio::test]
async fn a_disk_may_fill_up_again_and_again() {
    let disk = FaultyDisk::new();
    let origin = oracle().await;
    let mut proxy = proxy_on(&disk, &origin).await;
    becomes(&proxy, true).await;
    let mut said = Said::from_now(&proxy.process);
    let mut next = 0;
    for time in 0..3 {
        // Into the middle of whatever is written then.
        disk.has_room_for(1_000_003 + time * 77_777);
        next = load_until_unwritable(&proxy, next, next + 2_000).await;
        said.one_line(&proxy.process, "writes that stop").await;
        disk.mends();
        becomes(&proxy, true).await;
        said.one_line(&proxy.process, "writes that begin again")
            .await;
    }
    new_answers_survive(&mut proxy, 100_000, true).await;
    // Whatever is left of the rest is true.
    ask_truly(&proxy, 8, (0..next).map(question)).await;
}

#[tokio::test]
async fn a_real_file_system_of_64_mib_fills_up_under_load_and_is_used_again() {
    let Some(tmpfs) = Tmpfs::mount("size=64m") else {
        return;
    };
    // The server keeps to 95 % of the file system, and somebody else has taken a third of it.
    let ballast = tmpfs.ballast(24 << 20);
    let store = tmpfs.path("store");
    let origin = oracle().await;
    let mut proxy = proxy()
        .upstream(&origin)
        .set("store.path", store.to_str().unwrap())
        .start()
        .await;
    becomes(&proxy, true).await;
    let mut said = Said::from_now(&proxy.process);
    let next = load_until_unwritable(&proxy, 0, 20_000).await;
    let line = said.one_line(&proxy.process, "writes that stop").await;
    println!(
        "full after {next} answers, {} bytes in the store: {line}",
        bytes_on_disk(&store)
    );
    // Load goes on while space is freed.
    let load = ask_truly(&proxy, 4, (next..next + 2_000).map(question));
    let freed = async {
        becomes(&proxy, false).await;
        std::fs::remove_file(&ballast).unwrap();
        becomes(&proxy, true).await;
    };
    let (seen, ()) = join(load, freed).await;
    println!("while space was freed: {seen:?}");
    let line = said
        .one_line(&proxy.process, "writes that begin again")
        .await;
    println!("{line}");
    new_answers_survive(&mut proxy, 100_000, true).await;
    ask_truly(&proxy, 8, (0..next).map(question)).await;
}

#[tokio::test]
async fn a_copy_that_does_not_fit_where_it_goes_is_said_to_be_that_and_leaves_nothing() {
    let Some(tmpfs) = Tmpfs::mount("size=256k") else {
        return;
    };
    let origin = oracle().await;
    let proxy = proxy_before(&origin).await;
    ask_truly(&proxy, 4, (0..100).map(|n| Question::of(n, 10_000))).await;
    proxy.reaches("llm_cache_store_writes_total", 100.0).await;
    let to = tmpfs.path("copy");
    let body = serde_json::json!({"directory": to}).to_string();
    let ask = Ask::post("/cache/checkpoint", body)
        .without("authorization")
        .header("host", &proxy.admin.to_string());
    let answer = H1::connect(proxy.admin).await.ask(&ask).await;
    answer.is_error(503);
    let said = format!("cannot write the copy to {}", to.display());
    assert!(answer.text().contains(&said), "{}", answer.dump());
    assert!(!to.exists() && !tmpfs.path("copy.partial").exists());
    ask_truly(&proxy, 4, (0..200).map(|n| Question::of(n, 10_000))).await;
}
