//! Files that are damaged while the server is down: entries may be lost, all of them if need be. An
//! answer is never wrong, and the server always starts.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::question::{Dice, Question, ask_truly, hits_among, oracle};
use super::said::Said;
use super::shim::files;
use super::siege::{Siege, rounds};
use crate::harness::*;

/// What was seen to be damaged, by the store's own checks or by the database's.
fn damage_counted(metrics: &Metrics) -> f64 {
    metrics.value("llm_cache_store_corrupt_records_total")
        + metrics.value("llm_cache_store_read_errors_total")
}

/// What a file of the database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    Blob,
    Log,
    Manifest,
    Current,
    Options,
    Identity,
    Other,
}

const KINDS: [Kind; 7] = [
    Kind::Table,
    Kind::Blob,
    Kind::Log,
    Kind::Manifest,
    Kind::Current,
    Kind::Options,
    Kind::Identity,
];

impl Kind {
    fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap().to_str().unwrap();
        match path.extension().and_then(|e| e.to_str()) {
            Some("sst") => Self::Table,
            Some("blob") => Self::Blob,
            Some("log") => Self::Log,
            _ if name.starts_with("MANIFEST-") => Self::Manifest,
            _ if name == "CURRENT" => Self::Current,
            _ if name.starts_with("OPTIONS-") => Self::Options,
            _ if name == "IDENTITY" => Self::Identity,
            _ => Self::Other,
        }
    }
}

/// The files of the store in use; what was set aside is left alone.
fn store_files(data: &Path) -> Vec<PathBuf> {
    let in_use = |path: &PathBuf| !path.to_str().unwrap().contains("set-aside");
    files(data).into_iter().filter(in_use).collect()
}

/// What was set aside: the name, and when, as names are only exact to the second.
fn set_aside(data: &Path) -> Vec<(String, SystemTime)> {
    let Ok(entries) = std::fs::read_dir(data) else {
        return Vec::new();
    };
    let entries = entries.flatten().map(|entry| {
        let made = entry.metadata().unwrap().modified().unwrap();
        (entry.file_name().into_string().unwrap(), made)
    });
    let mut aside: Vec<_> = entries
        .filter(|(name, _)| name.starts_with("set-aside-"))
        .collect();
    aside.sort();
    aside
}

/// Damages one file in one way; says how.
fn damage(path: &Path, dice: &mut Dice) -> String {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let length = file.metadata().unwrap().len();
    let how = match dice.roll(8) {
        0..3 => {
            let rest = match dice.roll(4) {
                0 => 0,
                1 => length.saturating_sub(1 + dice.roll(64)),
                _ => dice.roll(length.max(1)),
            };
            file.set_len(rest).unwrap();
            format!("cut to {rest}")
        }
        3..7 if length > 0 => {
            let bits = 1 + dice.roll(24);
            for _ in 0..bits {
                let at = dice.roll(length);
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                byte[0] ^= 1 << dice.roll(8);
                file.write_all_at(&byte, at).unwrap();
            }
            format!("{bits} bits flipped")
        }
        _ => {
            // As after a power cut: a page of zeros, maybe beyond the end.
            let at = dice.roll(length + 1) / 512 * 512;
            file.write_all_at(&[0; 4096], at).unwrap();
            format!("zeros at {at}")
        }
    };
    format!("{name} ({length} bytes): {how}")
}

/// Damages up to three files of this kind, at times one of any kind, too. What was done.
fn damage_kind(data: &Path, kind: Kind, dice: &mut Dice) -> Vec<String> {
    let all = store_files(data);
    let mut chosen: Vec<&PathBuf> = all.iter().filter(|f| Kind::of(f) == kind).collect();
    while chosen.len() > 3 {
        chosen.swap_remove(dice.roll(chosen.len() as u64) as usize);
    }
    if !all.is_empty() && (chosen.is_empty() || dice.roll(3) == 0) {
        chosen.push(dice.pick(&all));
    }
    chosen.iter().map(|path| damage(path, dice)).collect()
}

/// What was set aside is said in one line, and only the latest is kept.
fn told_of_set_aside(
    said: &Said,
    process: &Process,
    before: &[(String, SystemTime)],
    data: &Path,
) -> bool {
    let after = set_aside(data);
    assert!(after.len() <= 1, "only the latest is kept: {after:?}");
    let lines = said.lines(process);
    let telling: Vec<_> = lines
        .iter()
        .filter(|l| l.contains("set aside") || l.contains("set-aside"))
        .collect();
    let was = after != before && !after.is_empty();
    assert_eq!(
        telling.len(),
        usize::from(was),
        "{before:?} before, {after:?} after, and said: {lines:#?}"
    );
    was
}

#[tokio::test]
async fn damage_between_kills_costs_entries_and_never_an_answer_or_a_start() {
    let rounds = rounds(KINDS.len());
    let _turn = alone().await;
    let mut siege = Siege::begin().await;
    let data = siege.proxy.path("data");
    let (mut corrupt, mut asides) = (0.0, 0);
    println!("round  kind      start ms  hits of asked  set aside  counted  writable  damage");
    for round in 0..rounds {
        let kind = KINDS[round % KINDS.len()];
        let moment = ms(100 + siege.dice.roll(500));
        siege.load_and_kill(moment).await;
        let damaged = damage_kind(&data, kind, &mut siege.dice);
        let before = set_aside(&data);
        let said = Said::from_now(&siege.proxy.process);
        let started = Instant::now();
        println!("{round:>5}  {:<8}  {damaged:?}", format!("{kind:?}"));
        siege.proxy.start_again().await;
        let start = started.elapsed().as_millis();
        let aside = told_of_set_aside(&said, &siege.proxy.process, &before, &data);
        asides += usize::from(aside);
        let (hits, asked) = siege.check().await;
        siege.serves().await;
        let metrics = siege.proxy.metrics().await;
        corrupt += damage_counted(&metrics);
        println!(
            "{round:>5}  {:<8}  {start:>8}  {hits:>5} of {asked:<5}  {aside:>9}  {:>7}  {:>8}",
            format!("{kind:?}"),
            damage_counted(&metrics),
            metrics.value(super::full::WRITABLE),
        );
    }
    println!(
        "{rounds} rounds: {} hits, all true; {asides} set aside, {corrupt} damaged reads counted",
        siege.hits
    );
    assert!(
        siege.hits > rounds,
        "{} hits: hardly anything was stored",
        siege.hits
    );
}

/// A store of 60 answers of 10 KB on disk, and its server, which has ended.
async fn a_store_at_rest() -> (Proxy, Origin, Vec<Question>) {
    let origin = oracle().await;
    let mut proxy = proxy_before(&origin).await;
    let questions: Vec<_> = (0..60).map(|n| Question::of(n, 10_000)).collect();
    ask_truly(&proxy, 4, questions.clone()).await;
    proxy.reaches("llm_cache_store_writes_total", 60.0).await;
    // Twice: a log that was replayed has become tables by then.
    proxy.restart().await;
    proxy.sigterm();
    proxy.exits_within(ms(10_000)).await;
    (proxy, origin, questions)
}

#[tokio::test]
async fn a_flipped_bit_in_an_answer_is_a_miss_and_is_counted() {
    let (mut proxy, _origin, questions) = a_store_at_rest().await;
    let mut damaged = 0;
    for path in store_files(&proxy.path("data")) {
        let mut bytes = std::fs::read(&path).unwrap();
        if matches!(Kind::of(&path), Kind::Table | Kind::Blob | Kind::Log) && bytes.len() > 100_000
        {
            // The answers lie in the middle; one bit in each second one of them.
            for at in (20_000..bytes.len() - 20_000).step_by(20_000) {
                bytes[at] ^= 0x04;
            }
            std::fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0, "no file holds the answers");
    proxy.start_again().await;
    let hits = hits_among(&proxy, questions.clone()).await.len();
    let counted = damage_counted(&proxy.metrics().await);
    println!("{hits} of 60 are left, {counted} were counted as damaged");
    assert!(
        hits < 60,
        "the damage cost nothing: the test damages the wrong bytes"
    );
    assert!(counted >= 1.0, "damage was not counted");
    // Asked anew, they are kept anew, restart included.
    ask_truly(&proxy, 4, questions.clone()).await;
    let seen = ask_truly(&proxy, 4, questions.clone()).await;
    assert_eq!(seen.get("hit"), Some(&60), "{seen:?}");
}

#[tokio::test]
async fn a_database_that_does_not_open_is_set_aside_and_said_once() {
    let (mut proxy, _origin, questions) = a_store_at_rest().await;
    let data = proxy.path("data");
    let spoil = || {
        for path in store_files(&data) {
            if matches!(Kind::of(&path), Kind::Manifest | Kind::Current) {
                std::fs::write(&path, "no such thing").unwrap();
            }
        }
    };
    spoil();
    let mut said = Said::from_now(&proxy.process);
    proxy.start_again().await;
    assert!(told_of_set_aside(&said, &proxy.process, &[], &data));
    let first = set_aside(&data);
    let line = said.only_line(&proxy.process, "what was set aside");
    assert!(line.contains(&first[0].0), "where it is: {line}");
    assert!(
        store_files(&data.join(&first[0].0)).is_empty()
            && !files(&data.join(&first[0].0)).is_empty(),
        "what was set aside is there to look at"
    );
    // It starts empty and keeps what is asked now.
    assert_eq!(hits_among(&proxy, questions.clone()).await.len(), 0);
    ask_truly(&proxy, 4, questions.clone()).await;
    proxy.restart().await;
    assert_eq!(hits_among(&proxy, questions.clone()).await.len(), 60);
    assert_eq!(set_aside(&data), first);
    // The second time the first one goes.
    proxy.sigterm();
    proxy.exits_within(ms(10_000)).await;
    spoil();
    let said = Said::from_now(&proxy.process);
    proxy.start_again().await;
    assert!(told_of_set_aside(&said, &proxy.process, &first, &data));
}

#[tokio::test]
async fn a_directory_full_of_nonsense_does_not_keep_a_server_from_starting() {
    let (mut proxy, _origin, questions) = a_store_at_rest().await;
    let mut dice = Dice::new(7);
    for path in store_files(&proxy.path("data")) {
        let noise: Vec<u8> = (0..3_000).map(|_| dice.roll(256) as u8).collect();
        std::fs::write(&path, noise).unwrap();
    }
    proxy.start_again().await;
    assert_eq!(hits_among(&proxy, questions.clone()).await.len(), 0);
    let seen = ask_truly(&proxy, 4, questions).await;
    assert_eq!(seen.get("miss"), Some(&60), "{seen:?}");
}
