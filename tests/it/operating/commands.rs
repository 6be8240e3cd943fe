//! The command line, asking the server or reading its store.

use super::*;

/// Runs the binary with the server's configuration.
async fn cli(proxy: &Proxy, args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let dir = tempfile::TempDir::new().unwrap();
    // The store's path is relative to where the server runs.
    let config = proxy.path("config.yaml");
    let store = proxy.path("data");
    let mut env = env.to_vec();
    env.push(("LLM_CACHE__STORE__PATH", store.to_str().unwrap()));
    let args = [args, &["--config", config.to_str().unwrap()]].concat();
    let run = command(dir.path(), &args, &env).await;
    (run.code, run.stdout, run.stderr)
}

async fn good(proxy: &Proxy, args: &[&str]) -> String {
    let (code, stdout, stderr) = cli(proxy, args, &[]).await;
    assert_eq!((code, &*stderr), (Some(0), ""), "{args:?}: {stdout}");
    stdout
}

#[tokio::test]
async fn stats_entries_and_inspect_say_the_same_with_a_server_and_without() {
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    let answer = proxy.ask(&chat("on the command line")).await;
    let stream = proxy
        .ask(&chat_stream("on the command line, streamed"))
        .await;
    let purged = proxy.ask(&chat_with("o3", "purged")).await;
    written(&proxy, 3).await;
    let said = good(&proxy, &["purge", "--model", "o3"]).await;
    assert_eq!(said, "purged: model \"o3\"\n");
    let unknown = "0".repeat(64);
    let said = good(&proxy, &["purge", "--key", &unknown]).await;
    assert_eq!(
        said,
        format!(
            "purged: key {unknown} (only this key; nothing is stored under it, purge by model to be \
             sure)\n"
        )
    );
    let long = "m".repeat(300);
    let long_named = proxy.ask(&chat_with(&long, "a long name")).await;
    proxy.reaches("llm_cache_store_writes_total", 4.0).await;
    let listed = good(&proxy, &["entries", "--model", &long]).await;
    assert!(listed.contains(&key_of(&long_named)), "{listed}");
    good(&proxy, &["purge", "--model", &long]).await;
    let key = key_of(&answer);
    for offline in [false, true] {
        let with = |args: &[&'static str]| -> Vec<&str> {
            let more: &[&str] = if offline { &["--offline"] } else { &[] };
            [args, more].concat()
        };
        let stats = good(&proxy, &with(&["stats", "--json"])).await;
        let stats: Value = serde_json::from_str(&stats).unwrap();
        assert_eq!(stats["entries"], 2, "offline: {offline}");
        assert_eq!(entries_of(&stats, "by_model", MODEL), Some(2));
        assert_eq!(stats.get("server").is_some(), !offline);
        let table = good(&proxy, &with(&["stats"])).await;
        assert!(
            table.contains("2 entries") && table.contains(MODEL),
            "{table}"
        );
        let table = good(&proxy, &with(&["entries", "--api", "chat"])).await;
        assert!(
            table.contains(&key) && table.contains(&key_of(&stream)),
            "{table}"
        );
        assert!(!table.contains(&key_of(&purged)), "{table}");
        let table = good(&proxy, &with(&["entries", "--limit", "1"])).await;
        assert!(table.contains("there are more"), "{table}");
        let mut args = with(&["inspect"]);
        args.push(&key);
        let shown = good(&proxy, &args).await;
        assert!(
            shown.contains(&answer.text()) && shown.contains("tokens in"),
            "{shown}"
        );
        args.push("--json");
        let shown: Value = serde_json::from_str(&good(&proxy, &args).await).unwrap();
        assert_eq!(shown["body"], answer.json());
        args.push("--no-body");
        let shown: Value = serde_json::from_str(&good(&proxy, &args).await).unwrap();
        assert!(shown.get("body").is_none());
        let gone = key_of(&purged);
        let mut args = with(&["inspect"]);
        args.push(&gone);
        let (code, _, stderr) = cli(&proxy, &args, &[]).await;
        assert_eq!(
            (code, stderr.contains("no entry")),
            (Some(1), true),
            "{stderr}"
        );
    }
    // The server has not noticed, and without it the store still says the same.
    proxy.ask(&chat("on the command line")).await.is(200, "hit");
    proxy.sigterm();
    proxy.exits_within(ms(20_000)).await;
    let stats = good(&proxy, &["stats", "--offline", "--json"]).await;
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["entries"], 2);
    proxy.start_again().await;
    proxy
        .ask(&chat_stream("on the command line, streamed"))
        .await
        .is(200, "hit");
}

/// Segments come and go under the look; what stays must be in each.
#[tokio::test]
async fn a_look_beside_a_busy_server_is_a_look_at_one_moment() {
    const BOUND: usize = 16 << 20;
    const BODY: usize = 30 << 10;
    const PINNED: u64 = 40;
    const LOOKS: usize = 8;
    // It compresses to half.
    let digits = (0..BODY / 64).map(|n| blake3::hash(&n.to_le_bytes()).to_hex());
    let body: String = digits.map(|digits| digits.to_string()).collect();
    let origin = origin()
        .answer(move |call| {
            let mut answer = llm::chat_value(call);
            answer["choices"][0]["message"]["content"] = json!(body);
            Reply::json(200, answer)
        })
        .start()
        .await;
    let proxy = proxy()
        .upstream(&origin)
        .set("store.disk_bytes_max", "16MiB")
        .set("store.pinned", json!(["pinned"]))
        .start()
        .await;
    let pinned: Vec<Ask> = (0..PINNED)
        .map(|n| chat(&format!("pinned {n}")).header("x-llm-cache-namespace", "pinned"))
        .collect();
    let mut keys = Vec::new();
    for answer in ask_all(&proxy, &pinned).await {
        answer.is(200, "miss");
        keys.push(key_of(&answer));
    }
    written(&proxy, PINNED as usize).await;
    let looked = std::sync::atomic::AtomicUsize::new(0);
    let rounds = std::sync::atomic::AtomicUsize::new(0);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    let busy = async {
        // As long as somebody looks, and several times the bound.
        for round in 0.. {
            let asks: Vec<Ask> = (0..16)
                .map(|n| chat(&format!("busy {round} {n}")))
                .collect();
            for answer in ask_all(&proxy, &asks).await {
                answer.is(200, "miss");
            }
            rounds.store(round + 1, relaxed);
            let written = (round + 1) * 8 * BODY;
            if looked.load(relaxed) == LOOKS && written > 6 * BOUND {
                break;
            }
        }
    };
    let looking = async {
        for look in 0..LOOKS {
            let stats = good(&proxy, &["stats", "--offline", "--json"]).await;
            let stats: Value = serde_json::from_str(&stats).unwrap();
            let found = entries_of(&stats, "by_namespace", "pinned");
            assert_eq!(found, Some(PINNED), "{stats}");
            let most = PINNED as usize + (rounds.load(relaxed) + 1) * 8;
            assert!(stats["entries"].as_u64().unwrap() <= most as u64, "{stats}");
            let listed = ["entries", "--offline", "--namespace", "pinned"];
            let listed = good(&proxy, &listed).await;
            assert!(keys.iter().all(|key| listed.contains(key)), "{listed}");
            let key = &keys[look % keys.len()];
            let shown = good(&proxy, &["inspect", "--offline", key]).await;
            assert!(shown.contains(MODEL), "{shown}");
            looked.store(look + 1, relaxed);
        }
    };
    tokio::join!(busy, looking);
    let evicted = "llm_cache_store_removed_total{reason=\"evicted\"}";
    proxy.reaches(evicted, 500.0).await;
}

#[tokio::test]
async fn what_the_server_refuses_is_said_and_the_exit_code_tells_whose_fault_it_is() {
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    let unknown = "0".repeat(64);
    for (args, code, word) in [
        (&["purge"][..], 64, "required"),
        (&["purge", "--all", "--model", "x"], 64, "cannot be used"),
        (&["purge", "--older-than", "soon"], 64, "length of time"),
        (&["purge", "--tenant", "abc"], 64, "16"),
        (&["purge", "--key", "abc"], 64, "64"),
        (&["purge", "--model", ""], 64, "empty"),
        (&["entries", "--limit", "0"], 64, "limit"),
        (&["entries", "--limit", "many"], 64, "invalid"),
        (&["entries", "--offline", "--tenant", "xyz"], 64, "tenant"),
        (&["inspect", "abc"], 64, "64"),
        (&["inspect", &unknown], 1, "no entry"),
        (&["checkpoint", "/not/there/copy"], 64, "/not/there"),
        (&["stats", "--config", "nothing.yaml"], 64, "config"),
    ] {
        let (exit, stdout, stderr) = cli(&proxy, args, &[]).await;
        assert_eq!(exit, Some(code), "{args:?}: {stdout}{stderr}");
        assert!(stderr.contains(word), "{args:?}: {stderr}");
        assert_eq!(stdout, "", "{args:?}");
    }
    proxy.sigterm();
    proxy.exits_within(ms(20_000)).await;
    let (exit, _, stderr) = cli(&proxy, &["stats"], &[]).await;
    assert_eq!(exit, Some(1), "{stderr}");
    assert!(stderr.contains("is the server running"), "{stderr}");
    std::fs::remove_dir_all(proxy.path("data")).unwrap();
    let (exit, _, stderr) = cli(&proxy, &["stats", "--offline"], &[]).await;
    assert_eq!(exit, Some(1), "{stderr}");
    assert!(stderr.contains("there is none"), "{stderr}");
    assert!(!proxy.path("data").exists(), "a look made a directory");
}

#[tokio::test]
async fn the_token_comes_from_the_variable_that_the_configuration_names() {
    let origin = origin().start().await;
    let token = "0123456789abcdef";
    let proxy = proxy()
        .upstream(&origin)
        .config(|c| {
            c.set("server.admin_token_env", "ADMIN_TOKEN")
                .env("ADMIN_TOKEN", token);
        })
        .start()
        .await;
    let args = ["stats", "--json"];
    let (code, stdout, _) = cli(&proxy, &args, &[("ADMIN_TOKEN", token)]).await;
    assert_eq!(code, Some(0), "{stdout}");
    let (code, _, stderr) = cli(&proxy, &args, &[("ADMIN_TOKEN", "another token 123")]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("server.admin_token_env"), "{stderr}");
    let (code, _, stderr) = cli(&proxy, &args, &[]).await;
    assert_eq!(
        (code, stderr.contains("ADMIN_TOKEN is unset")),
        (Some(64), true)
    );
    // What needs no server needs no token.
    let (code, _, stderr) = cli(&proxy, &["stats", "--offline"], &[]).await;
    assert_eq!(code, Some(0), "{stderr}");
}
