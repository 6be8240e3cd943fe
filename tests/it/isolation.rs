//! Tenants do not see each other unless the operator said so, and the upstream sees no credential
//! that is not meant for it.

use serde_json::json;

use crate::harness::*;

fn with(headers: &[(&str, &str)]) -> Ask {
    let ask = chat("whose is it").without("authorization");
    headers
        .iter()
        .fold(ask, |ask, (name, value)| ask.header(name, value))
}

#[tokio::test]
async fn every_credential_header_counts() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let tenants = [
        with(&[("authorization", "Bearer a")]),
        with(&[("authorization", "Bearer b")]),
        with(&[("authorization", "bearer a")]),
        with(&[("x-api-key", "a")]),
        with(&[("api-key", "a")]),
        with(&[("authorization", "Bearer a"), ("x-api-key", "a")]),
        with(&[("authorization", "Bearer a"), ("x-api-key", "b")]),
        with(&[("authorization", "Bearer a"), ("api-key", "a")]),
        with(&[("x-api-key", "a"), ("api-key", "b")]),
        with(&[("x-api-key", "a"), ("api-key", "c")]),
        with(&[]),
    ];
    let mut keys = std::collections::BTreeSet::new();
    for ask in &tenants {
        let miss = proxy.ask(ask).await;
        miss.is(200, "miss");
        keys.insert(miss.field("x-llm-cache-key").unwrap().to_owned());
    }
    assert_eq!(keys.len(), tenants.len());
    for (number, ask) in tenants.iter().enumerate() {
        let hit = proxy.ask(ask).await;
        hit.is(200, "hit");
        assert_eq!(hit.call(), number + 1, "another tenant's answer");
    }
    origin.was_called(tenants.len());
}

#[tokio::test]
async fn other_headers_do_not_split_a_tenant() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    proxy.ask(&chat("one tenant")).await.is(200, "miss");
    for (name, value) in [
        ("user-agent", "OpenAI/Python 2.0"),
        ("x-request-id", "r-7"),
        ("accept", "*/*"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ] {
        proxy
            .ask(&chat("one tenant").header(name, value))
            .await
            .is(200, "hit");
    }
    origin.was_called(1);
}

#[tokio::test]
async fn tenants_do_not_follow_each_other() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin()
        .answer(move |call| llm::any(call).held(&held))
        .start()
        .await;
    let proxy = proxy_before(&origin).await;
    let asks: Vec<_> = (0..6)
        .map(|n| chat("both").bearer(["a", "b", "c"][n % 3]))
        .collect();
    let opened = async {
        proxy.following(6).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(ask_all(&proxy, &asks), opened);
    origin.was_called(3);
    for pair in 0..3 {
        assert_eq!(
            answers[pair].call(),
            answers[pair + 3].call(),
            "one tenant, two calls"
        );
    }
}

#[tokio::test]
async fn a_shared_scope_has_to_be_meant() {
    let origin = origin().start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new();
    config
        .upstream("openai", &origin, json!({}))
        .set("cache.scope", "shared");
    std::fs::write(dir.path().join("config.yaml"), config.yaml()).unwrap();
    for word in ["run", "check"] {
        let run = command(dir.path(), &[word, "--config", "config.yaml"], &[]).await;
        assert_eq!(run.code, Some(64), "{run:?}");
        assert!(
            run.stderr.contains("trust_network"),
            "what to do is not said: {run:?}"
        );
    }
}

#[tokio::test]
async fn a_shared_scope_is_shared() {
    let origin = origin().start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("cache.scope", "shared")
        .set("cache.trust_network", "on")
        .start()
        .await;
    proxy
        .ask(&with(&[("authorization", "Bearer a")]))
        .await
        .is(200, "miss");
    proxy
        .ask(&with(&[("authorization", "Bearer b")]))
        .await
        .is(200, "hit");
    proxy.ask(&with(&[("x-api-key", "c")])).await.is(200, "hit");
    proxy.ask(&with(&[])).await.is(200, "hit");
    let in_query = |key: &str| Ask {
        path: format!("{}?key={key}", with(&[]).path),
        ..with(&[])
    };
    proxy.ask(&in_query("a")).await.is(200, "hit");
    proxy.ask(&in_query("b")).await.is(200, "hit");
    origin.was_called(1);
}

#[tokio::test]
async fn a_refusal_of_one_credential_is_not_another_ones_in_a_shared_scope() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| match call.header("authorization") {
        Some("Bearer expired") => Reply::error(401, "expired").held(&held),
        _ => llm::any(call),
    };
    let origin = origin().answer(script).start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("cache.scope", "shared")
        .set("cache.trust_network", "on")
        .start()
        .await;
    let ask = chat("shared refusal");
    let (expired, good) = (ask.clone().bearer("expired"), ask.bearer("good"));
    let second = async {
        origin.called(1).await;
        let opened = async {
            proxy.following(2).await;
            gate.open();
        };
        tokio::join!(proxy.ask(&good), opened).0
    };
    let (first, second) = tokio::join!(proxy.ask(&expired), second);
    first.is_error(401);
    second.is_clean(200);
}

#[tokio::test]
async fn the_upstreams_own_key_replaces_the_clients() {
    let origin = origin().start().await;
    let proxy = proxy()
        .config(|c| {
            c.upstream("by-env", &origin, json!({"api_key_env": "STORY_KEY"}));
            c.upstream("by-file", &origin, json!({"api_key_file": "key.txt"}));
            c.upstream("by-client", &origin, json!({}));
            c.env("STORY_KEY", "sk-env").file("key.txt", "sk-file\n");
        })
        .start()
        .await;
    // One URL for all three, so the cache would know the answer.
    let ask = chat("whose key")
        .header("x-api-key", "mine")
        .header("api-key", "mine too")
        .cache_control("no-store");
    for (upstream, sent) in [
        ("by-env", "Bearer sk-env"),
        ("by-file", "Bearer sk-file"),
        ("by-client", "Bearer sk-test"),
    ] {
        for path in ["v1/chat/completions", "v1/models"] {
            let ask = ask.clone().to(&format!("/{upstream}/{path}"));
            proxy.ask(&ask).await.is_clean(200);
            let call = origin.last();
            assert!(call.target.ends_with(path));
            assert_eq!(
                call.header("authorization"),
                Some(sent),
                "{upstream} {path}"
            );
            let own = (upstream == "by-client").then_some("mine");
            assert_eq!(
                call.header("x-api-key"),
                own,
                "{upstream}: not meant for it"
            );
        }
    }
    let ask = messages("whose key", false).to("/by-env/v1/messages");
    proxy.ask(&ask).await.is(200, "miss");
    assert_eq!(origin.last().header("x-api-key"), Some("sk-env"));
    assert_eq!(origin.last().header("authorization"), None);
}

#[tokio::test]
async fn clients_stay_apart_before_an_upstream_with_its_own_key() {
    let origin = origin().start().await;
    let proxy = proxy()
        .config(|c| {
            c.upstream("openai", &origin, json!({"api_key_env": "STORY_KEY"}));
            c.env("STORY_KEY", "sk-env");
        })
        .start()
        .await;
    proxy.ask(&chat("apart").bearer("a")).await.is(200, "miss");
    proxy.ask(&chat("apart").bearer("b")).await.is(200, "miss");
    proxy.ask(&chat("apart").bearer("a")).await.is(200, "hit");
}

#[tokio::test]
async fn credentials_and_prompts_reach_neither_disk_nor_logs() {
    let origin = origin().start().await;
    let mut proxy = proxy()
        .upstream(&origin)
        .set("log.level", "debug")
        .start()
        .await;
    let secrets = ["sk-very-secret-credential", "the-prompt-nobody-keeps"];
    let ask = chat(secrets[1]).bearer(secrets[0]);
    proxy.ask(&ask).await.is(200, "miss");
    proxy.ask(&ask).await.is(200, "hit");
    proxy.sigterm();
    proxy.exits_within(ms(10_000)).await;
    let mut places = vec![("the output".to_owned(), proxy.process.output().into_bytes())];
    let mut folders = vec![proxy.path("data")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                places.push((path.display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    assert!(places.len() > 2, "the store is not where it was configured");
    for (place, bytes) in places {
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "{secret:?} is in {place}");
        }
    }
}
