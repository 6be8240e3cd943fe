//! What environment variables change: the overlay, and the ancestor's own.

use super::super::LogFormat;
use super::*;

fn names(config: &Config) -> Vec<(&str, &str)> {
    config
        .upstreams
        .iter()
        .map(|upstream| (upstream.name.as_str(), upstream.url.as_str()))
        .collect()
}

#[test]
fn a_variable_wins_over_the_file() {
    let yaml = format!("{SHORTEST}store: {{path: ./x, memory_bytes_max: 1GiB}}\nlog:\n");
    let config = good(
        &yaml,
        &[
            ("LLM_CACHE__STORE__PATH", "/data"),
            ("LLM_CACHE__CACHE__DEFAULT", "off"),
            ("LLM_CACHE__LOG__FORMAT", "json"),
            ("LLM_CACHE__server__Threads", "3"),
            ("LLM_CACHE__SERVER__LISTEN", "[127.0.0.1:0, '[::1]:0']"),
            ("LLM_CACHE__UPSTREAMS__0__TIMEOUTS__CONNECT", " 1s\n"),
            ("LLM_CACHE_SOMETHING", "of nobody's"),
            ("LLM_CACHE", "neither"),
        ],
    );
    assert_eq!(config.store.path, PathBuf::from("/data"));
    assert_eq!(config.store.memory_bytes_max, 1 << 30);
    assert!(!config.cache.default_on);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.server.threads, 3);
    assert_eq!(config.server.listen.len(), 2);
    assert_eq!(config.upstreams[0].timeouts.connect.as_secs(), 1);
}

#[test]
fn a_section_can_be_given_as_a_whole_and_then_in_part() {
    let whole = "- name: b\n  url: http://b/v1\n- {name: c, url: 'http://c/v1'}";
    let config = good(
        SHORTEST,
        &[
            ("LLM_CACHE__UPSTREAMS", whole),
            ("LLM_CACHE__UPSTREAMS__1__URL", "http://d/v1"),
            ("LLM_CACHE__STORE", "{path: /p}"),
            ("LLM_CACHE__STORE__DISK_BYTES_MAX", "1GiB"),
        ],
    );
    assert_eq!(names(&config), [("b", "http://b/v1"), ("c", "http://d/v1")]);
    assert_eq!(
        (config.store.path, config.store.disk_bytes_max),
        (PathBuf::from("/p"), 1 << 30)
    );
}

#[test]
fn errors_of_a_variable_name_it() {
    for (name, value, path, words) in [
        (
            "LLM_CACHE__STROE__PATH",
            "/x",
            " stroe",
            "unknown key (did you mean `store`?)",
        ),
        (
            "LLM_CACHE__STORE__PTH",
            "/x",
            " store.pth",
            "did you mean `path`?",
        ),
        (
            "LLM_CACHE__STORE__PATH__X",
            "1",
            " store.path",
            "expected text, found keys with values",
        ),
        (
            "LLM_CACHE__UPSTREAMS__0__URL",
            "x",
            " upstreams[0].url",
            "not a URL",
        ),
        (
            "LLM_CACHE__UPSTREAMS__0__NAME__X",
            "1",
            "",
            "`upstreams[0].name` has no `X`",
        ),
        (
            "LLM_CACHE__UPSTREAMS__1__URL",
            "x",
            "",
            "`upstreams` has no `1`",
        ),
        (
            "LLM_CACHE__UPSTREAMS__FIRST",
            "x",
            "",
            "`upstreams` has no `FIRST`",
        ),
        (
            "LLM_CACHE__CACHE__TTL",
            "soon",
            " cache.ttl",
            "not a duration",
        ),
        ("LLM_CACHE__CACHE__TTL", "", " cache.ttl", "found nothing"),
        (
            "LLM_CACHE__CACHE__SCOPE",
            "tenant",
            " cache.scope",
            "credential, shared",
        ),
        ("LLM_CACHE__CACHE__SCOPE", "[x", "", "not YAML"),
        (
            "LLM_CACHE__CACHE",
            "{ttl: 1d, ttl: 2d}",
            " cache.ttl",
            "duplicate key",
        ),
        (
            "LLM_CACHE__CACHE",
            "{tll: 1d}",
            " cache.tll",
            "did you mean `ttl`?",
        ),
        (
            "LLM_CACHE__SERVER__TLS__CERT",
            "/nothing",
            " server.tls.cert",
            "cannot be read",
        ),
        ("LLM_CACHE__", "x", "", "not the name of a key"),
        ("LLM_CACHE__STORE__", "x", "", "not the name of a key"),
    ] {
        let place = format!("{name}{path}");
        let mut expected = vec![(place.as_str(), words)];
        // A key that is missing in a section which a variable has opened is that variable's fault.
        if path.ends_with("cert") {
            expected.push(("LLM_CACHE__SERVER__TLS__CERT server.tls.key", "is missing"));
        }
        bad(SHORTEST, &[(name, value)], &expected);
    }
}

#[test]
fn every_unknown_variable_is_reported_and_the_file_as_well() {
    bad(
        &format!("{SHORTEST}log: {{level: loud}}\nfoo: {{}}\n"),
        &[
            ("LLM_CACHE__FOO__A", "1"),
            ("LLM_CACHE__FOO__B", "1"),
            ("LLM_CACHE__BAR", "1"),
        ],
        &[
            ("2:14 log.level", "loud"),
            ("3:1 foo", "unknown key"),
            ("LLM_CACHE__BAR bar", "unknown key"),
            ("LLM_CACHE__FOO__A foo", "unknown key"),
            ("LLM_CACHE__FOO__B foo", "unknown key"),
        ],
    );
}

#[test]
fn openai_base_url_replaces_the_url_or_adds_the_upstream_as_the_first() {
    let config = |yaml: &str, url: &str| good(yaml, &[("OPENAI_BASE_URL", url)]);
    let two =
        "upstreams: [{name: a, url: 'http://a'}, {name: openai, url: 'http://b', models: [m]}]";
    let replaced = config(two, "http://c:8000/api/");
    assert_eq!(
        names(&replaced),
        [("a", "http://a/"), ("openai", "http://c:8000/api")]
    );
    assert_eq!(replaced.upstreams[1].models, ["m"]);
    let added = config(SHORTEST, "http://c:8000");
    assert_eq!(
        names(&added),
        [("openai", "http://c:8000/v1"), ("a", "http://a/v1")]
    );
    assert_eq!(
        names(&config(SHORTEST, "http://c/")).first(),
        Some(&("openai", "http://c/v1"))
    );
    assert_eq!(names(&config(SHORTEST, "")), [("a", "http://a/v1")]);
    bad(
        SHORTEST,
        &[("OPENAI_BASE_URL", "c")],
        &[("OPENAI_BASE_URL upstreams[1].url", "not a URL")],
    );
    bad(
        two,
        &[("OPENAI_BASE_URL", "c")],
        &[("OPENAI_BASE_URL upstreams[1].url", "not a URL")],
    );
    assert_eq!(names(&config("", "http://c")), [("openai", "http://c/v1")]);
}

#[test]
fn openai_api_key_helps_out_but_replaces_nothing() {
    let two = "upstreams: [{name: a, url: 'http://a'}, {name: openai, url: 'http://b'}]";
    let config = good(two, &[("OPENAI_API_KEY", "sk-seed")]);
    assert_eq!(config.upstreams[0].api_key, None);
    let key = config.upstreams[1].api_key.as_ref().unwrap();
    assert_eq!((key.secret.expose(), key.replaces), ("sk-seed", false));
    assert_eq!(
        good(two, &[("OPENAI_API_KEY", "")]).upstreams[1].api_key,
        None
    );
    let added = good(
        SHORTEST,
        &[("OPENAI_API_KEY", "sk"), ("OPENAI_BASE_URL", "http://c")],
    );
    assert!(added.upstreams[0].api_key.is_some());
    let place = "OPENAI_API_KEY upstreams[1].api_key_env";
    bad(
        two,
        &[("OPENAI_API_KEY", "a\nb")],
        &[(place, "cannot stand in a header")],
    );
}

#[test]
fn additional_base_urls_are_named_after_host_and_port() {
    let urls = "http://localhost:11434/v1/; https://api.Deep-seek.com ;;http://[::1]:80/v1;\
                http://[fe80::1]:8000;http://10.0.0.1:8000/v1";
    let config = good(SHORTEST, &[("ADDITIONAL_BASE_URLS", urls)]);
    assert_eq!(
        names(&config),
        [
            ("a", "http://a/v1"),
            ("localhost-11434", "http://localhost:11434/v1"),
            ("api.deep-seek.com", "https://api.deep-seek.com/"),
            ("1", "http://[::1]/v1"),
            ("fe80-1-8000", "http://[fe80::1]:8000/"),
            ("10.0.0.1-8000", "http://10.0.0.1:8000/v1"),
        ]
    );
    assert_eq!(
        good(SHORTEST, &[("ADDITIONAL_BASE_URLS", " ")])
            .upstreams
            .len(),
        1
    );
    let base = ("OPENAI_BASE_URL", "http://c");
    let both = good(SHORTEST, &[base, ("ADDITIONAL_BASE_URLS", "http://d/v1")]);
    assert_eq!(
        names(&both)
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>(),
        ["openai", "a", "d"]
    );
    let place = |index: usize, key: &str| format!("ADDITIONAL_BASE_URLS upstreams[{index}].{key}");
    bad(
        SHORTEST,
        &[("ADDITIONAL_BASE_URLS", "nowhere;http://a;http://cache/v1")],
        &[
            (&place(1, "url"), "not a URL"),
            (&place(2, "name"), "another upstream is called `a` already"),
            (&place(3, "name"), "a word of the server's own paths"),
        ],
    );
}
