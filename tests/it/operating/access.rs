//! Who may.

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// One request of each kind.
fn requests() -> Vec<Ask> {
    vec![
        get("/cache/stats"),
        get("/cache/entries"),
        get(&format!("/cache/entries/{}", "0".repeat(64))),
        post("/cache/purge", &json!({"all": true})),
        post(
            "/cache/checkpoint",
            &json!({"directory": "/not/there/copy"}),
        ),
        get("/cache"),
        get("/cache/nothing"),
    ]
}

#[tokio::test]
async fn with_a_token_only_who_shows_it_may() {
    let origin = origin().start().await;
    let proxy = proxy()
        .upstream(&origin)
        .config(|c| {
            c.set("server.admin_token_env", "ADMIN_TOKEN")
                .env("ADMIN_TOKEN", TOKEN);
        })
        .start()
        .await;
    proxy.ask(&chat("kept")).await.is(200, "miss");
    written(&proxy, 1).await;
    for ask in requests() {
        for refused in [
            ask.clone(),
            ask.clone().bearer("0123456789abcdef"),
            ask.clone().bearer(&format!("{TOKEN}0")),
            ask.clone().header("authorization", TOKEN),
            ask.clone().header("x-api-key", TOKEN),
        ] {
            let answer = operate(&proxy, refused).await;
            answer.is_error(401);
            assert_eq!(answer.field("www-authenticate"), Some("Bearer"));
            assert!(answer.text().contains("server.admin_token_env"));
        }
    }
    proxy.ask(&chat("kept")).await.is(200, "hit");
    // From anywhere, under any name, on behalf of anybody.
    let shown = get("/cache/stats")
        .bearer(TOKEN)
        .header("host", "cache.example")
        .header("x-forwarded-for", "10.0.0.1");
    let stats = operate(&proxy, shown).await;
    stats.is_clean(200);
    assert_eq!(stats.json()["entries"], 1);
    let purge = post("/cache/purge", &json!({"all": true})).bearer(TOKEN);
    operate(&proxy, purge).await.is_clean(200);
    proxy.ask(&chat("kept")).await.is(200, "miss");
    // Probes and metrics stay open.
    for path in ["/livez", "/readyz", "/metrics"] {
        proxy.admin_get(path).await.is_clean(200);
    }
    assert!(!proxy.process.output().contains(TOKEN));
}

#[tokio::test]
async fn without_a_token_only_this_machine_may() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    proxy.ask(&chat("kept")).await.is(200, "miss");
    written(&proxy, 1).await;
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "localhost"),
        ("forwarded", "for=127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("via", "1.1 gateway"),
        ("origin", "http://127.0.0.1"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("host", "rebound.example"),
        ("host", "10.0.0.1:9901"),
    ] {
        for ask in requests() {
            let answer = operate(&proxy, ask.header(name, value)).await;
            answer.is_error(403);
            assert!(answer.text().contains("server.admin_token_env"), "{name}");
        }
    }
    proxy.ask(&chat("kept")).await.is(200, "hit");
    for host in ["localhost", "127.0.0.1:1", "[::1]:9901"] {
        let ask = get("/cache/stats").header("host", host);
        let answer = operate(&proxy, ask).await;
        answer.is_clean(200);
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
    }
    // The address of a browser's window.
    let typed = get("/cache/stats").header("sec-fetch-site", "none");
    operate(&proxy, typed).await.is_clean(200);
    // A probe comes under any name.
    proxy.admin_get("/readyz").await.is_clean(200);
}

#[tokio::test]
async fn without_a_token_another_address_of_this_machine_may_not() {
    let Some(address) = own_address() else {
        eprintln!("skipped: this machine has no address but loopback");
        return;
    };
    let origin = origin().start().await;
    let (listen, port) = (Port::free(), Port::free());
    let admin = std::net::SocketAddr::new(address, port.number);
    let dir = tempfile::TempDir::new().unwrap();
    let yaml = format!(
        "server: {{listen: \"{}\", admin: \"{admin}\"}}\nupstreams: [{{name: openai, url: \"{}\"}}]\n",
        listen.addr(),
        origin.url(),
    );
    std::fs::write(dir.path().join("c.yaml"), yaml).unwrap();
    let args = ["run", "--config", "c.yaml"];
    let _process = Process::start(dir.path(), &args, &Default::default());
    let ready = async || match try_get(admin, "/readyz").await {
        Ok(200) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    within(ms(20_000), "the server is ready", ready).await;
    let ask = get("/cache/stats").header("host", "localhost");
    let refused = H1::connect(admin).await.ask(&ask).await;
    refused.is_error(403);
    assert!(
        refused.text().contains("another machine"),
        "{}",
        refused.dump()
    );
}

/// An address of this machine that is not loopback, found without sending anything.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // From the range for documentation: it only has to have a route.
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

#[tokio::test]
async fn a_token_that_is_missing_or_short_is_refused_at_the_start() {
    let dir = tempfile::TempDir::new().unwrap();
    let yaml = "server: {admin_token_env: ADMIN_TOKEN}\nupstreams:\n  - {name: a, url: \"http://127.0.0.1:1/v1\"}\n";
    std::fs::write(dir.path().join("c.yaml"), yaml).unwrap();
    for (env, word) in [
        (&[][..], "ADMIN_TOKEN is unset"),
        (&[("ADMIN_TOKEN", "short")], "16 characters"),
    ] {
        for args in [
            ["check", "--config", "c.yaml"],
            ["stats", "--config", "c.yaml"],
        ] {
            let run = command(dir.path(), &args, env).await;
            assert_eq!(run.code, Some(64), "{run:?}");
            let said = run.stderr.contains("c.yaml:1:27") && run.stderr.contains(word);
            assert!(said, "{run:?}");
        }
    }
}
