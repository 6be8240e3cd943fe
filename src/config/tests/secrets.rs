//! API keys and TLS files.

use super::super::load_for_tools;
use super::*;

const PEM_CERT: &str = "-----BEGIN CERTIFICATE-----\nMIIB+/==\n-----END CERTIFICATE-----\n";
const PEM_KEY: &str = "-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\n";

fn with_key(key: &str) -> String {
    format!("upstreams:\n- name: openai\n  url: http://a\n  {key}\n")
}

#[test]
fn a_key_comes_from_a_variable_or_a_file_and_replaces_the_clients() {
    let scratch = Scratch::new();
    let file = scratch.file("key", "sk-from-file\r\n");
    let from_file = with_key(&format!("api_key_file: {}", file.display()));
    for (yaml, secret) in [
        (with_key("api_key_env: KEY"), "sk-from-variable"),
        (from_file, "sk-from-file"),
    ] {
        let variables = [
            ("KEY", "sk-from-variable\n"),
            ("OPENAI_API_KEY", "sk-of-the-seed"),
        ];
        let config = good(&yaml, &variables);
        let key = config.upstreams[0].api_key.as_ref().unwrap();
        assert_eq!((key.secret.expose(), key.replaces), (secret, true));
    }
}

#[test]
fn a_secret_is_never_shown() {
    let config = good(&with_key("api_key_env: KEY"), &[("KEY", "sk-hush")]);
    assert!(format!("{config:?}").contains("***"));
    assert!(!format!("{config:?}{config:#?}").contains("sk-hush"));
    let secret = &config.upstreams[0].api_key.as_ref().unwrap().secret;
    assert_eq!(format!("{secret} {secret:?}"), "*** ***");
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    for yaml in [
        with_key("api_key_env: sk-hush"),
        with_key("api_key_env: hush"),
        with_key("api_key: sk-hush"),
        with_key("timeouts: sk-hush"),
        with_key("models: {a: sk-hush}"),
        "upstreams: [{name: a, url: 'https://sk-hush@api.openai.com/v1'}]".to_owned(),
        "upstreams: [{name: a, url: 'sk-hush@api.openai.com/v1'}]".to_owned(),
    ] {
        let errors = load_text(&yaml, &[]).unwrap_err().to_string();
        assert!(!errors.contains("hush"), "{errors}");
    }
    let errors = load_text(&with_key("api_key_env: KEY"), &[("KEY", "hush\nhush")]).unwrap_err();
    assert!(!errors.to_string().contains("hush"), "{errors}");
}

#[test]
fn the_token_of_operators_comes_from_a_variable() {
    let yaml = format!("{SHORTEST}server: {{admin_token_env: TOKEN}}");
    let token = "0123456789abcdef";
    let config = good(&yaml, &[("TOKEN", token)]);
    let read = config.server.admin_token.as_ref().unwrap();
    assert_eq!(read.expose(), token);
    assert!(!format!("{config:?}").contains(token));
    assert_eq!(good(SHORTEST, &[]).server.admin_token, None);
    let place = "2:27 server.admin_token_env";
    for (variables, words) in [
        (&[][..], "missing secret: the environment variable TOKEN"),
        (&[("TOKEN", " ")], "missing secret"),
        (&[("TOKEN", "short")], "at least 16 characters"),
        (
            &[("TOKEN", "0123456789abcde\u{e4}")],
            "cannot stand in a header",
        ),
    ] {
        bad(&yaml, variables, &[(place, words)]);
    }
    let pasted = format!("{SHORTEST}server: {{admin_token_env: {token}hush}}");
    let errors = load_text(&pasted, &[]).unwrap_err().to_string();
    assert!(!errors.contains("hush"), "{errors}");
}

#[test]
fn tools_need_no_secret_but_the_token() {
    let yaml = "server:\n  admin_token_env: TOKEN\n  tls: {cert: /not/there, key: /not/there}\n\
        upstreams:\n- {name: a, url: 'http://a', api_key_env: KEY}\n\
        - {name: b, url: 'http://b', api_key_file: /not/there}\n";
    let scratch = Scratch::new();
    let file = scratch.file("conf.yaml", yaml);
    let load = |variables: &[(&str, &str)], with_token| {
        load_for_tools(Source::File(&file), &environment(variables), with_token)
    };
    assert_eq!(load(&[], false).unwrap().server.admin_token, None);
    let errors = load(&[], true).unwrap_err().to_string();
    assert!(
        errors.contains("TOKEN") && errors.lines().count() == 1,
        "{errors}"
    );
    let config = load(&[("TOKEN", "0123456789abcdef")], true).unwrap();
    assert!(config.server.admin_token.is_some());
}

#[test]
fn missing_and_contradicting_secrets_are_refused() {
    let scratch = Scratch::new();
    let empty = scratch.file("empty", "\n").display().to_string();
    let long = scratch
        .file("long", "x".repeat(20_000))
        .display()
        .to_string();
    let env = "4:16 upstreams[0].api_key_env";
    let file = "4:17 upstreams[0].api_key_file";
    for (key, variables, place, words) in [
        (
            "api_key_env: KEY",
            [("", "")],
            env,
            "missing secret: the environment variable KEY is unset",
        ),
        (
            "api_key_env: KEY",
            [("KEY", " ")],
            env,
            "missing secret: the environment variable KEY",
        ),
        (
            "api_key_env: key",
            [("KEY", "x")],
            env,
            "missing secret: there is no",
        ),
        ("api_key_env: ''", [("KEY", "x")], env, "missing secret"),
        (
            "api_key_env:",
            [("KEY", "x")],
            "4:3 upstreams[0].api_key_env",
            "found nothing",
        ),
        (
            "api_key_env: KEY",
            [("KEY", "a\nb")],
            env,
            "cannot stand in a header",
        ),
        (
            "api_key_env: KEY",
            [("KEY", "ä")],
            env,
            "cannot stand in a header",
        ),
        (
            "api_key_file: /does/not/exist",
            [("", "")],
            file,
            "/does/not/exist cannot be read: No such",
        ),
        (
            &format!("api_key_file: {empty}"),
            [("", "")],
            file,
            "is empty",
        ),
        (
            &format!("api_key_file: {long}"),
            [("", "")],
            file,
            "longer than",
        ),
        (
            "api_key_env: KEY\n  api_key_file: x",
            [("KEY", "x")],
            "5:17 upstreams[0].api_key_file",
            "contradicts api_key_env",
        ),
    ] {
        bad(&with_key(key), &variables, &[(place, words)]);
    }
}

#[test]
fn tls_files_must_be_there_and_hold_what_they_should() {
    let scratch = Scratch::new();
    let cert = scratch.file("cert.pem", format!("a comment\n{PEM_CERT}{PEM_CERT}"));
    let key = scratch.file("key.pem", PEM_KEY);
    let both = scratch.file("both.pem", format!("{PEM_KEY}{PEM_CERT}"));
    let locked = scratch.file(
        "locked.pem",
        PEM_KEY.replace("EC PRIVATE", "ENCRYPTED PRIVATE"),
    );
    let cut = scratch.file("cut.pem", PEM_CERT.replace("-----END", ""));
    let hollow = scratch.file("hollow.pem", PEM_CERT.replace("MIIB+/==", ""));
    let missing = scratch.0.path().join("missing.pem");
    let file = |cert: &PathBuf, key: &PathBuf| {
        let (cert, key) = (cert.display(), key.display());
        format!("{SHORTEST}server:\n  tls:\n    cert: {cert}\n    key: {key}\n")
    };
    for (cert, key) in [(&cert, &key), (&both, &both)] {
        let tls = good(&file(cert, key), &[]).server.tls.unwrap();
        assert_eq!((&tls.cert, &tls.key), (cert, key));
    }
    for (cert, key, expected) in [
        (
            &key,
            &key,
            ("4:11 server.tls.cert", "no PEM block `CERTIFICATE` in"),
        ),
        (
            &cut,
            &key,
            ("4:11 server.tls.cert", "no PEM block `CERTIFICATE` in"),
        ),
        (
            &hollow,
            &key,
            ("4:11 server.tls.cert", "no PEM block `CERTIFICATE` in"),
        ),
        (
            &missing,
            &key,
            (
                "4:11 server.tls.cert",
                "missing.pem cannot be read: No such file",
            ),
        ),
        (
            &cert,
            &cert,
            ("5:10 server.tls.key", "no PEM block `PRIVATE KEY` in"),
        ),
        (&cert, &locked, ("5:10 server.tls.key", "is encrypted")),
    ] {
        bad(&file(cert, key), &[], &[expected]);
    }
    let only_cert = format!("{SHORTEST}server: {{tls: {{cert: {}}}}}", cert.display());
    bad(
        &only_cert,
        &[],
        &[("2:10 server.tls.key", "TLS needs both cert and key")],
    );
    let nothing = format!("{SHORTEST}server: {{tls: {{}}}}");
    let place = "2:10 server.tls.key";
    bad(
        &nothing,
        &[],
        &[
            ("2:10 server.tls.cert", "is missing"),
            (place, "is missing"),
        ],
    );
}
