//! Every operation, on a single server and on a cluster.

use llm_cache_server::store::shared::client::engine::{
    Engine, LOG_READ_MAX, Log, RANGE_BYTES_MAX, VALUE_BYTES_MAX,
};
use llm_cache_server::store::shared::client::trouble::Trouble;

use super::*;

async fn all_operations(engine: &Engine, tag: &str) {
    let key = |name: &str| format!("llmc:{{{tag}}}{name}").into_bytes();
    // Values.
    let (a, b, none) = (key("a"), key("b"), key("none"));
    engine.set(&a, b"one\r\n\0two", 60_000).await.unwrap();
    engine
        .set(&b, &vec![7; VALUE_BYTES_MAX], 60_000)
        .await
        .unwrap();
    assert_eq!(engine.get(&a).await.unwrap().unwrap(), "one\r\n\0two");
    assert_eq!(engine.get(&none).await.unwrap(), None);
    let many = engine.get_many(&[&a, &none, &b], 0).await.unwrap();
    assert_eq!(many[0].as_deref(), Some(b"one\r\n\0two".as_slice()));
    assert_eq!(many[1], None);
    assert_eq!(many[2].as_ref().unwrap().len(), VALUE_BYTES_MAX);
    assert_eq!(engine.delete(&[&a, &b, &none]).await.unwrap(), 2);
    assert_eq!(engine.get(&a).await.unwrap(), None);
    let longer = vec![0; VALUE_BYTES_MAX + 1];
    assert!(matches!(
        engine.set(&a, &longer, 1).await,
        Err(Trouble::Refused(_))
    ));
    engine.set(&a, b"x", 1).await.unwrap();
    until("a value to expire", async || {
        engine.get(&a).await.unwrap().is_none()
    })
    .await;

    // Leases.
    let lease = key("lease");
    assert!(engine.lease_take(&lease, b"t1", 60_000).await.unwrap());
    assert!(!engine.lease_take(&lease, b"t2", 60_000).await.unwrap());
    assert!(engine.lease_renew(&lease, b"t1", 60_000).await.unwrap());
    assert!(!engine.lease_renew(&lease, b"t2", 60_000).await.unwrap());
    assert!(!engine.lease_end(&lease, b"t2").await.unwrap());
    assert!(engine.lease_end(&lease, b"t1").await.unwrap());
    assert!(!engine.lease_end(&lease, b"t1").await.unwrap());
    assert!(engine.lease_take(&lease, b"t2", 1).await.unwrap());
    until("a lease to end", async || {
        engine.lease_take(&lease, b"t3", 60_000).await.unwrap()
    })
    .await;

    // A stream that is written while it is read.
    let (stream, state) = (key("stream"), key("state"));
    assert_eq!(
        engine
            .append_at(&stream, 0, b"hello ", 60_000)
            .await
            .unwrap(),
        6
    );
    // Where it does not belong nothing is appended.
    for offset in [0, 5, 7] {
        let append = engine.append_at(&stream, offset, b"astray", 60_000);
        assert_eq!(append.await.unwrap(), 6);
    }
    assert_eq!(
        engine
            .append_at(&stream, 6, b"world", 60_000)
            .await
            .unwrap(),
        11
    );
    let (range, other) = engine.range_from(&stream, 6, &state).await.unwrap();
    assert_eq!((&range[..], other), (b"world".as_slice(), None));
    engine.set(&state, b"done", 60_000).await.unwrap();
    let (range, other) = engine.range_from(&stream, 11, &state).await.unwrap();
    assert_eq!(
        (&range[..], other.as_deref()),
        (b"".as_slice(), Some(b"done".as_slice()))
    );
    engine
        .append_at(&stream, 11, &vec![b'x'; RANGE_BYTES_MAX], 60_000)
        .await
        .unwrap();
    let (range, _) = engine.range_from(&stream, 0, &state).await.unwrap();
    assert_eq!(range.len(), RANGE_BYTES_MAX);

    // The purge log.
    let log = key("log");
    let since = async |number| engine.log_since(&log, number).await.unwrap();
    let empty = Log {
        name: None,
        last: 0,
        entries: vec![],
    };
    assert_eq!(since(0).await, empty);
    engine.log_begin(&log, b"first").await.unwrap();
    engine.log_begin(&log, b"second").await.unwrap();
    assert_eq!(since(0).await.name.unwrap(), "first");
    engine.log_rename(&log, b"second", b"third").await.unwrap();
    assert_eq!(since(0).await.name.unwrap(), "first");
    engine.log_rename(&log, b"first", b"third").await.unwrap();
    assert_eq!(since(0).await.name.unwrap(), "third");
    for number in 1..=12 {
        // Entries may be any bytes; one that is there keeps its number.
        let entry = entry_of(number);
        for _ in 0..2 {
            assert_eq!(engine.log_append(&log, &entry, 10).await.unwrap(), number);
        }
    }
    let Log { last, entries, .. } = since(9).await;
    assert_eq!(last, 12);
    assert_eq!(
        entries.iter().map(|(n, _)| *n).collect::<Vec<_>>(),
        [10, 11, 12]
    );
    assert!(
        entries
            .iter()
            .all(|(number, entry)| entry == &entry_of(*number)[..])
    );
    assert_eq!(since(0).await.entries.first().unwrap().0, 3);
    let Log { last, entries, .. } = since(12).await;
    assert_eq!((last, entries), (12, vec![]));
    // The counter alone is evicted.
    engine.delete(&[[&log[..], b":n"].concat()]).await.unwrap();
    assert_eq!(engine.log_append(&log, b"after", 10).await.unwrap(), 13);
    assert_eq!(engine.log_append(&log, b"and after", 10).await.unwrap(), 14);
    for number in 0..LOG_READ_MAX {
        engine
            .log_append(&log, &entry_of(number as u64), 2 * LOG_READ_MAX)
            .await
            .unwrap();
    }
    assert_eq!(since(0).await.entries.len(), LOG_READ_MAX);
}

fn entry_of(number: u64) -> Vec<u8> {
    format!("{number:04}:\0\u{ff}").into_bytes()
}

#[tokio::test]
async fn every_operation_on_a_single_server() {
    let redis = Redis::start().await;
    let engine = connected(redis.node()).await;
    all_operations(&engine, "a").await;
    assert_eq!(engine.health().connected, 1);
}

#[tokio::test]
async fn every_operation_on_a_cluster() {
    let cluster = RedisCluster::start().await;
    let engine = clustered(&cluster).await;
    let mut met = [false; 3];
    for nth in 0..9 {
        let tag = format!("tag{nth}");
        met[cluster.master_of(&format!("{{{tag}}}")).await] = true;
        all_operations(&engine, &tag).await;
    }
    assert_eq!(met, [true; 3]);
    assert_eq!(engine.health().servers, 3);
}

/// A log without a hash tag has its counter in its slot all the same.
#[tokio::test]
async fn a_log_needs_no_hash_tag() {
    let cluster = RedisCluster::start().await;
    let engine = clustered(&cluster).await;
    for nth in 0..20 {
        let log = format!("log{nth}");
        assert_eq!(engine.log_append(log.as_bytes(), b"e", 5).await.unwrap(), 1);
        assert_eq!(engine.log_since(log.as_bytes(), 0).await.unwrap().last, 1);
    }
    let across = engine.get_many(&["a", "b"], 0).await;
    assert!(matches!(across, Err(Trouble::Unreachable)), "{across:?}");
}

/// Foreign types and bytes are refused or read as what they are; the server is well all the same.
#[tokio::test]
async fn what_strangers_store_is_refused_and_does_not_open_the_breaker() {
    let redis = Redis::start().await;
    let engine = connected(redis.node()).await;
    redis.ask(&["LPUSH", "list", "x"]).await;
    redis.ask(&["SET", "text", "x"]).await;
    for _ in 0..100 {
        let outcomes = [
            engine.get(b"list").await.map(drop),
            engine.append_at(b"list", 0, b"x", 1000).await.map(drop),
            engine.range_from(b"list", 0, b"text").await.map(drop),
            engine.range_from(b"text", 0, b"list").await.map(drop),
            engine.log_append(b"text", b"x", 5).await.map(drop),
            engine.log_since(b"list", 0).await.map(drop),
            engine.lease_renew(b"list", b"t", 1000).await.map(drop),
        ];
        for outcome in outcomes {
            assert!(matches!(outcome, Err(Trouble::Refused(_))), "{outcome:?}");
        }
    }
    assert_eq!(
        engine.health().breaker,
        llm_cache_server::store::shared::client::breaker::State::Closed
    );
    assert_eq!(engine.get(b"text").await.unwrap().unwrap(), "x");
    // As much of a stranger's value as a value of ours can be long.
    redis.ask(&["SETRANGE", "long", "3000000", "x"]).await;
    assert_eq!(
        engine.get(b"long").await.unwrap().unwrap().len(),
        VALUE_BYTES_MAX
    );
    redis.ask(&["SET", "{llmc}:n", "not a number"]).await;
    assert!(matches!(
        engine.log_since(b"llmc", 0).await,
        Err(Trouble::Refused(_))
    ));
}
