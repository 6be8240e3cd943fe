//! A purge by key at a replica that does not have the answer: what it covers is read from the shared tier.

use super::*;
use crate::operating::{key_of, operate, post, purge};

#[tokio::test]
async fn a_key_purged_where_it_is_not_known_takes_all_forms_everywhere() {
    let origin = origin().answer(llm::any).start().await;
    let redis = Redis::start().await;
    let nodes = [redis.node()];
    // The one that is asked to purge has no disk, and nothing in its memory.
    let fleet = fleet_of(2, || replica(&origin, &nodes)).await;
    let empty = replica(&origin, &nodes).set("store.disk", "off");
    let empty = empty.start().await;
    joined(&empty).await;
    let (json, stream) = (chat("to go"), chat_stream("to go"));
    let miss = fleet[0].ask(&json).await;
    miss.is(200, "miss");
    stored([&redis], 1).await;
    // Both have both forms, and one of the forms is nowhere else.
    for replica in &fleet {
        replica.ask(&stream).await.is(200, "hit");
        replica.ask(&json).await.is(200, "hit");
    }
    origin.was_called(1);
    let purged = purge(&empty, &json!({"key": key_of(&miss)})).await;
    assert_eq!(purged["found"], json!(true));
    for replica in &fleet {
        for ask in [&stream, &json] {
            is_gone(ms(5_000), replica, ask).await;
        }
    }
    for replica in fleet.iter().chain([&empty]) {
        let answer = replica.ask(&stream).await;
        assert!(answer.is_clean(200).call() > 1, "{}", answer.dump());
    }
}

#[tokio::test]
async fn a_key_that_nobody_has_is_purged_and_said_not_to_be_found() {
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let fleet = fleet(1, &origin, &[redis.node()]).await;
    let key = "ab".repeat(32);
    let purged = purge(&fleet[0], &json!({"key": key})).await;
    assert_eq!(purged["found"], json!(false));
    // Nor does a tier that hangs keep anyone from purging.
    redis.freeze();
    let ask = chat("known here");
    let miss = fleet[0].ask(&ask).await;
    let purged = purge(&fleet[0], &json!({"key": key_of(&miss)})).await;
    assert_eq!(purged["found"], json!(true));
    assert_eq!(purged["fleet"], json!("waiting"));
    assert!(!serves(&fleet[0], &ask).await);
}

#[tokio::test]
async fn what_cannot_be_looked_up_is_not_purged_by_half() {
    let origin = origin().start().await;
    let redis = Redis::start().await;
    let fleet = fleet(1, &origin, &[redis.node()]).await;
    redis.freeze();
    // Who would be told that it is purged would not know of its other forms.
    let purge = post("/cache/purge", &json!({"key": "ab".repeat(32)}));
    let answer = operate(&fleet[0], purge.clone()).await;
    let said = answer.is_clean(503).json()["error"]["message"].to_string();
    assert!(said.contains("purge by model"), "{said}");
    redis.thaw();
    within(ms(20_000), "it can be looked up", async || {
        match operate(&fleet[0], purge.clone()).await.head.status {
            200 => Ok(()),
            other => Err(format!("{other}")),
        }
    })
    .await;
}
