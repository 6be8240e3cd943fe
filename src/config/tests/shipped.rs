//! The file as shipped, the defaults of the types and the schema say the same.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::super::file::{File, Objects, Price, Rule, Shared, Tls, Tracing, Upstream};
use super::super::units::{List, Span};
use super::super::{Abandoned, Durability, Keep, LogFormat, Retries, Scope, schema};
use super::*;

/// The upstreams of the shipped file, and nothing else.
const ALMOST_EMPTY: &str = r#"
upstreams:
  - name: openai
    url: https://api.openai.com/v1
    models: ["gpt-*", "o1*", "o3*", "o4*", "chatgpt-*", "text-embedding-*"]
  - {name: anthropic, url: "https://api.anthropic.com/v1", models: ["claude-*"]}
"#;

#[test]
fn the_shipped_file_says_what_the_types_default_to() {
    let shipped = load(Source::Embedded, &environment(&[])).unwrap();
    assert_eq!(shipped, good(ALMOST_EMPTY, &[]));
    let empty_sections = "server:\nlimits: {}\ncache:\nstore: ~\nlog:\n";
    assert_eq!(
        shipped,
        good(&format!("{empty_sections}{ALMOST_EMPTY}"), &[])
    );
}

/// What the image starts with.
const CONTAINER_YAML: &str = include_str!("../../../conf/container.yaml");

#[test]
fn the_image_starts_with_the_defaults_but_for_one_address() {
    let mut image = good(CONTAINER_YAML, &[]);
    assert_eq!(image.server.admin, "0.0.0.0:9901".parse().unwrap());
    image.server.admin = "127.0.0.1:9901".parse().unwrap();
    assert_eq!(image, load(Source::Embedded, &environment(&[])).unwrap());
}

#[test]
fn the_defaults_are_those_that_were_promised() {
    let config = load(Source::Embedded, &environment(&[])).unwrap();
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    let secs = Duration::from_secs;
    let server = config.server.clone();
    assert_eq!(
        (server.listen, server.admin, server.admin_token),
        (
            vec![address("0.0.0.0:9999")],
            address("127.0.0.1:9901"),
            None
        )
    );
    assert_eq!(
        (server.tls, server.shutdown_deadline, server.keepalive),
        (None, secs(25), secs(60))
    );
    assert_eq!(
        server.threads,
        std::thread::available_parallelism().unwrap().get()
    );
    let limits = config.limits;
    assert_eq!(
        (limits.body_bytes_max, limits.answer_bytes_max),
        (32 << 20, 64 << 20)
    );
    assert_eq!(
        (limits.header_timeout, limits.body_timeout),
        (secs(10), secs(60))
    );
    assert_eq!(
        (limits.write_timeout, limits.fill_detached_max),
        (secs(60), secs(600))
    );
    assert_eq!(limits.fills_max, 4096);
    let cache = config.cache;
    assert!(cache.default_on && !cache.trust_network);
    assert_eq!(
        (cache.scope, cache.abandoned),
        (Scope::Credential, Abandoned::Finish)
    );
    assert_eq!(
        (cache.freshness.ttl, cache.error_linger),
        (secs(30 * 86400), Duration::from_millis(200))
    );
    let none = Duration::ZERO;
    let stale = (
        cache.freshness.stale_while_revalidate,
        cache.freshness.stale_if_error,
    );
    assert_eq!(stale, (none, secs(86400)));
    assert_eq!(cache.request_ttl_max, secs(30 * 86400));
    assert_eq!((cache.rules, cache.keep), (vec![], vec![]));
    assert!(cache.embeddings_by_item && config.server.compression);
    assert_eq!(cache.retries, Retries::Refresh);
    let store = config.store;
    assert!(store.disk && config.shared.is_none());
    assert_eq!(
        (store.path, store.memory_bytes_max),
        (PathBuf::from("./data"), 512 << 20)
    );
    assert_eq!(
        (store.disk_bytes_max, store.write_queue_bytes_max),
        (20 << 30, 64 << 20)
    );
    assert_eq!(
        (store.durability, store.pinned),
        (Durability::Process, vec![])
    );
    assert_eq!(
        (config.log.format, config.log.level),
        (LogFormat::Text, log::LevelFilter::Info)
    );
    for upstream in config.upstreams {
        let times = upstream.timeouts;
        assert_eq!(
            (times.connect, times.first_byte, times.idle),
            (secs(5), secs(300), secs(120))
        );
        assert_eq!(upstream.api_key, None);
        assert_eq!(upstream.url.path(), "/v1");
    }
}

/// Every key there is, with some value.
fn every_key() -> Value {
    let tls = Tls {
        cert: Some("c".into()),
        key: Some("k".into()),
    };
    let upstream = Upstream {
        name: Some("a".into()),
        url: Some("b".into()),
        models: List::of(["c".to_owned()]),
        api_key_env: Some("d".into()),
        api_key_file: Some("e".into()),
        prices: vec![Some(Price {
            models: List::of(["f".to_owned()]),
            input: Some(1.0),
            output: Some(2.0),
        })],
        ..Upstream::default()
    };
    let mut file = File::default();
    file.server.tls = Some(tls);
    file.server.admin_token_env = Some("k".into());
    file.tracing = Some(Tracing {
        endpoint: Some("g".into()),
        ..Tracing::default()
    });
    file.shared = Some(Shared {
        sentinel: Some("l".into()),
        ca_file: Some("m".into()),
        cert_file: Some("r".into()),
        key_file: Some("s".into()),
        username: Some("n".into()),
        password_env: Some("o".into()),
        sentinel_username: Some("p".into()),
        sentinel_password_env: Some("q".into()),
        ..Shared::default()
    });
    file.objects = Some(Objects {
        endpoint: Some("r".into()),
        ca_file: Some("v".into()),
        access_key_env: Some("s".into()),
        secret_key_env: Some("t".into()),
        session_token_env: Some("u".into()),
        ..Objects::default()
    });
    file.cache.keep = List::of([Keep::Length]);
    file.cache.rules = vec![Some(Rule {
        upstream: Some("h".into()),
        api: Some("i".into()),
        models: List::of(["j".to_owned()]),
        ttl: Some(Span::secs(1)),
        stale_while_revalidate: Some(Span::secs(2)),
        stale_if_error: Some(Span::secs(3)),
    })];
    file.upstreams.push(Some(upstream));
    serde_json::to_value(file).unwrap()
}

/// Walks `value` and the schema side by side; every key must be described there.
fn described(value: &Value, schema: &Value, whole: &Value, keys: &mut Vec<String>) {
    let target = schema["$ref"]
        .as_str()
        .and_then(|link| link.strip_prefix('#'));
    let schema = target.map_or(schema, |link| whole.pointer(link).unwrap());
    match value {
        Value::Object(members) => {
            assert_eq!(schema["additionalProperties"], false);
            let known = schema["properties"].as_object().unwrap();
            let names = known.keys().collect::<Vec<_>>();
            assert_eq!(members.keys().collect::<Vec<_>>(), names);
            for (name, member) in members {
                let text = known[name]["description"].as_str();
                assert!(
                    text.is_some_and(|text| text.len() > 10 && !text.contains('\n')),
                    "{name}"
                );
                keys.push(name.clone());
                described(member, &known[name], whole, keys);
            }
        }
        Value::Array(items) if schema["items"].is_object() => {
            items
                .iter()
                .for_each(|item| described(item, &schema["items"], whole, keys));
        }
        _ => {}
    }
}

#[test]
fn schema_and_shipped_file_know_every_key() {
    let schema = schema();
    let mut keys = Vec::new();
    described(&every_key(), &schema, &schema, &mut keys);
    assert_eq!(keys.len(), 97);
    for key in keys {
        assert!(
            DEFAULT_YAML.contains(&format!("{key}: "))
                || DEFAULT_YAML.contains(&format!("{key}:\n")),
            "{key}"
        );
    }
    assert_eq!(
        schema["$defs"]["Upstream"]["required"],
        serde_json::json!(["name", "url"])
    );
    assert_eq!(
        schema["$defs"]["Tls"]["required"],
        serde_json::json!(["cert", "key"])
    );
    assert_eq!(
        schema["$defs"]["Cache"]["properties"]["ttl"]["default"],
        "30d"
    );
}

#[test]
fn the_examples_in_the_shipped_file_are_good() {
    let scratch = Scratch::new();
    let key = scratch.file("key", "sk-x");
    let file = DEFAULT_YAML
        .replace(
            "# api_key_file: /run/secrets/openai",
            &format!("api_key_file: {}", key.display()),
        )
        .replace("# api_key_env: OPENAI_API_KEY", "");
    assert!(good(&file, &[]).upstreams[0].api_key.is_some());
    let file = DEFAULT_YAML.replace("# api_key_env", "api_key_env");
    assert!(
        good(&file, &[("OPENAI_API_KEY", "x")]).upstreams[0]
            .api_key
            .as_ref()
            .unwrap()
            .replaces
    );
    let file = DEFAULT_YAML.replace("# tls:", "tls:");
    let line = 1 + file
        .lines()
        .position(|line| line.contains(" tls:"))
        .unwrap();
    let (cert, key) = (
        format!("{line}:15 server.tls.cert"),
        format!("{line}:51 server.tls.key"),
    );
    bad(
        &file,
        &[],
        &[(&cert, "No such file"), (&key, "No such file")],
    );
    let (before, section) = DEFAULT_YAML.split_once("# shared:\n").unwrap();
    let (section, after) = section.split_once("\n\n").unwrap();
    let section = section.replace("\n#", "\n").replacen('#', "", 1);
    let shared = good(&format!("{before}shared:\n{section}\n\n{after}"), &[]).shared;
    let defaults = good(
        &format!("{SHORTEST}shared: {{nodes: '10.0.0.1:6379'}}"),
        &[],
    )
    .shared;
    assert!(shared.is_some() && shared == defaults);
    let variables = [
        ("LLM_CACHE__STORE__PATH", "/data"),
        (
            "LLM_CACHE__UPSTREAMS",
            r#"[{name: local, url: "http://10.0.0.7:8000/v1"}]"#,
        ),
    ];
    let config = load(Source::Embedded, &environment(&variables)).unwrap();
    assert_eq!(config.store.path, PathBuf::from("/data"));
    assert_eq!(config.upstreams[0].name, "local");
}

#[test]
fn errors_in_the_embedded_file_are_told_apart() {
    let errors = load(
        Source::Embedded,
        &environment(&[("LLM_CACHE__UPSTREAMS", "[]")]),
    )
    .unwrap_err();
    assert!(
        errors
            .to_string()
            .starts_with("LLM_CACHE__UPSTREAMS: upstreams: at least one"),
        "{errors}"
    );
    let variables = [("LLM_CACHE__SERVER__LISTEN", "0.0.0.0:9901")];
    let errors = load(Source::Embedded, &environment(&variables)).unwrap_err();
    let line = 1 + DEFAULT_YAML
        .lines()
        .position(|line| line.contains("  admin:"))
        .unwrap();
    let expected =
        format!("built-in configuration:{line}:10: server.admin: 127.0.0.1:9901 is among");
    assert!(errors.to_string().starts_with(&expected), "{errors}");
}
