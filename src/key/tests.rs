use std::collections::HashSet;

use super::*;

const TENANT: [u8; 32] = [1; 32];
const BODY: [u8; 32] = [2; 32];

fn parts() -> KeyParts<'static> {
    KeyParts {
        tenant: &TENANT,
        upstream: "openai",
        api: "chat",
        path: "chat/completions",
        query: "",
        headers: &[("openai-organization", b"org-1"), ("openai-beta", b"")],
        form: "json",
        body: &BODY,
    }
}

/// If this changes, every stored entry is lost: raise [`SCHEMA`] and say so in the change log.
#[test]
fn golden() {
    assert_eq!(
        parts().key().to_string(),
        "741cced381135eadae6454c5a55fef5339fb37751f338ba08d8411e87452a693"
    );
}

/// As above, for parts that are empty, that repeat, and that are not ASCII.
#[test]
fn golden_of_other_parts() {
    let nothing = KeyParts {
        tenant: &[0; 32],
        upstream: "",
        api: "",
        path: "",
        query: "",
        headers: &[],
        form: "",
        body: &[0; 32],
    };
    let query = KeyParts {
        query: "api-version=1&b=%2f",
        ..parts()
    };
    let lines = KeyParts {
        api: "messages/2",
        path: "/messages",
        headers: &[
            ("anthropic-version", b"2023-06-01"),
            ("anthropic-beta", b"a"),
            ("anthropic-beta", b"b"),
        ],
        ..parts()
    };
    let beyond_ascii = KeyParts {
        upstream: "é https://x/v1",
        query: "é",
        headers: &[],
        ..parts()
    };
    for (parts, key) in [
        (
            nothing,
            "16db813c08ff191a449852782e05b5972bea0790f4869416356b2dfc08cd64c1",
        ),
        (
            query,
            "205ef789b95c52077ad3352a5792b56d19fc25b58e1626f5853fe2d271b36ae0",
        ),
        (
            lines,
            "9617021b82ed2660ad003e9efb675390f15c01433b36d8d39999f5a74a885a2c",
        ),
        (
            beyond_ascii,
            "a5376fa3f7a10e96383bfff3e011be1c2b4282a2f6d1ddbd64ad9577e507c2de",
        ),
    ] {
        assert_eq!(parts.key().to_string(), key, "{parts:?}");
    }
}

#[test]
fn every_part_counts() {
    let (tenant, body) = ([3; 32], [4; 32]);
    let others = [
        KeyParts {
            tenant: &tenant,
            ..parts()
        },
        KeyParts {
            upstream: "openai2",
            ..parts()
        },
        KeyParts {
            api: "messages",
            ..parts()
        },
        KeyParts {
            path: "completions",
            ..parts()
        },
        KeyParts {
            query: "a=1",
            ..parts()
        },
        KeyParts {
            form: "stream",
            ..parts()
        },
        KeyParts {
            headers: &[],
            ..parts()
        },
        KeyParts {
            headers: &[("openai-organization", b"org-1")],
            ..parts()
        },
        KeyParts {
            headers: &[("openai-organization", b"org-2"), ("openai-beta", b"")],
            ..parts()
        },
        KeyParts {
            headers: &[("openai-beta", b""), ("openai-organization", b"org-1")],
            ..parts()
        },
        KeyParts {
            headers: &[("openai-organization", b""), ("openai-beta", b"org-1")],
            ..parts()
        },
        KeyParts {
            body: &body,
            ..parts()
        },
        KeyParts {
            tenant: &BODY,
            body: &TENANT,
            ..parts()
        },
        parts(),
    ];
    let keys: HashSet<Key> = others.iter().map(KeyParts::key).collect();
    assert_eq!(keys.len(), others.len());
}

/// The same bytes in a row, cut differently into parts.
#[test]
fn parts_do_not_run_into_each_other() {
    let of = |upstream, api, path, query, headers| {
        KeyParts {
            tenant: &TENANT,
            upstream,
            api,
            path,
            query,
            headers,
            form: "",
            body: &BODY,
        }
        .key()
    };
    let keys = [
        of("ab", "c", "", "", &[][..]),
        of("a", "bc", "", "", &[]),
        of("", "abc", "", "", &[]),
        of("", "", "abc", "", &[]),
        of("", "", "", "abc", &[]),
        of("", "", "ab", "c", &[]),
        of("", "", "", "", &[("abc", b"")]),
        of("", "", "", "", &[("ab", b"c")]),
        of("", "", "", "", &[("", b"abc")]),
        of("", "", "", "", &[("a", b"b"), ("c", b"")]),
        of("", "", "", "", &[("a", b""), ("b", b"c")]),
        of("", "", "", "", &[("", b""), ("abc", b"")]),
    ];
    assert_eq!(HashSet::from(keys).len(), keys.len());
}

#[test]
fn hexadecimal_there_and_back() {
    let key = parts().key();
    let text = key.to_string();
    assert_eq!(text.len(), 64);
    assert!(
        text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        "{text}"
    );
    assert_eq!(Key::from_hex(&text), Some(key));
    assert_eq!(Key::from_hex(&text.to_uppercase()), Some(key));
    assert_eq!(Key::from_bytes(*key.as_bytes()), key);
    let leading_zeros = format!("{:064x}", 10);
    assert_eq!(
        Key::from_hex(&leading_zeros).unwrap().to_string(),
        leading_zeros
    );

    let (short, long) = (&text[1..], format!("{text}0"));
    let not_hex = format!("g{}", &text[1..]);
    let padded = format!(" {}", &text[1..]);
    for text in [
        "",
        short,
        &text[2..],
        &long,
        &not_hex,
        &padded,
        &"é".repeat(32),
    ] {
        assert_eq!(Key::from_hex(text), None, "{text}");
    }
}
