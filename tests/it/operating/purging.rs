//! What is purged is never served again, and what was asked for before is not stored after it.

use super::*;

/// Questions of two models, two tenants, two APIs, in a namespace and in none.
fn questions() -> [Ask; 5] {
    [
        chat_with("gpt-4o", "purged or not"),
        chat_with("o3", "purged or not"),
        chat_with("gpt-4o", "purged or not").bearer("sk-other"),
        messages("purged or not", false),
        chat_with("o1", "purged or not").header("x-llm-cache-namespace", "evals"),
    ]
}

#[tokio::test]
async fn each_purge_takes_its_own_and_a_restart_keeps_it() {
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    let mut keys = Vec::new();
    for ask in &questions() {
        let answer = proxy.ask(ask).await;
        answer.is(200, "miss");
        keys.push(key_of(&answer));
    }
    written(&proxy, 5).await;
    let shown = looked(&proxy, &format!("/cache/entries/{}", keys[2])).await;
    let other = &shown["tenant"];
    for (what, words, gone) in [
        (json!({"model": "o3"}), "model \"o3\"", &[1][..]),
        (json!({"tenant": other}), "tenant ", &[2]),
        (json!({"key": keys[3]}), "key ", &[3]),
        (json!({"namespace": "evals"}), "namespace \"evals\"", &[4]),
        (json!({"namespace": "none"}), "namespace \"none\"", &[]),
        (json!({"older_than": "1h"}), "stored before ", &[]),
        (
            json!({"older_than": "0s"}),
            "stored before ",
            &[0, 1, 2, 3, 4],
        ),
        (json!({"all": true}), "everything", &[0, 1, 2, 3, 4]),
    ] {
        // The times of purges and entries have milliseconds.
        let purged = purge(&proxy, &what).await;
        let said = purged["purged"].as_str().unwrap();
        assert!(said.starts_with(words), "{purged}");
        let old = looked(&proxy, "/cache/entries").await;
        let left = old["entries"].as_array().unwrap().len();
        assert_eq!(left, 5 - gone.len(), "{what}: {old}");
        for index in gone {
            let path = format!("/cache/entries/{}", keys[*index]);
            operate(&proxy, get(&path)).await.is_error(404);
        }
        proxy.restart().await;
        for (index, ask) in questions().iter().enumerate() {
            let expected = match gone.contains(&index) {
                true => "miss",
                false => "hit",
            };
            proxy.ask(ask).await.is(200, expected);
        }
        written(&proxy, 5).await;
        // What was stored since is not purged, by a restart neither.
        proxy.restart().await;
        for ask in &questions() {
            proxy.ask(ask).await.is(200, "hit");
        }
    }
    assert!(proxy.process.output().contains("purged: everything"));
}

#[tokio::test]
async fn a_purge_holds_at_once_also_if_the_server_is_killed() {
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    for what in [json!({"all": true}), json!({"model": MODEL})] {
        for n in 0..50 {
            let answer = proxy.ask(&chat(&format!("killed {n}"))).await;
            answer.is(200, "miss");
        }
        written(&proxy, 50).await;
        purge(&proxy, &what).await;
        proxy.kill9();
        proxy.exits_within(ms(5_000)).await;
        proxy.start_again().await;
        assert_eq!(looked(&proxy, "/cache/stats").await["entries"], 0);
    }
    proxy.ask(&chat("killed 1")).await.is(200, "miss");
}

#[tokio::test]
async fn one_key_is_purged_in_all_its_forms() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let stream = proxy.ask(&chat_stream("in both forms")).await;
    let made = proxy.ask(&chat("in both forms")).await;
    made.is(200, "hit");
    proxy.ask(&chat("another")).await.is(200, "miss");
    // By the key of the form that is on disk; the other one is made from it and in memory.
    let purged = purge(&proxy, &json!({"key": key_of(&stream)})).await;
    assert_eq!(purged["found"], true, "{purged}");
    let again = purge(&proxy, &json!({"key": key_of(&stream)})).await;
    assert_eq!(again["found"], false, "{again}");
    let all = purge(&proxy, &json!({"model": "another"})).await;
    assert_eq!(all.get("found"), None, "{all}");
    proxy.ask(&chat("in both forms")).await.is(200, "miss");
    proxy
        .ask(&chat_stream("in both forms"))
        .await
        .is(200, "hit");
    proxy.ask(&chat("another")).await.is(200, "hit");
    origin.was_called(3);
}

#[tokio::test]
async fn what_is_on_its_way_is_delivered_and_not_stored() {
    for (what, kept) in [
        (json!({"all": true}), false),
        (json!({"model": MODEL}), false),
        (json!({"key": "of the question"}), false),
        (json!({"older_than": "0s"}), true),
        (json!({"model": "another"}), true),
    ] {
        let gate = Gate::closed();
        let held = gate.clone();
        let origin = origin()
            .answer(move |call| llm::any(call).held(&held))
            .start()
            .await;
        let proxy = proxy_before(&origin).await;
        let what = match what.get("key") {
            Some(_) => {
                let ask = chat("on its way").cache_control("only-if-cached");
                json!({"key": key_of(&proxy.ask(&ask).await)})
            }
            None => what,
        };
        let opened = async {
            proxy.following(1).await;
            purge(&proxy, &what).await;
            gate.open();
        };
        let ask = chat("on its way");
        let (answer, ()) = tokio::join!(proxy.ask(&ask), opened);
        answer.is(200, "miss");
        let then = match kept {
            true => "hit",
            false => "miss",
        };
        proxy.ask(&ask).await.is(200, then);
        proxy.ask(&ask).await.is(200, "hit");
        let stats = looked(&proxy, "/cache/stats").await;
        assert!(stats["entries"].as_u64().unwrap() <= 1, "{stats}");
    }
}

#[tokio::test]
async fn purges_do_not_disturb_clients() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let asks: Vec<Ask> = (0..40)
        .map(|n| chat(&format!("undisturbed {}", n % 10)))
        .collect();
    for round in 0..20 {
        let purging = async {
            for what in [
                json!({"all": true}),
                json!({"model": "o3"}),
                json!({"older_than": "1d"}),
            ] {
                purge(&proxy, &what).await;
            }
        };
        let (answers, ()) = tokio::join!(ask_all(&proxy, &asks), purging);
        for answer in answers {
            answer.is_clean(200);
        }
        let stats = looked(&proxy, "/cache/stats").await;
        assert!(stats["entries"].as_u64().unwrap() <= 10, "{round}: {stats}");
    }
}
