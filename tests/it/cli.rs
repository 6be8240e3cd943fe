//! The command line: exit codes scripts can rely on, every error with its place.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::*;

const GOOD: &str = "\
server:
  listen: [\"127.0.0.1:0\"]
  admin: \"127.0.0.1:0\"
upstreams:
  - name: openai
    url: http://127.0.0.1:1/v1
";

fn dir_with(yaml: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("c.yaml"), yaml).unwrap();
    dir
}

/// Runs `check` on this file, and sees that `run` refuses it in the same words.
async fn refused(yaml: &str, env: &[(&str, &str)]) -> String {
    let dir = dir_with(yaml);
    let check = command(dir.path(), &["check", "--config", "c.yaml"], env).await;
    assert_eq!(check.code, Some(64), "check: {check:?}");
    let run = command(dir.path(), &["run", "--config", "c.yaml"], env).await;
    assert_eq!(run.code, Some(64), "run: {run:?}");
    assert_eq!(
        check.stderr, run.stderr,
        "check and run say different things"
    );
    assert!(
        !dir.path().join("data").exists(),
        "a store was made with a bad configuration"
    );
    check.stderr
}

#[tokio::test]
async fn check_accepts_a_good_file() {
    let dir = dir_with(GOOD);
    let check = command(dir.path(), &["check", "--config", "c.yaml"], &[]).await;
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(!dir.path().join("data").exists(), "check opened a store");
}

#[tokio::test]
async fn the_file_can_be_named_before_the_command() {
    let dir = TempDir::new().unwrap();
    let check = command(dir.path(), &["--config", "none.yaml", "check"], &[]).await;
    assert_eq!(check.code, Some(64), "{check:?}");
    assert!(check.stderr.contains("none.yaml"), "{check:?}");
}

/// What is found by whoever uses the files, not by whoever reads the configuration.
#[tokio::test]
async fn check_finds_a_key_that_is_not_the_certificates() {
    let dir = TempDir::new().unwrap();
    Identity::new().write(dir.path());
    std::fs::write(dir.path().join("other.pem"), Identity::new().key).unwrap();
    for (key, code) in [("key.pem", 0), ("other.pem", 64)] {
        let yaml = format!(
            "upstreams: [{{name: a, url: 'http://127.0.0.1:1'}}]\nshared: {{nodes: '127.0.0.1:1', tls: on, \
             ca_file: authority.pem, cert_file: certificate.pem, key_file: {key}}}\n"
        );
        std::fs::write(dir.path().join("c.yaml"), yaml).unwrap();
        let check = command(dir.path(), &["check", "--config", "c.yaml"], &[]).await;
        assert_eq!(check.code, Some(code), "{check:?}");
        let is_said = check
            .stderr
            .contains("shared: cannot prepare TLS: certificate.pem: ");
        assert_eq!(is_said, code != 0, "{check:?}");
    }
}

#[tokio::test]
async fn check_accepts_the_shipped_file() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/llm-cache-server.yaml");
    let dir = TempDir::new().unwrap();
    let file = shipped.to_str().unwrap();
    let check = command(dir.path(), &["check", "--config", file], &[]).await;
    assert_eq!(check.code, Some(0), "{check:?}");
}

#[tokio::test]
async fn every_class_of_error_is_reported_with_its_line() {
    for (yaml, place, word) in [
        (
            format!("{GOOD}cach:\n  default: on\n"),
            "c.yaml:7:1",
            "cach",
        ),
        (format!("{GOOD}cache:\n  ttll: 3d\n"), "c.yaml:8:3", "ttl"),
        (
            format!("{GOOD}limits:\n  body_bytes_max: lots\n"),
            "c.yaml:8:19",
            "body_bytes_max",
        ),
        (
            format!("{GOOD}cache:\n  default: maybe\n"),
            "c.yaml:8:12",
            "default",
        ),
        (GOOD.replace("http://", "ftp://"), "c.yaml:6:10", "url"),
        (
            format!("{GOOD}    api_key_env: NOT_SET\n"),
            "c.yaml:7:18",
            "NOT_SET",
        ),
        (
            format!("{GOOD}    api_key_file: not-there\n"),
            "c.yaml:7:19",
            "not-there",
        ),
        (
            format!("{GOOD}cache:\n  scope: shared\n"),
            "c.yaml:8:10",
            "trust_network",
        ),
        (
            format!("{GOOD}  - name: openai\n    url: http://h/v1\n"),
            "c.yaml:7:11",
            "openai",
        ),
        (GOOD.replace("0\"]", "nine\"]"), "c.yaml:2:12", "listen"),
        (format!("{GOOD}store: [1\n"), "c.yaml:", ""),
        (
            GOOD.replace("    url: http://127.0.0.1:1/v1\n", ""),
            "c.yaml:5:",
            "url",
        ),
    ] {
        let said = refused(&yaml, &[]).await;
        assert!(
            said.contains(place),
            "{place} is not in {said:?} for\n{yaml}"
        );
        assert!(
            said.contains(word),
            "{word:?} is not in {said:?} for\n{yaml}"
        );
    }
}

#[tokio::test]
async fn three_errors_are_reported_together() {
    let yaml = format!("{GOOD}limits:\n  body_timeout: soon\nunknown: 1\n");
    let said = refused(&yaml.replace("http://", "ftp://"), &[]).await;
    for place in ["c.yaml:6:10", "c.yaml:8:17", "c.yaml:9:1"] {
        assert!(said.contains(place), "{place} is not in {said:?}");
    }
    assert_eq!(
        said.lines().filter(|line| line.contains("c.yaml:")).count(),
        3,
        "{said:?}"
    );
}

#[tokio::test]
async fn an_unknown_variable_is_refused_like_an_unknown_key() {
    for (name, value) in [
        ("LLM_CACHE__CACHE__TTLL", "3d"),
        ("LLM_CACHE__NOTHING", "1"),
        ("LLM_CACHE__LIMITS__BODY_BYTES_MAX", "lots"),
        ("LLM_CACHE__", "1"),
    ] {
        let said = refused(GOOD, &[(name, value)]).await;
        assert!(said.contains(name), "{name} is not in {said:?}");
    }
}

#[tokio::test]
async fn a_variable_overrules_the_file() {
    let origin = origin().start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("limits.body_bytes_max", "2MiB")
        .config(|c| {
            c.env("LLM_CACHE__LIMITS__BODY_BYTES_MAX", "2KiB");
        })
        .start()
        .await;
    proxy.ask(&chat_of_size("fits", 2048)).await.is(200, "miss");
    proxy
        .ask(&chat_of_size("too long", 2049))
        .await
        .is_error(413);
}

#[tokio::test]
async fn the_ancestors_variables_keep_working() {
    let (first, second) = (origin().start().await, origin().start().await);
    let proxy = proxy()
        .config(|c| {
            c.upstream_at("openai", "http://127.0.0.1:1/v1", json!({}));
            c.env("OPENAI_BASE_URL", &first.url())
                .env("OPENAI_API_KEY", "sk-ancestor");
            c.env("ADDITIONAL_BASE_URLS", &second.url());
        })
        .start()
        .await;
    proxy
        .ask(&chat("ancestor").without("authorization"))
        .await
        .is(200, "miss");
    assert_eq!(
        first.last().header("authorization"),
        Some("Bearer sk-ancestor")
    );
    proxy.ask(&chat("ancestor")).await.is(200, "miss");
    assert_eq!(first.last().header("authorization"), Some("Bearer sk-test"));
}

#[tokio::test]
async fn a_missing_file_and_a_wrong_word_are_refused() {
    let dir = TempDir::new().unwrap();
    let run = command(dir.path(), &["run", "--config", "absent.yaml"], &[]).await;
    assert_eq!(run.code, Some(64), "{run:?}");
    assert!(run.stderr.contains("absent.yaml"), "{run:?}");
    for args in [&["fly"][..], &["run", "--no-such-option"]] {
        let run = command(dir.path(), args, &[]).await;
        assert!(run.code.is_some_and(|code| code != 0), "{run:?}");
        assert!(run.stderr.contains(args[args.len() - 1]), "{run:?}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_an_error_with_a_name() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let dir = dir_with(&GOOD.replace("127.0.0.1:0\"]", &format!("{}\"]", proxy.addr)));
    let run = command(dir.path(), &["run", "--config", "c.yaml"], &[]).await;
    assert!(
        run.code.is_some_and(|code| code != 0 && code != 64),
        "{run:?}"
    );
    assert!(run.stderr.contains(&proxy.addr.to_string()), "{run:?}");
    proxy.ask(&chat("unharmed")).await.is(200, "miss");
}

#[tokio::test]
async fn a_store_in_use_is_an_error_with_a_name() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let data = proxy.path("data");
    let yaml = format!("{GOOD}store:\n  path: {}\n", data.display());
    let dir = dir_with(&yaml);
    let run = command(dir.path(), &["run", "--config", "c.yaml"], &[]).await;
    assert!(run.code.is_some_and(|code| code != 0), "{run:?}");
    assert!(run.stderr.contains(data.to_str().unwrap()), "{run:?}");
    proxy.ask(&chat("unharmed")).await.is(200, "miss");
}

#[tokio::test]
async fn healthcheck_tells_a_running_server_from_none() {
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    let dir = TempDir::new().unwrap();
    let file = proxy.path("config.yaml");
    let args = ["healthcheck", "--config", file.to_str().unwrap()];
    let alive = command(dir.path(), &args, &[]).await;
    assert_eq!(alive.code, Some(0), "{alive:?}");
    proxy.sigterm();
    proxy.exits_within(ms(5_000)).await;
    let dead = command(dir.path(), &args, &[]).await;
    assert_eq!(dead.code, Some(1), "{dead:?}");
    assert!(!dead.stderr.is_empty(), "no reason given");
}

#[tokio::test]
async fn schema_prints_a_json_schema() {
    let dir = TempDir::new().unwrap();
    let run = command(dir.path(), &["schema"], &[]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let schema: Value = serde_json::from_str(&run.stdout).unwrap();
    for section in ["server", "limits", "upstreams", "cache", "store", "log"] {
        assert!(
            schema["properties"].get(section).is_some(),
            "no {section} in {schema}"
        );
    }
    assert_eq!(schema["additionalProperties"], json!(false));
}

#[tokio::test]
async fn run_is_the_default_word() {
    let origin = origin().start().await;
    let dir = TempDir::new().unwrap();
    let (listen, admin) = (Port::free(), Port::free());
    let yaml = GOOD
        .replace("[\"127.0.0.1:0\"]", &format!("[\"{}\"]", listen.addr()))
        .replace("\"127.0.0.1:0\"", &format!("\"{}\"", admin.addr()))
        .replace("http://127.0.0.1:1/v1", &origin.url());
    std::fs::create_dir(dir.path().join("conf")).unwrap();
    std::fs::write(dir.path().join("conf/llm-cache-server.yaml"), yaml).unwrap();
    let mut process = Process::start(dir.path(), &[], &Default::default());
    let ready = async || match try_get(admin.addr(), "/readyz").await {
        Ok(200) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    within(ms(20_000), "the server is ready", ready).await;
    process.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(process.exits_within(ms(5_000)).await.success());
}

#[tokio::test]
async fn the_demo_shows_five_scenes_and_stays_up() {
    let dir = TempDir::new().unwrap();
    let mut process = Process::start(dir.path(), &["demo"], &Default::default());
    let played = within(ms(60_000), "the demo prints curl lines", || {
        let (stdout, ended) = (process.stdout(), process.exited());
        std::future::ready(match ended {
            None if stdout.contains("curl ") => Ok(stdout),
            _ => Err(format!("{ended:?}, {stdout}")),
        })
    })
    .await;
    for scene in 1..=5 {
        let heading = played
            .lines()
            .any(|line| line.trim().starts_with(&format!("{scene}  ")));
        assert!(heading, "no scene {scene} in\n{played}");
    }
    assert!(
        played.contains("104 questions asked, 3 paid for"),
        "{played}"
    );
    process.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(process.exits_within(ms(5_000)).await.success());
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_the_operators_to_mend() {
    let dir = dir_with(&format!("{GOOD}store: {{path: file}}\n"));
    std::fs::write(dir.path().join("file"), "").unwrap();
    let run = command(dir.path(), &["run", "--config", "c.yaml"], &[]).await;
    assert_eq!(run.code, Some(64), "{run:?}");
    let says = run.stderr.contains("/file as the store") && run.stderr.contains("store.path");
    assert!(says && run.stderr.lines().count() == 1, "{run:?}");
}
