//! Who asks: every header that may tell accounts apart, and none that names an exchange.

use super::{Table, chat_with, with};
use crate::harness::Ask;

/// Without any credential.
fn ask() -> Ask {
    chat_with("\"x\":1").without("authorization")
}

pub fn rows(t: &mut Table) {
    t.theme("who asks");
    for name in [
        // Credentials.
        "authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "apikey",
        "proxy-authorization",
        "x-amz-security-token",
        "ocp-apim-subscription-key",
        "x-auth-request-email",
        "x-forwarded-access-token",
        "x-client-secret",
        "x-credential",
        "cookie",
        // Accounts.
        "openai-organization",
        "openai-project",
        "x-goog-user-project",
        "x-account-id",
        "x-tenant",
        "x-tenant-id",
        "x-organization",
        "x-subscription",
        // Gateways.
        "x-portkey-provider",
        "x-portkey-config",
        "x-portkey-virtual-key",
        "x-portkey-api-key",
        "cf-aig-authorization",
        "cf-aig-cache-key",
        "cf-aig-event-id",
        "helicone-auth",
        "helicone-user-id",
        "helicone-property-env",
        "helicone-fallbacks",
        "helicone-target-url",
        "x-litellm-tags",
        "x-litellm-api-key",
        "x-litellm-timeout",
    ] {
        t.different(&format!("{name} or none"), ask(), with(ask(), name, "a"));
        t.different(
            &format!("{name} of two"),
            with(ask(), name, "a"),
            with(ask(), name, "b"),
        );
    }
    for name in [
        "x-portkey-trace-id",
        "x-portkey-request-id",
        "helicone-request-id",
        "helicone-session-id",
        "helicone-session-path",
        "cf-aig-request-id",
        "x-litellm-call-id",
        "x-litellm-trace-id",
        "x-litellm-session-id",
    ] {
        t.same(&format!("{name} or none"), ask(), with(ask(), name, "a"));
        t.same(
            &format!("{name} of two"),
            with(ask(), name, "a"),
            with(ask(), name, "b"),
        );
    }
    spelling(t);
    several(t);
}

fn spelling(t: &mut Table) {
    t.theme("who asks, spelling");
    let bearer = |value: &str| with(ask(), "authorization", value);
    t.same(
        "case of a name",
        bearer("Bearer a"),
        with(ask(), "Authorization", "Bearer a"),
    );
    t.same(
        "space around a value",
        bearer("Bearer a"),
        bearer("  Bearer a  "),
    );
    for (name, other) in [
        ("case of the scheme", "bearer a"),
        ("case of the key", "Bearer A"),
        ("two spaces", "Bearer  a"),
        ("another scheme", "Basic a"),
        ("no scheme", "a"),
        ("a longer key", "Bearer ab"),
        ("no key", "Bearer"),
        ("empty", ""),
    ] {
        t.different(name, bearer("Bearer a"), bearer(other));
    }
    t.different("empty or none", ask(), bearer(""));
    t.different(
        "order of cookies",
        with(ask(), "cookie", "a=1; b=2"),
        with(ask(), "cookie", "b=2; a=1"),
    );
}

fn several(t: &mut Table) {
    t.theme("who asks, several headers");
    let of = |headers: &[(&str, &str)]| {
        headers
            .iter()
            .fold(ask(), |ask, (name, value)| with(ask, name, value))
    };
    const BOTH: &[(&str, &str)] = &[("authorization", "Bearer a"), ("x-api-key", "k")];
    t.same(
        "order of names",
        of(BOTH),
        of(&[("x-api-key", "k"), ("authorization", "Bearer a")]),
    );
    for (name, other) in [
        ("the first alone", &[("authorization", "Bearer a")][..]),
        ("the second alone", &[("x-api-key", "k")]),
        (
            "the second another",
            &[("authorization", "Bearer a"), ("x-api-key", "l")],
        ),
        (
            "swapped",
            &[("authorization", "k"), ("x-api-key", "Bearer a")],
        ),
        (
            "under another name",
            &[("authorization", "Bearer a"), ("api-key", "k")],
        ),
        (
            "one more",
            &[
                ("authorization", "Bearer a"),
                ("x-api-key", "k"),
                ("openai-project", "p"),
            ],
        ),
        ("run together", &[("authorization", "Bearer ax-api-keyk")]),
    ] {
        t.different(name, of(BOTH), of(other));
    }
    for (name, a, b) in [
        ("a line twice", &["a"][..], &["a", "a"][..]),
        ("a second line", &["a"], &["a", "b"]),
        ("order of two lines", &["a", "b"], &["b", "a"]),
        ("two lines and a list", &["a", "b"], &["a, b"]),
    ] {
        let of = |values: &[&str]| {
            values
                .iter()
                .fold(ask(), |ask, v| with(ask, "x-api-key", v))
        };
        t.different(name, of(a), of(b));
    }
    t.different(
        "who asks and what changes answers are told apart",
        with(ask(), "openai-project", "a"),
        with(ask(), "openai-beta", "a"),
    );
}
