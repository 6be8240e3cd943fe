//! Upstreams: names, URLs, model patterns, time limits.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

use super::super::error::Problems;
use super::super::file::{self, File};
use super::super::path::Path;
use super::super::units::List;
use super::super::{Price, Rate, Server, Timeouts, Upstream};
use super::{positive, secret};

/// Words of the path grammar; an upstream of such a name could not be reached, or would hide a
/// path.
const RESERVED: &[&str] = &[
    "audio",
    "cache",
    "chat",
    "completions",
    "embeddings",
    "health",
    "images",
    "livez",
    "messages",
    "metrics",
    "models",
    "moderations",
    "readyz",
    "rerank",
    "responses",
    "simulate",
    "v1",
    "v1beta",
];

/// Dollars for a million tokens: more is a slip of the hand, and sums must stay numbers.
const PRICE_MAX: f64 = 1e6;

/// All upstreams, in the file's order.
pub fn build(
    file: &File,
    server: &Server,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Vec<Upstream> {
    let path = Path::from(["upstreams"]);
    let mut upstreams: Vec<Upstream> = Vec::new();
    for (index, slot) in file.upstreams.iter().enumerate() {
        let path = path.item(index);
        let Some(upstream) = slot else {
            problems.report(&path, "an empty entry");
            continue;
        };
        let earlier = file.upstreams.iter().take(index).flatten();
        if let Err(message) = check_name(upstream.name.as_deref(), earlier) {
            problems.report(&path.key("name"), message);
        }
        let url = base_url(upstream.url.as_deref(), server, "https://api.openai.com/v1");
        let url = url.map_err(|message| problems.report(&path.key("url"), message));
        let models = patterns(&upstream.models, &path.key("models"), problems);
        let api_key = secret::api_key(upstream, &path, env, problems);
        let timeouts = timeouts(&upstream.timeouts, &path.key("timeouts"), problems);
        let prices = prices(&upstream.prices, &path.key("prices"), problems);
        if let (Some(name), Ok(url)) = (upstream.name.clone(), url) {
            upstreams.push(Upstream {
                name,
                url,
                models,
                api_key,
                timeouts,
                prices,
            });
        }
    }
    if file.upstreams.is_empty() {
        let message =
            "at least one upstream is needed (- name: openai, url: https://api.openai.com/v1)";
        problems.report(&path, message);
    }
    upstreams
}

fn check_name<'a>(
    name: Option<&str>,
    mut earlier: impl Iterator<Item = &'a file::Upstream>,
) -> Result<(), String> {
    let name = name.ok_or("is missing: an upstream needs a name, which is also its path")?;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if name.is_empty() || !name.chars().all(allowed) || name.starts_with(['.', '_', '-']) {
        return Err(format!(
            "`{name}` is not a name: lower-case letters, digits, dots, dashes and underscores, \
             beginning with a letter or digit"
        ));
    }
    if RESERVED.contains(&name) {
        return Err(format!(
            "`{name}` is a word of the server's own paths: choose another name"
        ));
    }
    if earlier.any(|other| other.name.as_deref() == Some(name)) {
        return Err(format!("another upstream is called `{name}` already"));
    }
    Ok(())
}

/// The patterns of a list that has no empty ones.
pub fn patterns(list: &List<String>, path: &Path, problems: &mut Problems) -> Vec<String> {
    for (index, pattern) in list.0.iter().enumerate() {
        if pattern.as_deref().is_none_or(|text| text.trim().is_empty()) {
            problems.report(&path.item(index), "an empty entry");
        }
    }
    list.0.iter().flatten().cloned().collect()
}

fn prices(list: &[Option<file::Price>], path: &Path, problems: &mut Problems) -> Vec<Price> {
    let mut prices = Vec::new();
    for (index, slot) in list.iter().enumerate() {
        let path = path.item(index);
        let Some(price) = slot else {
            problems.report(&path, "an empty entry");
            continue;
        };
        let models = patterns(&price.models, &path.key("models"), problems);
        if price.models.0.is_empty() {
            let message = "is missing: for which models (write e.g. [\"gpt-4o*\"])";
            problems.report(&path.key("models"), message);
        }
        let mut dollars = |key, value: Option<f64>| match value {
            None => {
                let message = "is missing: dollars for a million tokens, 0 if there are none";
                problems.report(&path.key(key), message);
                0.0
            }
            Some(dollars) if !(0.0..=PRICE_MAX).contains(&dollars) => {
                let message = format!("a price is between 0 and {PRICE_MAX}");
                problems.report(&path.key(key), message);
                0.0
            }
            Some(dollars) => dollars,
        };
        let rate = Rate {
            input: dollars("input", price.input),
            output: dollars("output", price.output),
        };
        prices.push(Price { models, rate });
    }
    prices
}

/// A URL that others' paths can be appended to, and that is not ours. `example` shows how.
pub fn base_url(text: Option<&str>, server: &Server, example: &str) -> Result<Url, String> {
    let example = format!("(write e.g. {example})");
    let text = text.ok_or_else(|| format!("is missing {example}"))?;
    // Without the text itself: it may hold a password.
    let mut url = Url::parse(text).map_err(|cause| format!("not a URL: {cause} {example}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("not an http or https URL {example}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "credentials do not belong in a URL (keys of providers: api_key_env, api_key_file)"
                .to_owned(),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a base URL has no query (?…) and no fragment (#…)".to_owned());
    }
    let port = url
        .port_or_known_default()
        .filter(|port| *port != 0)
        .ok_or("nothing listens on port 0")?;
    let mut own = server.listen.iter().chain([&server.admin]);
    if let Some(address) = own.find(|address| is_own(&url, port, **address)) {
        return Err(format!(
            "this server itself listens on {address}: it would ask itself"
        ));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Whether a URL leads to an address of ours. Names other than localhost are not looked up.
fn is_own(url: &Url, port: u16, own: SocketAddr) -> bool {
    let any_local = own.ip().is_unspecified();
    let same_host = |ip: IpAddr| {
        ip == own.ip()
            || (any_local && (ip.is_loopback() || ip.is_unspecified()))
            || (ip.is_unspecified() && own.ip().is_loopback())
    };
    port == own.port()
        && match url.host() {
            Some(Host::Ipv4(ip)) => same_host(ip.into()),
            Some(Host::Ipv6(ip)) => same_host(ip.to_canonical()),
            Some(Host::Domain(name)) if name.trim_end_matches('.') == "localhost" => {
                any_local || own.ip().is_loopback()
            }
            Some(Host::Domain(_)) | None => false,
        }
}

fn timeouts(file: &file::Timeouts, path: &Path, problems: &mut Problems) -> Timeouts {
    let mut time = |key, value| positive(&path.key(key), value, problems);
    Timeouts {
        connect: time("connect", file.connect),
        first_byte: time("first_byte", file.first_byte),
        idle: time("idle", file.idle),
    }
}
