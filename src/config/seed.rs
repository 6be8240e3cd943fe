//! The environment variables of the Python ancestor, which keep working: `OPENAI_BASE_URL`,
//! `OPENAI_API_KEY`, `ADDITIONAL_BASE_URLS`. Empty is the same as unset.

use std::collections::BTreeMap;

use url::Url;

use super::file::{File, Upstream};
use super::path::{Marks, Path};

/// The upstream these variables speak of.
pub const OPENAI: &str = "openai";
/// The key that upstream is asked with if the client brings none; see [`super::build`].
pub const API_KEY: &str = "OPENAI_API_KEY";

const BASE_URL: &str = "OPENAI_BASE_URL";
const ADDITIONAL_URLS: &str = "ADDITIONAL_BASE_URLS";

/// The value of a variable that is set and not empty.
pub fn variable<'a>(env: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    env.get(name)
        .map(|value| value.trim())
        .filter(|value| !value.is_empty())
}

/// Adds to `file` what the variables say. New upstreams go to the end, so that the others keep
/// their index; the answer is the index of one that is to become the first.
pub fn apply(file: &mut File, env: &BTreeMap<String, String>, marks: &mut Marks) -> Option<usize> {
    let first = variable(env, BASE_URL).and_then(|url| {
        let url = Some(with_path(url));
        let named = |slot: &Option<Upstream>| {
            slot.as_ref()
                .is_some_and(|upstream| upstream.name.as_deref() == Some(OPENAI))
        };
        let slot = file
            .upstreams
            .iter_mut()
            .enumerate()
            .find(|(_, slot)| named(slot));
        if let Some((index, Some(upstream))) = slot {
            upstream.url = url;
            marks.set_variable(upstreams().item(index).key("url"), BASE_URL);
            return None;
        }
        Some(add(file, OPENAI.to_owned(), url, BASE_URL, marks))
    });
    let urls = variable(env, ADDITIONAL_URLS).unwrap_or_default();
    for url in urls.split(';').map(str::trim).filter(|url| !url.is_empty()) {
        let name = name_of(url).unwrap_or_else(|| format!("additional-{}", file.upstreams.len()));
        add(file, name, Some(url.to_owned()), ADDITIONAL_URLS, marks);
    }
    first
}

fn upstreams() -> Path {
    Path::from(["upstreams"])
}

fn add(
    file: &mut File,
    name: String,
    url: Option<String>,
    variable: &str,
    marks: &mut Marks,
) -> usize {
    let index = file.upstreams.len();
    let upstream = Upstream {
        name: Some(name),
        url,
        ..Upstream::default()
    };
    file.upstreams.push(Some(upstream));
    marks.set_variable(upstreams().item(index), variable);
    index
}

/// A base URL without a path means the API's usual one. One that does not parse stays as it is, to
/// be reported like any other.
fn with_path(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if parsed.path() == "/" => {
            parsed.set_path("/v1");
            parsed.into()
        }
        Ok(_) | Err(_) => url.to_owned(),
    }
}

/// `localhost-11434` for `http://localhost:11434/v1`.
fn name_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let port = url
        .port()
        .map(|port| format!("-{port}"))
        .unwrap_or_default();
    let host = format!("{}{port}", url.host_str()?.to_ascii_lowercase());
    let kept = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    let words = host.split(|c| !kept(c)).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    Some(name.trim_start_matches(['.', '_']).to_owned())
}
