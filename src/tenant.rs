//! Who is asking. Entries of one tenant are invisible to every other.

use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use http::{HeaderMap, HeaderName, header};

/// What the names of headers that tell accounts apart have in common. Providers and the gateways in
/// front of them know dozens of such headers; one too many here only costs hits, one too few would
/// give an answer to someone else. Every value of every such header counts.
const IDENTITY_WORDS: &[&str] = &[
    "account",
    "api-key",
    "apikey",
    "assertion",
    "auth",
    "bill-to",
    "client-cert",
    "cookie",
    "credential",
    "deployment",
    "email",
    "extra-parameters",
    "guardrail",
    "jwt",
    "oidc",
    "organization",
    "principal",
    "project",
    "provider",
    "role",
    "secret",
    "subscription",
    "tenant",
    "token",
    "user",
];
/// Header names that hold one of these words by chance.
const CHANCE_WORDS: &[&str] = &["user-agent", "useragent"];
/// Headers that hold none of the words.
static EVERYDAY: [HeaderName; 7] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::USER_AGENT,
    header::CONNECTION,
];
/// Gateways steer routing, and with it the answer, by headers that begin like this.
const IDENTITY_PREFIXES: &[&str] = &["cf-aig-", "helicone-", "x-portkey-", "x-litellm-"];
/// Headers of gateways that name one exchange and are different each time.
const EXCHANGE_SUFFIXES: &[&str] = &[
    "-call-id",
    "-request-id",
    "-session-id",
    "-session-path",
    "-trace-id",
];
/// The headers that a provider accepts as a credential.
pub const CREDENTIAL_HEADERS: &[&str] =
    &["authorization", "x-api-key", "api-key", "x-goog-api-key"];
/// Keeps these digests apart from every other use of BLAKE3.
const CONTEXT: &str = "llm-cache-server 2026-11 tenant";

/// A digest of the credentials a request carries. The credentials themselves are never kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tenant([u8; 32]);

impl Tenant {
    /// The tenant all clients belong to when entries are shared.
    pub const SHARED: Tenant = Tenant([0; 32]);

    /// The tenant of a request, by its headers and by what stands in its query as a credential.
    pub fn of(headers: &HeaderMap, query: Option<&str>) -> Tenant {
        static CONTEXT_KEY: LazyLock<ContextKey> =
            LazyLock::new(|| hash_derive_key_context(CONTEXT));
        let mut hasher = blake3::Hasher::new_from_context_key(&CONTEXT_KEY);
        let mut add = |name: &str, value: &[u8]| {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(&(value.len() as u64).to_le_bytes());
            hasher.update(value);
        };
        let mut names: Vec<&str> = headers
            .keys()
            // Quick to tell, and half of what most clients send.
            .filter(|name| !EVERYDAY.contains(name))
            .map(HeaderName::as_str)
            .filter(|n| identifies(n))
            .collect();
        names.sort_unstable();
        for name in names {
            for value in headers.get_all(name) {
                add(name, value.as_bytes());
            }
        }
        // No header has a name that begins like this.
        for value in query_keys(query) {
            add("?key", value.as_bytes());
        }
        Tenant(*hasher.finalize().as_bytes())
    }

    /// The digest, for the cache key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The beginning of the digest, by which entries of one tenant are listed and purged.
    pub fn beginning(&self) -> [u8; 8] {
        *self.0.first_chunk().unwrap_or(&[0; 8])
    }

    /// Enough of the digest to tell tenants apart in a log, and not a credential.
    pub fn short(&self) -> [u8; 8] {
        let mut digits = [b'0'; 8];
        // Fails only if the lengths do not fit, and they do.
        let _ = hex::encode_to_slice(self.0.first_chunk::<4>().unwrap_or(&[0; 4]), &mut digits);
        digits
    }
}

/// Whether a header of this name counts towards the tenant.
pub fn identifies(name: &str) -> bool {
    let steers = IDENTITY_PREFIXES
        .iter()
        .any(|prefix| name.starts_with(prefix))
        && !EXCHANGE_SUFFIXES
            .iter()
            .any(|suffix| name.ends_with(suffix));
    steers || (holds_identity_word(name) && !CHANCE_WORDS.iter().any(|word| name.contains(word)))
}

/// Whether one of [`IDENTITY_WORDS`] stands anywhere in a name, in one pass: every header of every
/// request is asked about.
fn holds_identity_word(name: &str) -> bool {
    static BY_FIRST_BYTE: LazyLock<[Vec<&[u8]>; 256]> = LazyLock::new(|| {
        std::array::from_fn(|first| {
            let words = IDENTITY_WORDS.iter().map(|word| word.as_bytes());
            let begins = |word: &&[u8]| word.first().is_some_and(|b| usize::from(*b) == first);
            words.filter(begins).collect()
        })
    });
    let table = &*BY_FIRST_BYTE;
    let mut rest = name.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let words = table
            .get(usize::from(*first))
            .map_or(&[][..], Vec::as_slice);
        if words.iter().any(|word| rest.starts_with(word)) {
            return true;
        }
        rest = behind;
    }
    false
}

/// Whether a request brings a credential of its own.
pub fn has_credential(headers: &HeaderMap, query: Option<&str>) -> bool {
    let by_header = |name: &&str| headers.contains_key(*name);
    CREDENTIAL_HEADERS.iter().any(by_header) || query_keys(query).next().is_some()
}

/// A query without the credentials in it. `None` if nothing is left.
pub fn without_credentials(query: &str) -> Option<String> {
    let others: Vec<&str> = query
        .split('&')
        .filter(|pair| key_in(pair).is_none())
        .collect();
    (!others.is_empty()).then(|| others.join("&"))
}

/// Google takes its API key in the query as well: `?key=…`.
fn query_keys(query: Option<&str>) -> impl Iterator<Item = &str> {
    query.unwrap_or_default().split('&').filter_map(key_in)
}

fn key_in(pair: &str) -> Option<&str> {
    pair.strip_prefix("key=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(headers: &[(&str, &str)]) -> Tenant {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        Tenant::of(&map, None)
    }

    #[test]
    fn a_key_in_the_query_is_a_credential() {
        let of = |query| Tenant::of(&HeaderMap::new(), query);
        assert_eq!(of(None), of(Some("alt=sse")));
        for other in ["key=a", "alt=sse&key=b", "key=a&key=b"] {
            assert_ne!(of(Some(other)), of(None), "{other}");
            assert!(has_credential(&HeaderMap::new(), Some(other)));
        }
        assert_eq!(of(Some("alt=sse&key=a")), of(Some("key=a")));
        assert!(!has_credential(&HeaderMap::new(), Some("monkey=a&key")));
        for (query, left) in [
            ("key=a", None),
            ("alt=sse&key=a", Some("alt=sse")),
            ("a=1&key=b&c=%26key=d", Some("a=1&c=%26key=d")),
            ("a=1", Some("a=1")),
        ] {
            assert_eq!(without_credentials(query).as_deref(), left, "{query}");
        }
    }

    #[test]
    fn everyday_headers_identify_nobody() {
        assert!(EVERYDAY.iter().all(|name| !identifies(name.as_str())));
    }

    #[test]
    fn every_credential_header_counts() {
        let plain = tenant(&[("authorization", "Bearer a")]);
        assert_eq!(
            plain,
            tenant(&[("authorization", "Bearer a"), ("user-agent", "x")])
        );
        for other in [
            tenant(&[]),
            tenant(&[("authorization", "Bearer b")]),
            tenant(&[("x-api-key", "Bearer a")]),
            tenant(&[("authorization", "Bearer a"), ("api-key", "k")]),
            tenant(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]),
            tenant(&[("authorization", "Bearer a"), ("openai-organization", "o")]),
            tenant(&[
                ("authorization", "Bearer a"),
                ("ocp-apim-subscription-key", "k"),
            ]),
            tenant(&[("authorization", "Bearer a"), ("x-portkey-provider", "p")]),
            tenant(&[("authorization", "Bearer a"), ("x-portkey-metadata", "{}")]),
            tenant(&[("authorization", "Bearer a"), ("x-forwarded-user", "u")]),
            tenant(&[
                ("authorization", "Bearer a"),
                ("cf-access-jwt-assertion", "j"),
            ]),
            tenant(&[
                ("authorization", "Bearer a"),
                ("x-forwarded-client-cert", "c"),
            ]),
            tenant(&[
                ("authorization", "Bearer a"),
                ("azureml-model-deployment", "d"),
            ]),
        ] {
            assert_ne!(plain, other);
        }
    }

    /// If this changes, every stored entry is lost to whoever stored it.
    #[test]
    fn golden() {
        let two = [
            ("x-api-key", "a"),
            ("authorization", "Bearer sk-test"),
            ("user-agent", "x"),
            ("x-api-key", "b"),
        ];
        for (headers, digest) in [
            (
                &[][..],
                "35551f35ca5f2cc2ea79548a47c036a68d0dc8fc58e851c774d5e1e2e793b551",
            ),
            (
                &two,
                "6efd2974b1f8892d789caddf3d487eb276d13bf6379b2a53ea6ad170d454ac29",
            ),
        ] {
            assert_eq!(hex::encode(tenant(headers).as_bytes()), digest);
        }
    }

    #[test]
    fn no_value_can_pose_as_another_header() {
        let one = tenant(&[("authorization", "x"), ("api-key", "y")]);
        assert_ne!(one, tenant(&[("authorization", "xapi-keyy")]));
    }
}
