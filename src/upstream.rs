//! An upstream: where it is, how long it may take, which credential it gets.

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderName, HeaderValue, Uri};
use pingora::http::RequestHeader;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, OrErr, Result};
use wildmatch::WildMatch;

use crate::api::Api;
use crate::config::{self, Rate};
use crate::error::ApiError;
use crate::host::Host;
use crate::metrics::UpstreamErrorKind;
use crate::tenant::{self, CREDENTIAL_HEADERS};

/// One configured upstream.
pub struct Upstream {
    config: config::Upstream,
    identity: String,
    host: Host,
    prices: Vec<(Vec<WildMatch>, Rate)>,
}

impl Upstream {
    /// Prepares an upstream. The URL has been checked by the configuration.
    pub fn new(config: config::Upstream) -> Result<Upstream> {
        let prices = config.prices.iter().map(|price| {
            let patterns = price.models.iter().map(|pattern| WildMatch::new(pattern));
            (patterns.collect(), price.rate)
        });
        Ok(Upstream {
            prices: prices.collect(),
            identity: format!("{} {}", config.name, config.url),
            host: Host::new(&config.url, config.timeouts)?,
            config,
        })
    }

    /// The configured name: a metric label and a path prefix.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Its host, without the port.
    pub fn host(&self) -> &str {
        self.host.name()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.host.port()
    }

    /// Its host, with the port where that is not the usual one.
    pub fn authority(&self) -> &HeaderValue {
        self.host.authority()
    }

    /// What makes answers of this upstream differ from those of another: its URL, and its name,
    /// since two upstreams at one URL may be two accounts with different rights.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// What the tokens of a model cost here, if the configuration says so.
    pub fn rate(&self, model: Option<&str>) -> Option<Rate> {
        let model = model?;
        let fits = |patterns: &[WildMatch]| patterns.iter().any(|p| p.matches(model));
        let price = self.prices.iter().find(|(patterns, _)| fits(patterns))?;
        Some(price.1)
    }

    /// How long it may take.
    pub fn timeouts(&self) -> &config::Timeouts {
        &self.config.timeouts
    }

    /// Where to connect to. `attempt` moves on through the host's addresses.
    pub async fn peer(&self, attempt: usize) -> Result<Box<HttpPeer>> {
        self.host.peer(attempt).await
    }

    /// Turns a request for us into one for the upstream: target, host, credential. `rest` is
    /// appended to the base URL's path.
    pub fn address_request(
        &self,
        request: &mut RequestHeader,
        rest: &str,
        query: Option<&str>,
        api: Option<Api>,
    ) -> Result<()> {
        let base = base_for(self.config.url.path().trim_end_matches('/'), rest);
        let own = self.own_key(request, query);
        let query = match own {
            Some(_) => query.and_then(tenant::without_credentials),
            None => query.map(str::to_owned),
        };
        let target = match query {
            Some(query) => format!("{base}{rest}?{query}"),
            None => format!("{base}{rest}"),
        };
        let uri = Uri::try_from(target).or_err(
            ErrorType::InvalidHTTPHeader,
            "the path cannot be sent to the upstream",
        )?;
        request.set_uri(uri);
        request.insert_header(HOST, self.host.authority())?;
        match own {
            Some(key) => self.set_credential(request, key, api),
            None => Ok(()),
        }
    }

    /// The configured key, if it is to be sent in the place of what the client brings.
    fn own_key(&self, request: &RequestHeader, query: Option<&str>) -> Option<&config::ApiKey> {
        let key = self.config.api_key.as_ref()?;
        let brings = || tenant::has_credential(&request.headers, query);
        (key.replaces || !brings()).then_some(key)
    }

    fn set_credential(
        &self,
        request: &mut RequestHeader,
        key: &config::ApiKey,
        api: Option<Api>,
    ) -> Result<()> {
        for name in CREDENTIAL_HEADERS {
            request.remove_header(*name);
        }
        let secret = key.secret.expose();
        let (name, value) = match key_header(self.host.name(), request.uri.path(), api) {
            Some(name) => (HeaderName::from_static(name), secret.to_owned()),
            None => (AUTHORIZATION, format!("Bearer {secret}")),
        };
        let mut value = HeaderValue::from_str(&value).or_err(
            ErrorType::InternalError,
            "the upstream's key is no header value",
        )?;
        value.set_sensitive(true);
        request.insert_header(name, value)
    }
}

/// The base path to put before `rest`. Where both name a version of the API (`…/v1beta` and
/// `/v1alpha/models/…`), the client's counts.
fn base_for<'a>(base: &'a str, rest: &str) -> &'a str {
    let first = rest.trim_start_matches('/').split('/').next();
    match (base.rsplit_once('/'), first) {
        (Some((before, last)), Some(first)) if is_version(last) && is_version(first) => before,
        _ => base,
    }
}

/// The header in which a key is sent there; `None` for a bearer token, which everybody else takes.
fn key_header(host: &str, path: &str, api: Option<Api>) -> Option<&'static str> {
    let within = |domain: &str| {
        let sub = host.strip_suffix(domain);
        sub.is_some_and(|sub| sub.is_empty() || sub.ends_with('.'))
    };
    let speaks_gemini = matches!(
        api,
        Some(Api::GeminiGenerate | Api::GeminiStream | Api::GeminiEmbed | Api::GeminiCountTokens)
    );
    let speaks_anthropic = matches!(
        api,
        Some(Api::AnthropicMessages | Api::AnthropicCountTokens)
    );
    if speaks_anthropic || within("anthropic.com") {
        Some("x-api-key")
    } else if ["openai", "cognitiveservices", "services.ai"]
        .iter()
        .any(|service| within(&format!("{service}.azure.com")))
    {
        Some("api-key")
    } else if within("generativelanguage.googleapis.com") {
        // Google's own imitation of OpenAI takes bearer tokens.
        (!path.contains("/openai/")).then_some("x-goog-api-key")
    } else if within("googleapis.com") {
        // Vertex AI takes access tokens.
        None
    } else {
        speaks_gemini.then_some("x-goog-api-key")
    }
}

/// `v1`, `v1beta`, `v1alpha`, `v2` and the like.
fn is_version(segment: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let Some(version) = segment.strip_prefix('v') else {
        return false;
    };
    let number = version
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(version.len());
    let (number, stage) = version.split_at(number);
    let stage = stage
        .strip_prefix("alpha")
        .or_else(|| stage.strip_prefix("beta"))
        .unwrap_or(stage);
    !number.is_empty() && digits(stage)
}

/// What an error of the proxy framework means for the client and the metrics.
pub fn classify(upstream: &str, error: &Error) -> (ApiError, UpstreamErrorKind) {
    use ErrorType::*;
    match error.etype() {
        ConnectTimedout | ConnectRefused | ConnectNoRoute | ConnectError | SocketError
        | BindError | TLSHandshakeFailure | TLSHandshakeTimedout | InvalidCert | HandshakeError
        | ConnectProxyFailure => (
            ApiError::upstream_unreachable(upstream),
            UpstreamErrorKind::Connect,
        ),
        ReadTimedout | WriteTimedout => (
            ApiError::upstream_timeout(upstream),
            UpstreamErrorKind::Timeout,
        ),
        _ => (
            ApiError::upstream_broken(upstream),
            UpstreamErrorKind::Broken,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_they_are_looked_for() {
        let chat = Some(Api::OpenAiChat);
        let gemini = Some(Api::GeminiStream);
        for (host, path, api, expected) in [
            ("api.openai.com", "/v1/chat/completions", chat, None),
            ("api.anthropic.com", "/v1/models", None, Some("x-api-key")),
            ("evilanthropic.com", "/v1/models", None, None),
            (
                "gateway",
                "/v1/messages",
                Some(Api::AnthropicMessages),
                Some("x-api-key"),
            ),
            ("x.openai.azure.com", "/openai/v1", chat, Some("api-key")),
            (
                "x.cognitiveservices.azure.com",
                "/openai/v1",
                None,
                Some("api-key"),
            ),
            (
                "generativelanguage.googleapis.com",
                "/v1beta/models",
                None,
                Some("x-goog-api-key"),
            ),
            (
                "generativelanguage.googleapis.com",
                "/v1beta/openai/chat/completions",
                chat,
                None,
            ),
            ("eu-aiplatform.googleapis.com", "/v1/projects", gemini, None),
            (
                "gateway",
                "/v1beta/models/m:streamGenerateContent",
                gemini,
                Some("x-goog-api-key"),
            ),
            ("localhost", "/api/chat", Some(Api::OllamaChat), None),
        ] {
            assert_eq!(key_header(host, path, api), expected, "{host} {path}");
        }
    }

    #[test]
    fn the_clients_version_counts() {
        for (base, rest, expected) in [
            ("/v1", "/chat/completions", "/v1"),
            ("/v1beta", "/models/a:generateContent", "/v1beta"),
            ("/v1beta", "/v1beta/models/a:generateContent", ""),
            ("/x/v1beta", "/v1alpha/models", "/x"),
            ("/x/v1beta2", "/v1/models", "/x"),
            ("/v2", "/v2/rerank", ""),
            ("", "/v1beta/models", ""),
            ("/api", "/v1/models", "/api"),
            ("/v1", "/vector_stores", "/v1"),
            ("/v1", "/v/1", "/v1"),
            ("/v1", "/v1gamma/models", "/v1"),
        ] {
            assert_eq!(base_for(base, rest), expected, "{base} {rest}");
        }
    }
}
