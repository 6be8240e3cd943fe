//! What cannot be parsed: keys, types, YAML; and how errors are brought together.

use super::*;

#[test]
fn unknown_keys_are_refused_at_the_key_itself() {
    let file = |rest: &str| format!("{SHORTEST}{rest}\n");
    for (rest, place, words) in [
        (
            "serve: {}",
            "2:1 serve",
            "unknown key (did you mean `server`?)",
        ),
        (
            "fleet:\n  nodes: []",
            "2:1 fleet",
            "known here: server, limits, upstreams, cache",
        ),
        (
            "store:\n  pth: ./x",
            "3:3 store.pth",
            "did you mean `path`?",
        ),
        (
            "store: {memory: 1GiB}",
            "2:9 store.memory",
            "did you mean `memory_bytes_max`?",
        ),
        (
            "cache:\n  ttl: 1d\n  colour: red",
            "4:3 cache.colour",
            "known here: default, scope",
        ),
        ("log: {1: x}", "2:7 log.1", "unknown key"),
    ] {
        bad(&file(rest), &[], &[(place, words)]);
    }
    bad(
        "upstreams:\n- name: a\n  url: http://a\n  timeouts:\n    conect: 1s\n",
        &[],
        &[(
            "5:5 upstreams[0].timeouts.conect",
            "did you mean `connect`?",
        )],
    );
}

#[test]
fn wrong_types_are_refused_at_the_value() {
    let file = |rest: &str| format!("{SHORTEST}{rest}\n");
    for (rest, place, words) in [
        (
            "server: 9999",
            "2:9 server",
            "expected keys with values, found 9999",
        ),
        (
            "server: []",
            "2:9 server",
            "expected keys with values, found a list",
        ),
        (
            "server: {threads: two}",
            "2:19 server.threads",
            "expected a whole number",
        ),
        ("server: {threads: -1}", "2:19 server.threads", "found -1"),
        (
            "limits: {fills_max: 1.5}",
            "2:21 limits.fills_max",
            "found 1.5",
        ),
        (
            "server: {listen: 9999}",
            "2:18 server.listen",
            "expected a list, found 9999",
        ),
        (
            "server: {listen: [9999]}",
            "2:19 server.listen[0]",
            "an IP address and a port",
        ),
        (
            "server: {admin: localhost:1}",
            "2:17 server.admin",
            "`localhost:1` is not an IP",
        ),
        (
            "store: {path: [a]}",
            "2:15 store.path",
            "expected text, found a list",
        ),
        (
            "store:\n  path:\nlog: {}",
            "3:3 store.path",
            "found nothing",
        ),
        (
            "cache: {default: yes}",
            "2:18 cache.default",
            "`yes` is neither on nor off",
        ),
        (
            "cache: {trust_network: 1}",
            "2:24 cache.trust_network",
            "expected on or off, found 1",
        ),
        (
            "cache: {scope: tenant}",
            "2:16 cache.scope",
            "`tenant` is none of: credential, shared",
        ),
        ("cache: {abandoned: 5}", "2:20 cache.abandoned", "found 5"),
        (
            "log: {level: loud}",
            "2:14 log.level",
            "off, error, warn, info, debug, trace",
        ),
    ] {
        bad(&file(rest), &[], &[(place, words)]);
    }
    bad(
        "upstreams: [{name: a, url: http://a, models: [x, 5]}, 7, [b, http://b], {name: 1.5}]",
        &[],
        &[
            ("1:50 upstreams[0].models[1]", "expected text, found 5"),
            ("1:55 upstreams[1]", "expected keys with values, found 7"),
            (
                "1:58 upstreams[2]",
                "expected keys with values, found a list",
            ),
            ("1:73 upstreams[3].url", "is missing"),
            ("1:80 upstreams[3].name", "expected text, found 1.5"),
        ],
    );
    let upstream = "upstreams:\n- name: a\n  url: http://a\n";
    bad(
        &format!("{upstream}  timeouts: [1s, 2s, 3s]"),
        &[],
        &[(
            "4:13 upstreams[0].timeouts",
            "expected keys with values, found a list",
        )],
    );
    good(&format!("{upstream}  timeouts:\nserver:\n  tls:\n"), &[]);
}

#[test]
fn what_is_no_yaml_is_refused_with_its_line() {
    for (yaml, place, words) in [
        ("a: b: c", "1:5", "not YAML: mapping values are not allowed"),
        (
            "server:\n  listen: ['x\n",
            "2:12",
            "not YAML: while scanning a quoted scalar",
        ),
        (
            "a:\n  - b\n c: d\n",
            "3:3",
            "not YAML: while parsing a block mapping",
        ),
        ("- a\n", "1:1", "expected keys with values"),
        ("text", "1:1", "expected keys with values"),
        ("log: {}\n---\nlog: {}\n", "2:1", "a second document"),
        ("---\nlog: {}\n...\nlog: {}\n", "4:1", "a second document"),
        ("a: &x 1", "1:7", "anchors"),
        ("a: *x", "1:4", "unknown anchor"),
        ("a: !!str 1", "1:10", "tags"),
        ("? [a]\n: b", "1:3", "a key must be a single word"),
        ("? ''\n: 1\n? ''\n: 2", "3:3", "duplicate key ``"),
    ] {
        bad(yaml, &[], &[(place, words)]);
    }
    good(
        &format!("\u{feff}--- # one document\n{SHORTEST}...\n# the end\n"),
        &[],
    );
}

#[test]
fn duplicate_keys_are_refused_and_reading_goes_on() {
    bad(
        "log: {level: info, level: debug}\nstore:\n  path: a\n  'path': b\n  pth: c\n\
         upstreams: [{name: a, url: http://a}]\nlog: {}\nlog: {level: loud}\n",
        &[],
        &[
            ("1:20 log.level", "duplicate key, first written in line 1"),
            ("4:3 store.path", "duplicate key, first written in line 3"),
            ("5:3 store.pth", "did you mean `path`?"),
            ("7:1 log", "duplicate key, first written in line 1"),
            ("8:1 log", "duplicate key, first written in line 1"),
        ],
    );
}

#[test]
fn all_errors_of_a_file_are_reported_together() {
    let scratch = Scratch::new();
    let path = scratch.file(
        "conf.yaml",
        "upstreams:\n  - name: openai\n    url: api.openai.com\ncache: {ttl: 30}\nstroe: {}\n",
    );
    let errors = load(Source::File(&path), &environment(&[]))
        .unwrap_err()
        .to_string();
    let path = path.display();
    let expected = [
        format!(
            "{path}:3:10: upstreams[0].url: not a URL: relative URL without a base (write e.g. \
             https://api.openai.com/v1)"
        ),
        format!(
            "{path}:4:14: cache.ttl: expected a duration such as 200ms, 25s, 10m, 12h or 30d, found 30"
        ),
        format!("{path}:5:1: stroe: unknown key (did you mean `store`?)"),
    ];
    assert_eq!(errors.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn what_failed_has_no_further_errors_below_it() {
    bad(
        "upstreams: 5",
        &[],
        &[("1:12 upstreams", "expected a list, found 5")],
    );
    bad(
        "upstreams: [{name: a, url: [x]}]\nserver: {listen: [x], admin: '127.0.0.1:9999'}",
        &[],
        &[
            ("1:28 upstreams[0].url", "expected text"),
            ("2:19 server.listen[0]", "is not an IP address"),
        ],
    );
}

#[test]
fn more_errors_than_anyone_reads_are_cut_short() {
    let keys: String = (0..100).map(|n| format!("key{n}: 1\n")).collect();
    let errors = load_text(&keys, &[]).unwrap_err();
    assert_eq!(errors.iter().count(), 65);
    assert!(
        errors
            .iter()
            .any(|error| error.message.contains("too many errors"))
    );
}

#[test]
fn files_that_cannot_be_read_are_one_error() {
    let scratch = Scratch::new();
    let missing = scratch.0.path().join("missing.yaml");
    let latin = scratch.file("latin.yaml", b"log: {} # \xe4\n");
    let long = scratch.file("long.yaml", vec![b'#'; (1 << 20) + 1]);
    for (path, words) in [
        (&missing, "cannot be read: No such file"),
        (&latin, "is not UTF-8 text"),
        (&long, "longer than 1048576 bytes"),
    ] {
        let errors = load(Source::File(path), &environment(&[]))
            .unwrap_err()
            .to_string();
        assert_eq!(errors.lines().count(), 1);
        assert!(
            errors.starts_with(&format!("{}: {words}", path.display())),
            "{errors}"
        );
    }
}
