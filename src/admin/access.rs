//! Who may look into the cache, and purge it.
//!
//! With a token: who shows it. Without one: who is on this machine, and not on behalf of somebody who is
//! not. A page in the browser of whoever is there could otherwise ask as well: by its `Origin` it is
//! known, by what the browser says of where it comes from (`Sec-Fetch-Site`), or, if it had its own name
//! resolved to loopback, by the `Host` it asks for.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{AUTHORIZATION, FORWARDED, HOST, ORIGIN, VIA};
use http::uri::Authority;
use pingora_core::protocols::http::ServerSession;

use crate::config::Secret;
use crate::error::ApiError;

/// What every proxy's word for "on behalf of" begins with.
const FORWARDED_PREFIX: &str = "x-forwarded-";
const REAL_IP: &str = "x-real-ip";
/// What a browser says of a page that asks: from which site it is, as seen from ours.
const SEC_FETCH_SITE: &str = "sec-fetch-site";
/// The user typed the address, or the page is ours.
const OWN_SITES: [&str; 2] = ["none", "same-origin"];

/// Who may.
pub enum Access {
    /// Who shows the token of this digest.
    Token(blake3::Hash),
    /// Who is on this machine.
    Loopback,
}

impl Access {
    /// By token if there is one.
    pub fn new(token: Option<&Secret>) -> Access {
        match token {
            Some(token) => Access::Token(blake3::hash(token.expose().as_bytes())),
            None => Access::Loopback,
        }
    }

    /// Whether this request may.
    pub fn check_session(&self, session: &ServerSession) -> Result<(), ApiError> {
        let request = session.req_header();
        let peer = session.client_addr().and_then(|addr| addr.as_inet());
        let peer = peer.map(|addr| addr.ip());
        self.check(&request.headers, request.uri.authority(), peer)
    }

    fn check(
        &self,
        headers: &HeaderMap,
        authority: Option<&Authority>,
        peer: Option<IpAddr>,
    ) -> Result<(), ApiError> {
        match self {
            Access::Token(token) => shows(headers, token),
            Access::Loopback => is_local(headers, authority, peer).map_err(not_local),
        }
    }
}

/// Digests are compared: in constant time, and whatever the length.
fn shows(headers: &HeaderMap, token: &blake3::Hash) -> Result<(), ApiError> {
    let refused = |message: &str| ApiError {
        status: 401,
        kind: "authentication_error",
        code: "admin_token",
        message: message.into(),
    };
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(refused(
            "this needs one `Authorization: Bearer TOKEN` with the token that \
             server.admin_token_env names",
        ));
    };
    let scheme_and_token = value.as_bytes().split_at_checked("Bearer ".len());
    let shown = scheme_and_token
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
        .map(|(_, token)| token.trim_ascii());
    match shown.map(blake3::hash) {
        Some(shown) if shown == *token => Ok(()),
        Some(_) => Err(refused(
            "the token is not the one that server.admin_token_env names",
        )),
        None => Err(refused(
            "`Authorization` is not of the form `Bearer TOKEN`, with the token that \
             server.admin_token_env names",
        )),
    }
}

/// Whether a request comes from this machine; or what says that it does not.
fn is_local(
    headers: &HeaderMap,
    authority: Option<&Authority>,
    peer: Option<IpAddr>,
) -> Result<(), String> {
    if !peer.is_some_and(|ip| ip.to_canonical().is_loopback()) {
        return Err("this comes from another machine".into());
    }
    let passed_on = headers.keys().find(|name| {
        let name = *name;
        [FORWARDED, VIA].contains(name)
            || name == REAL_IP
            || name.as_str().starts_with(FORWARDED_PREFIX)
    });
    if let Some(name) = passed_on {
        return Err(format!("this was passed on by a proxy (`{name}`)"));
    }
    if headers.contains_key(ORIGIN) {
        return Err("this comes from a page in a browser (`Origin`)".into());
    }
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    if sites.any(|site| !OWN_SITES.iter().any(|own| site == own)) {
        return Err(
            "this comes from a page of another site in a browser (`Sec-Fetch-Site`)".into(),
        );
    }
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().and_then(|host| host.parse().ok()),
        _ => None,
    };
    let host: Authority = host.ok_or("`Host` is missing or is no name")?;
    match [Some(&host), authority]
        .into_iter()
        .flatten()
        .all(is_loopback)
    {
        true => Ok(()),
        false => Err("`Host` is a name of another machine".into()),
    }
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn not_local(why: String) -> ApiError {
    ApiError {
        status: 403,
        kind: "permission_error",
        code: "admin_token",
        message: format!(
            "{why}: without a token /cache/… is for this machine only. Set server.admin_token_env to \
             the name of an environment variable that holds a token, and send \
             `Authorization: Bearer TOKEN`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            let name: http::HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        map
    }

    fn local(pairs: &[(&str, &str)], peer: &str) -> Result<(), ApiError> {
        Access::Loopback.check(&headers(pairs), None, peer.parse().ok())
    }

    #[test]
    fn without_a_token_this_machine_may() {
        for host in [
            "localhost",
            "LOCALHOST:9901",
            "127.0.0.1:9901",
            "127.1.2.3",
            "[::1]:1",
        ] {
            for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
                assert_eq!(local(&[("host", host)], peer), Ok(()), "{host} {peer}");
            }
        }
        for site in OWN_SITES {
            let typed = [("host", "localhost"), ("sec-fetch-site", site)];
            assert_eq!(local(&typed, "127.0.0.1"), Ok(()), "{site}");
        }
    }

    #[test]
    fn without_a_token_nobody_may_who_is_elsewhere_or_speaks_for_somebody() {
        let here = ("host", "localhost:9901");
        for (pairs, peer) in [
            (&[here][..], "10.0.0.1"),
            (&[here], "::ffff:10.0.0.1"),
            (&[here], "no address"),
            (&[here, ("x-forwarded-for", "127.0.0.1")], "127.0.0.1"),
            (&[here, ("x-forwarded-proto", "https")], "127.0.0.1"),
            (&[here, ("x-real-ip", "127.0.0.1")], "127.0.0.1"),
            (&[here, ("forwarded", "for=127.0.0.1")], "127.0.0.1"),
            (&[here, ("via", "1.1 x")], "127.0.0.1"),
            (&[here, ("origin", "http://localhost:9901")], "127.0.0.1"),
            (&[here, ("origin", "null")], "127.0.0.1"),
            (&[here, ("sec-fetch-site", "cross-site")], "127.0.0.1"),
            (&[here, ("sec-fetch-site", "same-site")], "127.0.0.1"),
            (&[here, ("sec-fetch-site", "")], "127.0.0.1"),
            (
                &[
                    here,
                    ("sec-fetch-site", "none"),
                    ("sec-fetch-site", "cross-site"),
                ],
                "127.0.0.1",
            ),
            (&[here, ("host", "evil.example")], "127.0.0.1"),
            (&[("host", "evil.example:9901")], "127.0.0.1"),
            (&[("host", "localhost.evil.example")], "127.0.0.1"),
            (&[("host", "127.0.0.1.evil.example")], "127.0.0.1"),
            (&[("host", "10.0.0.1")], "127.0.0.1"),
            (&[("host", "")], "127.0.0.1"),
            (&[], "127.0.0.1"),
        ] {
            let refused = local(pairs, peer).unwrap_err();
            assert_eq!(refused.status, 403, "{pairs:?} {peer}");
            assert!(refused.message.contains("server.admin_token_env"));
        }
        let evil: Authority = "evil.example".parse().unwrap();
        let peer = "127.0.0.1".parse().ok();
        assert!(
            Access::Loopback
                .check(&headers(&[here]), Some(&evil), peer)
                .is_err()
        );
    }

    #[test]
    fn with_a_token_who_shows_it_may_from_anywhere() {
        let token = Access::Token(blake3::hash(b"s3cret"));
        let shown = |pairs: &[(&str, &str)]| token.check(&headers(pairs), None, None);
        assert_eq!(shown(&[("authorization", "Bearer s3cret")]), Ok(()));
        assert_eq!(shown(&[("authorization", "bearer  s3cret ")]), Ok(()));
        for pairs in [
            &[][..],
            &[("authorization", "Bearer s3cre")],
            &[("authorization", "Bearer s3cret2")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Basic s3cret")],
            &[("authorization", "s3cret")],
            &[("x-api-key", "s3cret")],
            &[
                ("authorization", "Bearer s3cret"),
                ("authorization", "Bearer s3cret"),
            ],
        ] {
            let refused = shown(pairs).unwrap_err();
            assert_eq!(refused.status, 401, "{pairs:?}");
            assert!(!refused.message.contains("s3cret"));
        }
    }
}
