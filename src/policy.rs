//! May this be answered from the cache, may this be kept, and what may be replayed.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::api::Form;
use crate::config::{NAMESPACE_LEN_MAX, is_namespace};

pub mod freshness;

/// Headers of an answer that are true for everyone who gets it again. Anything else (cookies,
/// request ids, rate limits, connection headers, what nobody has heard of) belongs to one exchange.
const REPLAYED_HEADERS: &[&str] = &["content-type", "content-language", "content-disposition"];
/// Headers of a refusal or a redirect that clients act on.
const ADVICE_HEADERS: &[&str] = &[
    "location",
    "retry-after",
    "retry-after-ms",
    "www-authenticate",
    "x-should-retry",
];
/// Headers that describe the connection and not the message (RFC 9110 §7.6.1).
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a request says about how the cache may answer it (RFC 9111 §5.2.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestControl {
    /// Do not answer from the store; the new answer replaces the old one.
    pub no_cache: bool,
    /// Neither answer from the store nor keep the answer.
    pub no_store: bool,
    /// Answer from the store or not at all.
    pub only_if_cached: bool,
    /// Oldest answer the client accepts, in seconds.
    pub max_age: Option<u64>,
    /// For how long the answer is to be fresh.
    pub ttl: Option<Duration>,
    /// The client asks once more by itself.
    pub retries: bool,
    /// The part of the cache that is asked and that the answer goes into, for operators to tell
    /// apart.
    pub namespace: Option<Box<str>>,
}

/// The header in which a client says for how long its answer is to be fresh: seconds, or a duration
/// such as `10m`.
pub const TTL_HEADER: &str = "x-llm-cache-ttl";
/// The header in which a client names a namespace.
pub const NAMESPACE_HEADER: &str = "x-llm-cache-namespace";
/// What clients say to this server alone; no upstream gets it.
pub const CONTROL_HEADERS: &[&str] = &[TTL_HEADER, NAMESPACE_HEADER];
/// The header in which the SDKs of OpenAI and Anthropic count their retries.
const RETRY_HEADER: &str = "x-stainless-retry-count";

/// Some of these headers are there: most requests have none, and looking for each takes longer.
fn says_something(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        CONTROL_HEADERS.contains(&name) || name == RETRY_HEADER
    })
}

impl RequestControl {
    /// Reads what a request's headers say. The error is for the client.
    pub fn of(headers: &HeaderMap) -> Result<RequestControl, String> {
        let mut control = RequestControl::cache_control(headers);
        if !says_something(headers) {
            return Ok(control);
        }
        control.ttl = match headers.get(TTL_HEADER) {
            None => None,
            Some(value) => Some(read_ttl(value).ok_or_else(|| {
                format!("{TTL_HEADER} is not a duration: write seconds, or e.g. 90s, 10m, 12h")
            })?),
        };
        control.namespace = namespace(headers)?;
        let count = headers.get(RETRY_HEADER).and_then(|v| v.to_str().ok());
        control.retries = count.is_some_and(|count| count.trim() != "0");
        Ok(control)
    }

    fn cache_control(headers: &HeaderMap) -> RequestControl {
        let mut control = RequestControl::default();
        for value in headers.get_all(header::CACHE_CONTROL) {
            let Ok(value) = value.to_str() else { continue };
            for directive in value.split(',') {
                let (name, argument) = directive
                    .split_once('=')
                    .map_or((directive, None), |(n, a)| (n, Some(a)));
                match name.trim().to_ascii_lowercase().as_str() {
                    "no-cache" => control.no_cache = true,
                    "no-store" => control.no_store = true,
                    "only-if-cached" => control.only_if_cached = true,
                    "max-age" => match argument.map(|a| a.trim().trim_matches('"').parse()) {
                        Some(Ok(secs)) => control.max_age = Some(secs),
                        // An age nobody can read is no permission to serve an old answer.
                        _ => control.no_cache = true,
                    },
                    _ => {}
                }
            }
        }
        control
    }

    /// Whether an answer of this age is good enough.
    pub fn accepts_age(&self, age_secs: u64) -> bool {
        let oldest = self.ttl.map(|ttl| ttl.as_secs());
        let limits = self.max_age.into_iter().chain(oldest);
        !self.no_cache && limits.min().is_none_or(|max| age_secs <= max)
    }
}

/// A name that cannot be used is refused and not ignored: what is meant to be apart would be mixed.
fn namespace(headers: &HeaderMap) -> Result<Option<Box<str>>, String> {
    let mut values = headers.get_all(NAMESPACE_HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(format!("{NAMESPACE_HEADER} is there twice: send it once"));
    }
    let name = value.to_str().ok().filter(|name| is_namespace(name));
    let name = name.ok_or_else(|| {
        format!(
            "{NAMESPACE_HEADER} is not a name: write 1 to {NAMESPACE_LEN_MAX} letters (a to z, A to Z), \
             digits, dots, dashes or underscores"
        )
    })?;
    Ok(Some(name.into()))
}

fn read_ttl(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    match text.parse::<u64>() {
        Ok(secs) => Some(Duration::from_secs(secs)),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

/// Whether a body is sent in a content coding such as gzip.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|v| v.as_bytes() != b"identity")
}

/// Which form an answer claims to have, `None` if it is none that any API answers in. HTML is what
/// gateways say when something is wrong.
pub fn answer_form(headers: &HeaderMap) -> Option<Form> {
    match media_type(headers)?.as_str() {
        "text/event-stream" => Some(Form::Stream),
        "application/json" => Some(Form::Json),
        "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Some(Form::Lines)
        }
        "application/octet-stream" => Some(Form::Binary),
        audio if audio.starts_with("audio/") => Some(Form::Binary),
        text if text.starts_with("text/") && text != "text/html" => Some(Form::Text),
        _ => None,
    }
}

/// The headers that go to everyone who gets this answer without having asked for it. `status`: of
/// refusals and redirects, which are shared but never stored, also what tells clients what to do.
/// Copies: pingora's values are parts of the buffer that the whole head was read into, and a stored
/// record would keep all of it.
pub fn shared_headers(status: u16, headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let advice = if status >= 300 { ADVICE_HEADERS } else { &[] };
    let names = REPLAYED_HEADERS.iter().chain(advice);
    let found = names.filter_map(|name| HeaderName::try_from(*name).ok());
    found
        .flat_map(|name| {
            headers
                .get_all(&name)
                .iter()
                .map(move |value| (name.clone(), copied(value)))
        })
        .collect()
}

fn copied(value: &HeaderValue) -> HeaderValue {
    // What is a value already is one again.
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// The headers that go to the one client who asked: all but those of the connection and the
/// length, which whoever writes the answer sets anew.
pub fn end_to_end_headers(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let connection = listed_in_connection(headers);
    headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            let ours = is_hop_by_hop(name) || name == header::CONTENT_LENGTH;
            !ours && !connection.iter().any(|c| c == name)
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Whether headers say something about this very body, so that another one cannot be sent with them.
pub fn names_the_body(headers: &HeaderMap) -> bool {
    const OF_THE_BODY: &[&str] = &[
        "content-digest",
        "content-md5",
        "digest",
        "idempotency-key",
        "repr-digest",
        "x-amz-content-sha256",
    ];
    headers
        .keys()
        .any(|name| OF_THE_BODY.contains(&name.as_str()))
}

/// Whether a header describes the connection only.
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
}

/// Whether `Connection` takes away one of the headers that `counts`: what the upstream gets is then
/// not what the request seems to say.
pub fn connection_takes(headers: &HeaderMap, counts: impl Fn(&str) -> bool) -> bool {
    listed_in_connection(headers)
        .iter()
        .any(|name| counts(name))
}

/// Headers that `Connection` declares to be about this connection.
fn listed_in_connection(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

/// What a body is by its own word: empty if it does not say, `None` if it says so twice or in no
/// text.
pub fn content_type(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let value = values
        .next()
        .map_or(Some(""), |value| value.to_str().ok())?;
    values.next().is_none().then_some(value)
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(value: &'static str) -> RequestControl {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(value));
        RequestControl::of(&headers).unwrap()
    }

    #[test]
    fn a_time_to_live_is_read_or_refused() {
        for (value, secs) in [
            ("90", Some(90)),
            ("0", Some(0)),
            ("10m", Some(600)),
            (" 1h 30m ", Some(5400)),
            ("", None),
            ("-1", None),
            ("soon", None),
            ("1e99", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(TTL_HEADER, HeaderValue::from_static(value));
            let ttl = RequestControl::of(&headers).map(|control| control.ttl);
            match secs {
                Some(secs) => assert_eq!(ttl, Ok(Some(Duration::from_secs(secs))), "{value}"),
                None => assert!(ttl.is_err(), "{value}"),
            }
        }
    }

    #[test]
    fn a_namespace_is_a_name_or_refused() {
        let of = |values: &[&'static [u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = HeaderValue::from_bytes(value).unwrap();
                headers.append(NAMESPACE_HEADER, value);
            }
            RequestControl::of(&headers).map(|control| control.namespace)
        };
        assert_eq!(of(&[]), Ok(None));
        const LONGEST: &[u8] = &[b'a'; NAMESPACE_LEN_MAX];
        const TOO_LONG: &[u8] = &[b'a'; NAMESPACE_LEN_MAX + 1];
        for good in [&b"evals"[..], b"A.b_c-9", b".", b"-", LONGEST] {
            let name = str::from_utf8(good).unwrap();
            assert_eq!(of(&[good]), Ok(Some(name.into())));
        }
        for bad in [
            &b""[..],
            b"a b",
            b"a/b",
            b"a,b",
            b"\"a\"",
            b"caf\xc3\xa9",
            b"\xff",
            TOO_LONG,
        ] {
            let message = of(&[bad]).unwrap_err();
            assert!(message.contains("1 to 64 letters"), "{message}");
        }
        let message = of(&[b"a", b"a"]).unwrap_err();
        assert!(message.contains("send it once"), "{message}");
    }

    #[test]
    fn a_retry_says_so() {
        for (value, retries) in [("0", false), ("1", true), ("2", true), ("x", true)] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_HEADER, HeaderValue::from_static(value));
            assert_eq!(RequestControl::of(&headers).unwrap().retries, retries);
        }
    }

    #[test]
    fn request_directives() {
        let none = RequestControl::default;
        for (value, expected) in [
            ("", none()),
            (
                "no-cache",
                RequestControl {
                    no_cache: true,
                    ..none()
                },
            ),
            (
                "No-Store",
                RequestControl {
                    no_store: true,
                    ..none()
                },
            ),
            (
                "max-age=5, only-if-cached",
                RequestControl {
                    max_age: Some(5),
                    only_if_cached: true,
                    ..none()
                },
            ),
            (
                "max-age=\"7\"",
                RequestControl {
                    max_age: Some(7),
                    ..none()
                },
            ),
            (
                "max-age=soon",
                RequestControl {
                    no_cache: true,
                    ..none()
                },
            ),
            (
                "max-age",
                RequestControl {
                    no_cache: true,
                    ..none()
                },
            ),
            ("no-transform", none()),
        ] {
            assert_eq!(control(value), expected, "{value}");
        }
    }

    #[test]
    fn age_limits() {
        assert!(control("").accepts_age(1_000_000));
        assert!(control("max-age=10").accepts_age(10));
        assert!(!control("max-age=10").accepts_age(11));
        assert!(!control("no-cache").accepts_age(0));
    }

    /// A stored answer must not keep the buffer that its head was read into.
    #[test]
    fn what_is_kept_is_a_copy() {
        let buffer = bytes::Bytes::from(b"application/json and much more".to_vec());
        let value = HeaderValue::from_maybe_shared(buffer.slice(..16)).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, value);
        let kept = shared_headers(200, &headers);
        drop(headers);
        assert_eq!(kept[0].1, "application/json");
        assert!(buffer.is_unique());
    }

    #[test]
    fn only_what_is_true_for_everyone_is_replayed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("set-cookie", "a=b"),
            ("x-request-id", "r"),
            ("x-ratelimit-remaining-requests", "9"),
            ("connection", "x-mine"),
            ("x-mine", "1"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let names = |list: Vec<(HeaderName, HeaderValue)>| -> Vec<String> {
            list.iter().map(|(n, _)| n.to_string()).collect()
        };
        assert_eq!(names(shared_headers(200, &headers)), ["content-type"]);
        assert_eq!(
            names(end_to_end_headers(&headers)),
            [
                "content-type",
                "set-cookie",
                "x-request-id",
                "x-ratelimit-remaining-requests"
            ]
        );
    }
}
