//! The shared tier: what its keys say, alone and together.

use std::time::Duration;

use super::super::{Shared, SharedMode, Tls, load_for_tools};
use super::*;

fn file(keys: &str) -> String {
    format!("{SHORTEST}shared: {{{keys}}}\n")
}

fn shared(keys: &str, variables: &[(&str, &str)]) -> Shared {
    good(&file(keys), variables).shared.unwrap()
}

/// The errors of a `shared` section, each as its key and words of its message.
#[track_caller]
fn refused(keys: &str, variables: &[(&str, &str)], expected: &[(&str, &str)]) {
    let Err(errors) = load_text(&file(keys), variables) else {
        panic!("no error in: {keys}");
    };
    let found: Vec<_> = errors
        .iter()
        .map(|error| (error.path.to_string(), error.message.clone()))
        .collect();
    assert_eq!(found.len(), expected.len(), "{keys}\n{errors}");
    for (key, words) in expected {
        let path = format!("shared.{key}");
        let fits = |(at, message): &(String, String)| *at == path && message.contains(words);
        assert!(found.iter().any(fits), "{keys}\n{errors}\nhas not: {words}");
    }
}

#[test]
fn without_nodes_there_is_no_shared_tier() {
    for yaml in [
        "",
        "shared:\n",
        "shared: {}\n",
        "shared: {nodes: []}\n",
        "shared: {cluster: on, read_replicas: on, deadline: 5ms}\n",
        // What is switched off needs no secrets and files.
        "shared: {tls: on, ca_file: /not/there, username: a, password_env: NOT_THERE}\n",
        "shared: {tls: on, cert_file: /not/there, key_file: /not/there}\n",
    ] {
        assert_eq!(good(&format!("{SHORTEST}{yaml}"), &[]).shared, None);
    }
    // What else is wrong is seen before the day it is switched on.
    refused("deadline: 0s", &[], &[("deadline", "at least 1ms")]);
}

#[test]
fn one_node_is_enough_and_the_rest_has_defaults() {
    let expected = Shared {
        nodes: vec!["10.0.0.1:6379".to_owned()],
        mode: SharedMode::Single,
        tls: false,
        ca_file: None,
        identity: None,
        username: None,
        password: None,
        read_replicas: false,
        prefix: "llmc:".to_owned(),
        deadline: Duration::from_millis(30),
        single_flight: true,
        write_queue_bytes_max: 64 << 20,
    };
    assert_eq!(shared("nodes: ['10.0.0.1:6379']", &[]), expected);
    assert_eq!(shared("nodes: '10.0.0.1:6379'", &[]), expected);
    let variable = [("LLM_CACHE__SHARED__NODES", "10.0.0.1:6379")];
    assert_eq!(good(SHORTEST, &variable).shared, Some(expected));
}

#[test]
fn every_key_is_read() {
    let scratch = Scratch::new();
    let authorities = scratch.file(
        "ca.pem",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    );
    let certificate = scratch.file(
        "cert.pem",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    );
    let key = scratch.file(
        "key.pem",
        "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
    );
    let secrets = [("OWN", "p\u{e4}ss word"), ("SENTINELS", "other")];
    let secret = |name: &str| good(&file("nodes: a:1, password_env: X"), &[("X", name)]);
    let secret = |name: &str| secret(name).shared.unwrap().password;
    let keys = format!(
        "nodes: [a:26379, b:26379], sentinel: mymaster, tls: on, ca_file: {}, cert_file: {}, \
         key_file: {}, username: cache, \
         password_env: OWN, sentinel_username: watch, sentinel_password_env: SENTINELS, prefix: 'x:', \
         deadline: 5ms, single_flight: off, write_queue_bytes_max: 1MiB",
        authorities.display(),
        certificate.display(),
        key.display()
    );
    let expected = Shared {
        nodes: vec!["a:26379".to_owned(), "b:26379".to_owned()],
        mode: SharedMode::Sentinel {
            master: "mymaster".to_owned(),
            username: Some("watch".to_owned()),
            password: secret("other"),
        },
        tls: true,
        ca_file: Some(authorities),
        identity: Some(Tls {
            cert: certificate,
            key,
        }),
        username: Some("cache".to_owned()),
        password: secret("p\u{e4}ss word"),
        read_replicas: false,
        prefix: "x:".to_owned(),
        deadline: Duration::from_millis(5),
        single_flight: false,
        write_queue_bytes_max: 1 << 20,
    };
    assert_eq!(shared(&keys, &secrets), expected);
    let cluster = shared("nodes: [a:1, b:2], cluster: on, read_replicas: on", &[]);
    assert_eq!(
        (cluster.mode, cluster.read_replicas),
        (SharedMode::Cluster, true)
    );
}

#[test]
fn variables_reach_into_the_section() {
    let config = good(
        &file("nodes: a:1, cluster: on"),
        &[
            ("LLM_CACHE__SHARED__NODES", "[b:2, 'c:3']"),
            ("LLM_CACHE__SHARED__DEADLINE", "10ms"),
            ("LLM_CACHE__SHARED__PASSWORD_ENV", "PASSWORD"),
            ("LLM_CACHE__STORE__DISK", "off"),
            ("PASSWORD", "hush"),
        ],
    );
    assert!(!config.store.disk && !format!("{config:?}").contains("hush"));
    let shared = config.shared.unwrap();
    assert_eq!(shared.nodes, ["b:2", "c:3"]);
    assert_eq!(shared.deadline, Duration::from_millis(10));
    assert_eq!(shared.password.unwrap().expose(), "hush");
    bad(
        SHORTEST,
        &[("LLM_CACHE__SHARED__NODE", "a:1")],
        &[("LLM_CACHE__SHARED__NODE shared.node", "did you mean `node")],
    );
}

#[test]
fn a_node_is_a_host_and_a_port() {
    for node in [
        "valkey:6379",
        "cache-0.cache.svc.cluster.local.:1",
        "10.0.0.1:65535",
        "[::1]:6379",
        "a_b:1",
    ] {
        let read = shared(&format!("nodes: ['{node}']"), &[]);
        assert_eq!(read.nodes, [node]);
    }
    let long = format!("{}:1", "a".repeat(254));
    for node in [
        "valkey",
        ":6379",
        "a:0",
        "a:65536",
        "a:+1",
        "a:",
        "::1:6379",
        "[::1]",
        "[::g]:1",
        "a b:1",
        "ä:1",
        "redis://a:6379",
        "user:hush@a:6379",
        &long,
    ] {
        let keys = format!("nodes: ['{node}']");
        refused(&keys, &[], &[("nodes[0]", "not a host and a port")]);
        let errors = load_text(&file(&keys), &[]).unwrap_err().to_string();
        assert!(!errors.contains("hush"), "{errors}");
    }
    refused(
        "cluster: on, nodes: [a:1, '', ~, a:1]",
        &[],
        &[
            ("nodes[1]", "an empty entry"),
            ("nodes[2]", "an empty entry"),
            ("nodes[3]", "a:1 is listed already"),
        ],
    );
    let many: String = (1..=129).map(|port| format!("a:{port}, ")).collect();
    refused(
        &format!("cluster: on, nodes: [{many}]"),
        &[],
        &[("nodes", "more than 128")],
    );
}

#[test]
fn ranges_have_ends() {
    let (longest, longer) = ("x".repeat(64), "x".repeat(65));
    for keys in [
        "deadline: 1ms",
        "deadline: 1s",
        "write_queue_bytes_max: 64KiB",
        &format!("prefix: {longest}"),
        "prefix: 'ü/[*]'",
    ] {
        good(&file(&format!("nodes: a:1, {keys}")), &[]);
    }
    for (keys, key, words) in [
        ("deadline: 0s", "deadline", "too short: at least 1ms"),
        ("deadline: 1001ms", "deadline", "too long: at most 1s"),
        ("deadline: 30", "deadline", "expected a duration"),
        (
            "write_queue_bytes_max: 1KiB",
            "write_queue_bytes_max",
            "at least 64KiB",
        ),
        ("prefix: ''", "prefix", "0 bytes, where 1 to 64 can be"),
        (&format!("prefix: {longer}"), "prefix", "65 bytes"),
        ("prefix: 'a{b'", "prefix", "no braces"),
        ("prefix: 'a}'", "prefix", "no braces"),
        ("prefix: 'a b'", "prefix", "white space"),
        (r#"prefix: "a\u00a0b""#, "prefix", "white space"),
        (r#"prefix: "a\0""#, "prefix", "control characters"),
        ("prefix:", "prefix", "found nothing"),
        ("cluster: yes", "cluster", "neither on nor off"),
    ] {
        refused(&format!("nodes: a:1, {keys}"), &[], &[(key, words)]);
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let variables = [("PASSWORD", "x")];
    for (keys, key, words) in [
        ("nodes: [a:1, b:1]", "nodes", "say which, or name one node"),
        (
            "nodes: a:1, cluster: on, sentinel: m",
            "sentinel",
            "contradicts `cluster: on`",
        ),
        ("nodes: a:1, sentinel: ' '", "sentinel", "is empty"),
        (
            "nodes: a:1, ca_file: /ca.pem",
            "ca_file",
            "only with `tls: on`",
        ),
        (
            "nodes: a:1, read_replicas: on",
            "read_replicas",
            "only with `cluster: on`",
        ),
        (
            "nodes: a:1, sentinel_password_env: PASSWORD",
            "sentinel_password_env",
            "only with `sentinel`",
        ),
        (
            "nodes: a:1, sentinel_username: u",
            "sentinel_username",
            "only with `sentinel`",
        ),
        (
            "nodes: a:1, sentinel: m, sentinel_username: u",
            "sentinel_username",
            "together with a password",
        ),
        (
            "nodes: a:1, username: u",
            "username",
            "together with a password",
        ),
        (
            "nodes: a:1, username: '', password_env: PASSWORD",
            "username",
            "is empty",
        ),
    ] {
        refused(keys, &variables, &[(key, words)]);
    }
}

/// A certificate and a key are no use without each other, and without TLS.
#[test]
fn a_certificate_comes_with_its_key_and_with_tls() {
    let scratch = Scratch::new();
    let pem = |name: &str, label: &str| {
        let text = format!("-----BEGIN {label}-----\nMIIB\n-----END {label}-----\n");
        scratch.file(name, text).display().to_string()
    };
    let cert = pem("cert.pem", "CERTIFICATE");
    let key = pem("key.pem", "EC PRIVATE KEY");
    let locked = pem("locked.pem", "ENCRYPTED PRIVATE KEY");
    let only_tls = "only with `tls: on`";
    for (keys, expected) in [
        (
            format!("cert_file: {cert}, key_file: {key}"),
            vec![("cert_file", only_tls), ("key_file", only_tls)],
        ),
        (
            format!("tls: on, cert_file: {cert}"),
            vec![("cert_file", "`key_file`")],
        ),
        (
            format!("tls: on, key_file: {key}"),
            vec![("key_file", "`cert_file`")],
        ),
        (
            format!("tls: on, cert_file: {key}, key_file: {cert}"),
            vec![
                ("cert_file", "no PEM block `CERTIFICATE`"),
                ("key_file", "no PEM block `PRIVATE KEY`"),
            ],
        ),
        (
            format!("tls: on, cert_file: /not/there, key_file: {locked}"),
            vec![("cert_file", "No such file"), ("key_file", "is encrypted")],
        ),
    ] {
        refused(&format!("nodes: a:1, {keys}"), &[], &expected);
    }
    let yaml = format!("{SHORTEST}shared:\n  nodes: a:1\n  tls: on\n  key_file: {key}\n");
    let line = yaml.lines().count();
    let place = format!("{line}:13 shared.key_file");
    bad(&yaml, &[], &[(&place, "`cert_file`")]);
}

#[test]
fn secrets_and_authorities_must_be_there() {
    let scratch = Scratch::new();
    let no_pem = scratch.file("ca.pem", "hello").display().to_string();
    for (keys, key, words) in [
        (
            "password_env: PASSWORD",
            "password_env",
            "the environment variable PASSWORD is unset",
        ),
        ("password_env: hush", "password_env", "never the key itself"),
        (
            "sentinel: m, sentinel_password_env: PASSWORD",
            "sentinel_password_env",
            "missing secret",
        ),
        (
            "tls: on, ca_file: /not/there.pem",
            "ca_file",
            "cannot be read: No such file",
        ),
        (
            &format!("tls: on, ca_file: {no_pem}"),
            "ca_file",
            "no PEM block `CERTIFICATE`",
        ),
    ] {
        let keys = format!("nodes: a:1, {keys}");
        refused(&keys, &[("PASSWORD", " ")], &[(key, words)]);
        let errors = load_text(&file(&keys), &[]).unwrap_err().to_string();
        assert!(!errors.contains("hush"), "{errors}");
    }
    // Commands that only talk to a server run where its secrets are not.
    let path = scratch.file("conf.yaml", file("nodes: a:1, password_env: PASSWORD"));
    let config = load_for_tools(Source::File(&path), &environment(&[]), false).unwrap();
    assert_eq!(config.shared, None);
}
