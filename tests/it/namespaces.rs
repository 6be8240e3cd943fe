//! A namespace is a part of the cache that its clients name: what is asked in one is answered from it
//! and kept in it, in every way there is, and the provider never hears of it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use llm_cache_server::store::operate::Offline;

use crate::harness::*;

const NAME: &str = "x-llm-cache-namespace";

trait Within {
    fn within(self, namespace: &str) -> Ask;
}

impl Within for Ask {
    /// The same question, asked in a namespace.
    fn within(self, namespace: &str) -> Ask {
        self.header(NAME, namespace)
    }
}

/// The provider was never told.
#[track_caller]
fn unheard_of(origin: &Origin) {
    let calls = origin.calls();
    assert!(calls.iter().all(|call| call.header(NAME).is_none()));
}

#[tokio::test]
async fn namespaces_do_not_answer_for_each_other() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = |n: usize| match n {
        0 => chat("whose"),
        n => chat("whose").within(["evals", "Evals", "ci.nightly_2-b"][n - 1]),
    };
    for n in 0..4 {
        proxy.ask(&ask(n)).await.is(200, "miss");
    }
    for n in 0..4 {
        let hit = proxy.ask(&ask(n)).await;
        assert_eq!(hit.is(200, "hit").call(), n + 1);
        assert_eq!(hit.field(NAME), None);
    }
    // A new answer replaces the one of its own namespace.
    let fresh = ask(1).cache_control("no-cache");
    assert_eq!(proxy.ask(&fresh).await.is(200, "refresh").call(), 5);
    assert_eq!(proxy.ask(&ask(1)).await.is(200, "hit").call(), 5);
    assert_eq!(proxy.ask(&ask(0)).await.is(200, "hit").call(), 1);
    assert_eq!(proxy.ask(&ask(2)).await.is(200, "hit").call(), 3);
    // Nor is it a way to another tenant's answers.
    let other = ask(1).bearer("somebody-else");
    proxy.ask(&other).await.is(200, "miss");
    unheard_of(&origin);
}

#[tokio::test]
async fn what_goes_past_the_cache_does_not_tell_the_provider_either() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let bypass = chat("never kept").within("evals").cache_control("no-store");
    proxy.ask(&bypass).await.is(200, "bypass");
    let models = Ask::get("/v1/models").within("evals");
    proxy.ask(&models).await.is_clean(200);
    origin.was_called(2);
    unheard_of(&origin);
}

#[tokio::test]
async fn one_answer_serves_both_forms_within_its_namespace_only() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let mut streamed = chat_body("both forms");
    streamed["stream"] = true.into();
    streamed["stream_options"] = serde_json::json!({"include_usage": true});
    let stream = Ask::post("/v1/chat/completions", streamed.to_string());
    let json = chat("both forms");
    proxy.ask(&stream.clone().within("a")).await.is(200, "miss");
    let made = proxy.ask(&json.clone().within("a")).await;
    assert_eq!(made.is(200, "hit").call(), 1);
    proxy.ask(&json.within("b")).await.is(200, "miss");
    assert_eq!(
        proxy.ask(&stream.within("b")).await.is(200, "hit").call(),
        2
    );
    origin.was_called(2);
}

#[tokio::test]
async fn embeddings_are_known_text_by_text_within_their_namespace_only() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    proxy
        .ask(&embeddings(&["a", "b"]).within("x"))
        .await
        .is(200, "miss");
    let partly = proxy.ask(&embeddings(&["a", "c"]).within("x")).await;
    partly.is(200, "miss").says("detail=items-1-of-2");
    for ask in [embeddings(&["a", "c"]), embeddings(&["b"]).within("y")] {
        proxy.ask(&ask).await.is(200, "miss").says("fwd=uri-miss");
    }
    let known = embeddings(&["c", "b"]).within("x");
    proxy.ask(&known).await.is(200, "hit");
    origin.was_called(4);
    unheard_of(&origin);
}

#[tokio::test]
async fn the_same_question_in_two_namespaces_is_two_calls() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin()
        .answer(move |call| llm::any(call).held(&held))
        .start()
        .await;
    let proxy = proxy_before(&origin).await;
    let ask = chat_stream("at once");
    let asks = [
        ask.clone(),
        ask.clone().within("a"),
        ask.clone().within("b"),
    ];
    let asks: Vec<Ask> = asks.iter().chain(&asks).cloned().collect();
    let opened = async {
        proxy.following(6).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(ask_all(&proxy, &asks), opened);
    origin.was_called(3);
    for n in 0..3 {
        assert_eq!(answers[n].call(), answers[n + 3].call());
    }
}

#[tokio::test]
async fn a_refresh_in_the_background_stays_in_its_namespace() {
    let origin = origin().start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("cache.stale_while_revalidate", "1h")
        .start()
        .await;
    let (ask, other) = (chat("again").within("a"), chat("again"));
    proxy.ask(&other).await.is(200, "miss");
    let brief = ask.clone().header("x-llm-cache-ttl", "1ms");
    proxy.ask(&brief).await.is(200, "miss");
    let refreshed = async || {
        let answer = proxy.ask(&ask).await;
        match answer.outcome() {
            "hit" if answer.call() == 3 => Ok(()),
            _ => Err(answer.dump()),
        }
    };
    within(Duration::from_secs(10), "a new answer", refreshed).await;
    assert_eq!(proxy.ask(&other).await.is(200, "hit").call(), 1);
    origin.was_called(3);
    unheard_of(&origin);
}

#[tokio::test]
async fn a_name_that_cannot_be_used_is_refused_and_said_why() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let long = "n".repeat(65);
    for name in ["", "a b", "a/b", "a,b", "\"a\"", &long] {
        for ask in [chat("refused"), Ask::get("/v1/models")] {
            let refused = proxy.ask(&ask.within(name)).await;
            let text = refused.is_error(400).text();
            assert!(text.contains(NAME) && text.contains("1 to 64"), "{text}");
        }
    }
    let mut twice = chat("refused").within("a");
    twice.headers.push((NAME.into(), "b".into()));
    let text = proxy.ask(&twice).await.is_error(400).text();
    assert!(text.contains("send it once"), "{text}");
    proxy
        .ask(&chat("refused").within(&long[1..]))
        .await
        .is(200, "miss");
    origin.was_called(1);
}

#[tokio::test]
async fn on_disk_an_entry_says_which_namespace_it_is_in() {
    let origin = origin().start().await;
    let mut proxy = proxy()
        .upstream(&origin)
        .set("store.pinned", serde_json::json!(["evals"]))
        .start()
        .await;
    let asks = [
        chat("kept"),
        chat("kept").within("evals"),
        embeddings(&["a", "b"]).within("vectors"),
    ];
    for ask in &asks {
        proxy.ask(ask).await.is(200, "miss");
    }
    proxy.restart().await;
    for ask in &asks {
        proxy.ask(ask).await.is(200, "hit");
    }
    proxy.sigterm();
    proxy.exits_within(Duration::from_secs(20)).await;
    let store = Offline::open(&proxy.path("data")).unwrap();
    let mut found = BTreeMap::<(String, String), usize>::new();
    store
        .scan(&mut |entry| {
            let about = entry.row.about;
            *found
                .entry((about.namespace.into(), about.model.into()))
                .or_default() += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    let expected = [
        (("", MODEL), 1),
        (("evals", MODEL), 1),
        // The batch, and each of its texts.
        (("vectors", "text-embedding-3-small"), 3),
    ];
    let owned = |((a, b), n): ((&str, &str), usize)| ((a.to_owned(), b.to_owned()), n);
    assert_eq!(found, expected.map(owned).into());
}
