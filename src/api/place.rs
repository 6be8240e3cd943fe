//! Where a request goes, as far as its API is concerned: path and query.

use std::collections::HashMap;

use super::Api;

/// A path below a base URL, segment by segment. `{model}` stands for one segment, or the part of
/// one before the text that follows it; `*` for any one segment.
pub(super) type Pattern = &'static str;

/// The paths of an OpenAI API: its own, and the two ways Azure has for it.
macro_rules! openai_paths {
    ($path:literal) => {
        &[
            $path,
            concat!("openai/v1/", $path),
            concat!("openai/deployments/{model}/", $path),
            concat!("deployments/{model}/", $path),
        ]
    };
}
pub(super) use openai_paths;

/// The same for an API that Azure does not have below a deployment: its model is in the body.
macro_rules! openai_paths_by_body {
    ($path:literal) => {
        &[
            $path,
            concat!("openai/v1/", $path),
            concat!("openai/", $path),
        ]
    };
}
pub(super) use openai_paths_by_body;

/// Path and query of a request, as they are sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// The path below the upstream's base, without a leading slash.
    pub path: &'a str,
    /// The query without its question mark; empty if there is none.
    pub query: &'a str,
    /// The model, if the path names one.
    pub model: Option<&'a str>,
}

/// What a path says when it fits a pattern.
#[derive(Debug, PartialEq)]
pub(super) struct Found<'a> {
    /// The model the path names.
    pub(super) model: Option<&'a str>,
}

/// Every API's paths, made once so that a request is not held against each of them.
pub(super) struct Places {
    /// Paths without a placeholder.
    exact: HashMap<&'static str, Api>,
    /// The others, with what they begin with.
    patterns: Vec<(&'static str, Pattern, Api)>,
}

impl Places {
    /// Of these APIs. No two of them have the same path; a test makes sure of that.
    pub(super) fn of(apis: impl Iterator<Item = (Api, &'static [Pattern])>) -> Places {
        let mut places = Places {
            exact: HashMap::new(),
            patterns: Vec::new(),
        };
        for (api, patterns) in apis {
            for pattern in patterns {
                match pattern.split_once(['{', '*']) {
                    None => {
                        places.exact.entry(pattern).or_insert(api);
                    }
                    Some((beginning, _)) => places.patterns.push((beginning, pattern, api)),
                }
            }
        }
        places
    }

    /// The API that a path is one of, and the model if the path names one.
    pub(super) fn find<'a>(&self, path: &'a str) -> Option<(Api, Option<&'a str>)> {
        if let Some(api) = self.exact.get(path) {
            return Some((*api, None));
        }
        let first = path.as_bytes().first()?;
        let mut patterns = self.patterns.iter();
        patterns.find_map(|(beginning, pattern, api)| {
            // Nearly always settled by the first byte.
            let may = beginning.as_bytes().first().is_none_or(|b| b == first);
            let found = (may && path.starts_with(beginning)).then(|| fit(pattern, path));
            Some((*api, found.flatten()?.model))
        })
    }
}

fn fit<'a>(pattern: Pattern, path: &'a str) -> Option<Found<'a>> {
    let mut found = Found { model: None };
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        let segment = segments.next()?;
        match wanted.strip_prefix("{model}") {
            Some(behind) => found.model = Some(named(segment.strip_suffix(behind)?)?),
            None if wanted == "*" => {
                named(segment)?;
            }
            None if wanted == segment => {}
            None => return None,
        }
    }
    segments.next().is_none().then_some(found)
}

/// A segment that can be a name. One with escapes could be read in two ways.
fn named(segment: &str) -> Option<&str> {
    let odd = segment.is_empty() || segment.contains(['%', ':']) || matches!(segment, "." | "..");
    (!odd).then_some(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_is_of_two_apis() {
        let patterns = || {
            let all = Api::ALL.into_iter();
            all.flat_map(|api| api.grammar().paths.iter().map(move |path| (api, *path)))
        };
        for (api, pattern) in patterns() {
            for (other, wanted) in patterns().filter(|(other, _)| *other != api) {
                for name in ["name", "models", "deployments"] {
                    let path = pattern.replace("{model}", name).replace('*', name);
                    assert_eq!(fit(wanted, &path), None, "{path}: {api:?} or {other:?}");
                }
            }
        }
    }

    #[test]
    fn a_pattern_fits_whole_segments_only() {
        for (pattern, path, expected) in [
            ("chat/completions", "chat/completions", Some(None)),
            ("chat/completions", "chat/completions/", None),
            ("chat/completions", "chat", None),
            ("chat/completions", "Chat/completions", None),
            ("d/{model}/chat", "d/gpt-4o/chat", Some(Some("gpt-4o"))),
            ("d/{model}/chat", "d//chat", None),
            ("d/{model}/chat", "d/../chat", None),
            ("d/{model}/chat", "d/a%2fb/chat", None),
            (
                "m/{model}:go",
                "m/gemini-2.5-pro:go",
                Some(Some("gemini-2.5-pro")),
            ),
            ("m/{model}:go", "m/a:b:go", None),
            ("m/{model}:go", "m/:go", None),
            ("m/{model}:go", "m/a:stop", None),
            ("p/*/{model}", "p/x/y", Some(Some("y"))),
            ("p/*/{model}", "p//y", None),
        ] {
            let expected = expected.map(|model| Found { model });
            assert_eq!(fit(pattern, path), expected, "{pattern} {path}");
        }
    }
}
