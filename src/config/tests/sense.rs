//! What parses and yet makes no sense, alone or together with something else.

use super::super::Durability;
use super::*;

#[test]
fn sizes_and_durations_need_sense_and_a_unit() {
    let file =
        |section: &str, key: &str, value: &str| format!("{SHORTEST}{section}:\n  {key}: {value}");
    for (section, key, value, words) in [
        (
            "limits",
            "body_bytes_max",
            "1023",
            "1023B is too little: at least 1KiB",
        ),
        (
            "limits",
            "body_bytes_max",
            "2GiB",
            "2GiB is too much: at most 1GiB",
        ),
        ("limits", "answer_bytes_max", "0", "too little"),
        (
            "limits",
            "body_bytes_max",
            "12 bananas",
            "`12 bananas` is not a size such as",
        ),
        ("limits", "body_bytes_max", "-5", "expected a size such as"),
        ("limits", "fills_max", "0", "not between 1 and"),
        ("store", "memory_bytes_max", "15MiB", "at least 16MiB"),
        ("store", "disk_bytes_max", "15MiB", "at least 16MiB"),
        ("store", "disk_bytes_max", "lots", "not a size"),
        ("store", "disk_bytes_max", "2000TiB", "at most 1024TiB"),
        ("store", "write_queue_bytes_max", "1KiB", "at least 64KiB"),
        (
            "server",
            "shutdown_deadline",
            "25",
            "expected a duration such as",
        ),
        (
            "server",
            "shutdown_deadline",
            "soon",
            "`soon` is not a duration",
        ),
        (
            "server",
            "shutdown_deadline",
            "18446744073709551615s 1000ms",
            "is too long",
        ),
        ("server", "keepalive", "999ms", "at least 1s"),
        ("server", "threads", "1025", "more than 1024"),
        ("limits", "header_timeout", "0s", "too short"),
        ("limits", "body_timeout", "0s", "too short"),
        ("limits", "write_timeout", "0s", "too short"),
        ("limits", "fill_detached_max", "0s", "too short"),
        ("cache", "ttl", "0d", "too short"),
        ("cache", "ttl", "200y", "longer than 100 years"),
        ("store", "path", "''", "is empty"),
    ] {
        let place = format!("3:{} {section}.{key}", key.len() + 5);
        bad(&file(section, key, value), &[], &[(&place, words)]);
    }
    good(&file("server", "shutdown_deadline", "0s"), &[]);
    good(&file("cache", "error_linger", "0ms"), &[]);
}

#[test]
fn pinned_namespaces_have_names() {
    let file = |pinned: &str| format!("{SHORTEST}store: {{pinned: {pinned}}}");
    for (pinned, names) in [
        ("[]", &[][..]),
        ("evals", &["evals"]),
        ("[evals, CI.nightly_2-b]", &["evals", "CI.nightly_2-b"]),
    ] {
        assert_eq!(good(&file(pinned), &[]).store.pinned, names);
    }
    let (long, words) = ("a".repeat(65), "is not a namespace: 1 to 64 letters");
    bad(
        &file(&format!("[a, 'a b', '', ~, a/b, a, ü, {long}]")),
        &[],
        &[
            ("2:21 store.pinned[1]", words),
            ("2:28 store.pinned[2]", "an empty entry"),
            ("2:32 store.pinned[3]", "an empty entry"),
            ("2:35 store.pinned[4]", words),
            ("2:40 store.pinned[5]", "`a` is listed already"),
            ("2:43 store.pinned[6]", words),
            ("2:46 store.pinned[7]", words),
        ],
    );
}

#[test]
fn what_answers_survive_is_one_of_three_words() {
    let file = |word: &str| format!("{SHORTEST}store:\n  durability: {word}");
    for (word, expected) in [
        ("none", Durability::None),
        ("process", Durability::Process),
        ("power", Durability::Power),
    ] {
        assert_eq!(good(&file(word), &[]).store.durability, expected);
    }
    let words = "`disk` is none of: none, process, power";
    bad(&file("disk"), &[], &[("3:15 store.durability", words)]);
}

#[test]
fn upstreams_are_checked_one_by_one() {
    let upstream = |name: &str, url: &str| format!("upstreams:\n- name: {name}\n  url: {url}\n");
    for (url, words) in [
        (
            "api.openai.com/v1",
            "not a URL: relative URL without a base (write e.g. https://",
        ),
        ("'https://'", "not a URL: empty host"),
        ("ftp://a/v1", "not an http or https URL"),
        ("http://a/v1?x=1", "no query"),
        ("http://a/v1#", "no fragment"),
        ("http://me:pass@a/v1", "credentials do not belong in a URL"),
        ("http://a:0/v1", "port 0"),
        ("http://a:65536/v1", "not a URL: invalid port number"),
        (
            "http://localhost:9999/v1",
            "listens on 0.0.0.0:9999: it would ask itself",
        ),
        ("http://127.0.0.1:9901", "listens on 127.0.0.1:9901"),
        ("http://127.0.0.3:9999", "listens on 0.0.0.0:9999"),
        ("'http://[::1]:9999'", "listens on 0.0.0.0:9999"),
        ("http://0.0.0.0:9901", "listens on 127.0.0.1:9901"),
        (
            "'http://[::ffff:127.0.0.1]:9901'",
            "listens on 127.0.0.1:9901",
        ),
    ] {
        bad(&upstream("a", url), &[], &[("3:8 upstreams[0].url", words)]);
    }
    for url in [
        "http://localhost:9998",
        "http://127.0.0.2:9901",
        "http://other:9999/v1",
    ] {
        good(&upstream("a", url), &[]);
    }
    let reserved = [
        ("cache", "simulate", "v1", "v1beta"),
        ("health", "metrics", "livez", "readyz"),
        ("chat", "completions", "embeddings", "responses"),
    ];
    let reserved = reserved.into_iter().flat_map(|(a, b, c, d)| [a, b, c, d]);
    for name in reserved.chain(["messages", "models"]) {
        let words = "a word of the server's own paths";
        bad(
            &upstream(name, "http://a"),
            &[],
            &[("2:9 upstreams[0].name", words)],
        );
    }
    for name in ["Open", "-a", ".a", "_a", "a/b", "ä", "'a b'", "''"] {
        let words = "is not a name: lower-case letters";
        bad(
            &upstream(name, "http://a"),
            &[],
            &[("2:9 upstreams[0].name", words)],
        );
    }
    for name in ["openai", "'9'", "a.b_c-d", "localhost-11434"] {
        assert_eq!(
            good(&upstream(name, "http://a"), &[]).upstreams[0].name,
            name.trim_matches('\'')
        );
    }
}

#[test]
fn what_is_missing_is_named_where_it_should_stand() {
    bad(
        "",
        &[],
        &[("file upstreams", "at least one upstream is needed")],
    );
    bad(
        "log: {}\nupstreams:\n",
        &[],
        &[("2:1 upstreams", "at least one upstream")],
    );
    bad(
        "upstreams: []",
        &[],
        &[("1:12 upstreams", "at least one upstream")],
    );
    bad(
        "upstreams:\n  - name: a\n    models: [x, '', ~]\n  -\n    url: http://b\n  -\n",
        &[],
        &[
            ("1:1 upstreams[2]", "an empty entry"),
            ("2:5 upstreams[0].url", "is missing (write e.g. https://"),
            ("3:17 upstreams[0].models[1]", "an empty entry"),
            ("3:21 upstreams[0].models[2]", "an empty entry"),
            ("5:5 upstreams[1].name", "is missing"),
        ],
    );
    let listen = format!("{SHORTEST}server: {{listen: []}}");
    bad(
        &listen,
        &[],
        &[("2:18 server.listen", "at least one address")],
    );
}

#[test]
fn contradictions_are_refused() {
    let file = |rest: &str| format!("{SHORTEST}{rest}\n");
    let shared = "anyone who can reach this port would read every answer; if that is meant";
    for (rest, place, words) in [
        ("cache:\n  scope: shared", "3:10 cache.scope", shared),
        (
            "cache: {scope: shared, trust_network: off}",
            "2:16 cache.scope",
            "trust_network: true",
        ),
        (
            "server: {admin: '0.0.0.0:9999'}",
            "2:17 server.admin",
            "is among server.listen",
        ),
        (
            "server: {admin: '127.0.0.1:9999'}",
            "2:17 server.admin",
            "is among server.listen",
        ),
        (
            "server: {listen: [127.0.0.1:1, 0.0.0.0:1]}",
            "2:32 server.listen[1]",
            "already",
        ),
    ] {
        bad(&file(rest), &[], &[(place, words)]);
    }
    bad(
        "upstreams: [{name: a, url: http://a}, {name: a, url: http://b}]",
        &[],
        &[(
            "1:46 upstreams[1].name",
            "another upstream is called `a` already",
        )],
    );
    good(&file("cache: {scope: shared, trust_network: true}"), &[]);
    good(
        &file("cache: {scope: credential, trust_network: true}"),
        &[],
    );
    good(
        &file("server: {listen: [127.0.0.1:0, 127.0.0.1:0], admin: '127.0.0.1:0'}"),
        &[],
    );
}

#[test]
fn prices_need_models_and_numbers() {
    let file =
        |prices: &str| format!("upstreams:\n- name: a\n  url: http://a\n  prices:\n  - {prices}\n");
    let config = good(&file("{models: [x-*, y], input: 2.5, output: 0}"), &[]);
    let price = &config.upstreams[0].prices[0];
    assert_eq!(price.models, ["x-*", "y"]);
    assert_eq!((price.rate.input, price.rate.output), (2.5, 0.0));
    // 4 * 2.50 dollars and 1 * 0.
    assert_eq!(price.rate.dollars((4_000_000, 1_000_000)), 10.0);
    for (prices, place, words) in [
        (
            "{models: x, input: 1}",
            "prices[0].output",
            "is missing: dollars",
        ),
        (
            "{input: 1, output: 1}",
            "prices[0].models",
            "for which models",
        ),
        (
            "{models: x, input: -1, output: 1}",
            "prices[0].input",
            "between 0 and 1000000",
        ),
        (
            "{models: x, input: dear, output: 1}",
            "prices[0].input",
            "expected a number",
        ),
        (
            "{models: ['', x], input: 1, output: 1}",
            "prices[0].models[0]",
            "an empty entry",
        ),
        ("", "prices[0]", "an empty entry"),
    ] {
        let errors = load_text(&file(prices), &[]).unwrap_err().to_string();
        let expected = format!("upstreams[0].{place}: ");
        assert!(
            errors.contains(&expected) && errors.contains(words),
            "{prices}: {errors}"
        );
    }
}

#[test]
fn traces_go_to_a_collectors_receiver() {
    let file = |tracing: &str| format!("{SHORTEST}tracing: {{{tracing}}}");
    for (endpoint, expected) in [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("https://c/otlp/", "https://c/otlp/v1/traces"),
        ("http://c:4318/v1/traces", "http://c:4318/v1/traces"),
    ] {
        let config = good(&file(&format!("endpoint: '{endpoint}'")), &[]);
        let tracing = config.tracing.unwrap();
        assert_eq!(tracing.endpoint.as_str(), expected);
        assert_eq!(tracing.sample_ratio, 0.05);
        assert_eq!(tracing.service_name, "llm-cache-server");
    }
    for (tracing, place, words) in [
        (
            "sample_ratio: 1",
            "endpoint",
            "is missing (write e.g. http://localhost:4318)",
        ),
        ("endpoint: 'c:4318'", "endpoint", "not an http or https URL"),
        (
            "endpoint: 'http://localhost:9999'",
            "endpoint",
            "would ask itself",
        ),
        (
            "endpoint: 'http://c', sample_ratio: 1.1",
            "sample_ratio",
            "not between 0 and 1",
        ),
        (
            "endpoint: 'http://c', sample_ratio: -0.1",
            "sample_ratio",
            "not between 0 and 1",
        ),
        (
            "endpoint: 'http://c', service_name: ' '",
            "service_name",
            "is empty",
        ),
    ] {
        let errors = load_text(&file(tracing), &[]).unwrap_err().to_string();
        let expected = format!("tracing.{place}: ");
        assert!(
            errors.contains(&expected) && errors.contains(words),
            "{tracing}: {errors}"
        );
    }
    assert_eq!(good(SHORTEST, &[]).tracing, None);
    assert_eq!(good(&format!("{SHORTEST}tracing:\n"), &[]).tracing, None);
}
