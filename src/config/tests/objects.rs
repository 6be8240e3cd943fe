//! The bucket below the shared tier: what its keys say, alone and together.

use std::time::Duration;

use super::super::{Objects, ObjectsCredentials, load_for_tools};
use super::*;

const WITH: &str = "shared: {nodes: ['10.0.0.1:6379']}\n";

fn file(keys: &str) -> String {
    format!("{SHORTEST}{WITH}objects: {{{keys}}}\n")
}

fn objects(keys: &str, variables: &[(&str, &str)]) -> Objects {
    good(&file(keys), variables).objects.unwrap()
}

/// The only error of an `objects` section.
#[track_caller]
fn refused(keys: &str, key: &str, words: &str) {
    let variables = [("KEY", "AKID"), ("SECRET", "s3cret")];
    let Err(errors) = load_text(&file(keys), &variables) else {
        panic!("no error in: {keys}");
    };
    let found: Vec<_> = errors.iter().collect();
    assert_eq!(found.len(), 1, "{errors}");
    assert_eq!(found[0].path.to_string(), format!("objects.{key}"));
    assert!(found[0].message.contains(words), "{errors}");
    assert!(!errors.to_string().contains("s3cret"), "{errors}");
}

#[test]
fn without_a_bucket_there_are_no_objects() {
    for yaml in [
        "",
        "objects:\n",
        "objects: {}\n",
        "objects: {access_key_env: NOT_THERE}\n",
    ] {
        assert_eq!(good(&format!("{SHORTEST}{WITH}{yaml}"), &[]).objects, None);
    }
    // What else is wrong is seen before the day it is switched on.
    refused("deadline: 0s", "deadline", "at least 1ms");
}

#[test]
fn a_bucket_is_enough_and_the_rest_has_defaults() {
    let expected = Objects {
        bucket: "answers".to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: None,
        ca_file: None,
        prefix: "llm-cache/".to_owned(),
        credentials: ObjectsCredentials::Surroundings(Default::default()),
        deadline: Duration::from_millis(250),
        ttl_min: Duration::from_secs(3600),
        write_queue_bytes_max: 64 << 20,
    };
    assert_eq!(objects("bucket: answers", &[]), expected);
}

#[test]
fn who_asks_is_a_pair_of_keys_or_the_surroundings() {
    let variables = [
        ("KEY", "AKID"),
        ("SECRET", "s3cret"),
        ("TOKEN", "t0ken"),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/cache"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token"),
        ("AWS_ACCESS_KEY_ID", "somebody else's"),
    ];
    let named = objects(
        "bucket: a, access_key_env: KEY, secret_key_env: SECRET",
        &variables,
    );
    let ObjectsCredentials::Keys {
        access,
        secret,
        session,
    } = &named.credentials
    else {
        panic!("{named:?}");
    };
    assert_eq!((access.expose(), secret.expose()), ("AKID", "s3cret"));
    assert!(session.is_none());
    // No secret is ever shown.
    assert!(!format!("{named:?}").contains("s3cret"));
    let keys = "bucket: a, access_key_env: KEY, secret_key_env: SECRET, session_token_env: TOKEN";
    let with_session = objects(keys, &variables);
    let ObjectsCredentials::Keys { session, .. } = with_session.credentials else {
        panic!("no keys");
    };
    assert_eq!(session.unwrap().expose(), "t0ken");
    let ObjectsCredentials::Surroundings(found) = objects("bucket: a", &variables).credentials
    else {
        panic!("keys that nobody named");
    };
    let names: Vec<_> = found.keys().collect();
    assert_eq!(names, ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"]);
    refused(
        "bucket: a, access_key_env: KEY",
        "secret_key_env",
        "belong together",
    );
    refused(
        "bucket: a, secret_key_env: SECRET",
        "access_key_env",
        "belong together",
    );
    refused(
        "bucket: a, session_token_env: SECRET",
        "access_key_env",
        "belong together",
    );
    let missing = "bucket: a, access_key_env: KEY, secret_key_env: NOT_THERE";
    refused(missing, "secret_key_env", "NOT_THERE is unset");
}

#[test]
fn what_cannot_be_is_refused() {
    for (keys, key, words) in [
        ("bucket: 'a/b'", "bucket", "letters"),
        ("bucket: a, prefix: 'a b'", "prefix", "letters"),
        ("bucket: a, region: ''", "region", "is empty"),
        ("bucket: a, ca_file: /not/there", "ca_file", "No such file"),
        ("bucket: a, region: 'eu/1'", "region", "letters"),
        ("bucket: a, endpoint: 's3.example.com'", "endpoint", "not a"),
        (
            "bucket: a, endpoint: 'ftp://s3.example.com'",
            "endpoint",
            "http",
        ),
        (
            "bucket: a, endpoint: 'http://127.0.0.1:9999'",
            "endpoint",
            "itself",
        ),
        (
            "bucket: a, endpoint: 'https://u:s3cret@s3.example.com'",
            "endpoint",
            "credentials",
        ),
        ("bucket: a, deadline: 2s", "deadline", "at most 1s"),
        (
            "bucket: a, write_queue_bytes_max: 1KiB",
            "write_queue_bytes_max",
            "64",
        ),
    ] {
        refused(keys, key, words);
    }
    let alone = format!("{SHORTEST}objects: {{bucket: a}}\n");
    let errors = load_text(&alone, &[]).unwrap_err();
    assert!(
        errors.to_string().contains("needs `shared.nodes`"),
        "{errors}"
    );
    // Tools for the store of this machine need no bucket.
    let yaml = file("bucket: a, access_key_env: NOT_THERE, secret_key_env: NOT_THERE");
    let scratch = Scratch::new();
    let file = scratch.file("conf.yaml", yaml);
    let loaded = load_for_tools(Source::File(&file), &environment(&[]), false);
    assert_eq!(loaded.unwrap().objects, None);
}
