//! From a request's path to what is asked, whom, and whether the cache may answer.
//!
//! The grammar is the one of the Python ancestor, in any order before the API's own path:
//! `[/simulate][/{upstream}][/cache][/v1]/chat/completions`. Nothing is decoded or tidied up: a
//! path that is not exactly one of ours goes upstream as it came.

use quick_cache::sync::Cache;
use wildmatch::WildMatch;

use crate::api::Api;

/// What a path means. `rest` is the path behind the upstream's base URL, with its slash.
#[derive(Debug, PartialEq)]
pub struct Route<'a> {
    /// Index of the upstream the path names.
    pub upstream: Option<usize>,
    /// The path says `/cache`.
    pub cache: bool,
    /// The path says `/simulate`: hits are replayed at a reader's pace.
    pub simulate: bool,
    /// The API, if it is one whose answers can be cached.
    pub api: Option<Api>,
    /// The model, if the path names one.
    pub model: Option<&'a str>,
    /// What is appended to the upstream's base URL.
    pub rest: &'a str,
}

/// Paths that are remembered: clients use few of them, again and again.
const PATHS_MAX: usize = 1024;
/// Longer paths are read anew each time.
const PATH_BYTES_MAX: usize = 256;

/// Names and model patterns of the upstreams, in the order of the configuration.
pub struct Router {
    names: Vec<String>,
    patterns: Vec<(WildMatch, usize)>,
    known: Cache<Box<str>, Known>,
}

/// What a path means, by offsets into it.
#[derive(Clone)]
struct Known {
    upstream: Option<usize>,
    cache: bool,
    simulate: bool,
    api: Option<Api>,
    model: Option<(usize, usize)>,
    rest: usize,
}

impl Known {
    fn of(path: &str, route: &Route<'_>) -> Known {
        let offset = |part: &str| part.as_ptr().addr() - path.as_ptr().addr();
        Known {
            upstream: route.upstream,
            cache: route.cache,
            simulate: route.simulate,
            api: route.api,
            model: route.model.map(|m| (offset(m), offset(m) + m.len())),
            rest: offset(route.rest),
        }
    }

    /// `None` only if this is about another path.
    fn route<'a>(&self, path: &'a str) -> Option<Route<'a>> {
        Some(Route {
            upstream: self.upstream,
            cache: self.cache,
            simulate: self.simulate,
            api: self.api,
            model: match self.model {
                Some((from, to)) => Some(path.get(from..to)?),
                None => None,
            },
            rest: path.get(self.rest..)?,
        })
    }
}

impl Router {
    /// `upstreams`: name and model patterns of each, the default one first.
    pub fn new<'a>(upstreams: impl Iterator<Item = (&'a str, &'a [String])>) -> Router {
        let mut router = Router {
            names: Vec::new(),
            patterns: Vec::new(),
            known: Cache::new(PATHS_MAX),
        };
        for (index, (name, models)) in upstreams.enumerate() {
            router.names.push(name.to_owned());
            router
                .patterns
                .extend(models.iter().map(|m| (WildMatch::new(m), index)));
        }
        router
    }

    /// Reads a path (without its query).
    pub fn route<'a>(&self, path: &'a str) -> Route<'a> {
        if path.len() > PATH_BYTES_MAX {
            return self.read(path);
        }
        if let Some(route) = self.known.get(path).and_then(|known| known.route(path)) {
            return route;
        }
        let route = self.read(path);
        self.known.insert(path.into(), Known::of(path, &route));
        route
    }

    fn read<'a>(&self, path: &'a str) -> Route<'a> {
        let mut route = Route {
            upstream: None,
            cache: false,
            simulate: false,
            api: None,
            model: None,
            rest: path,
        };
        while let Some((segment, rest)) = first_segment(route.rest) {
            match segment {
                "simulate" if !route.simulate => route.simulate = true,
                "cache" if !route.cache => route.cache = true,
                name => match self.names.iter().position(|n| n == name) {
                    Some(index) if route.upstream.is_none() => route.upstream = Some(index),
                    _ => break,
                },
            }
            route.rest = rest;
        }
        let api = |rest: &'a str| rest.strip_prefix('/').and_then(Api::from_path);
        let mut found = api(route.rest);
        // A base URL ends where the API's own paths begin, so `/v1` belongs to the client's side,
        // but for those APIs whose versions differ in meaning.
        if let (None, Some(("v1", rest))) = (found, first_segment(route.rest)) {
            route.rest = rest;
            found = api(rest);
        }
        (route.api, route.model) = found.map_or((None, None), |(api, model)| (Some(api), model));
        route
    }

    /// The upstream for a model when the path names none: the first pattern that fits, else the
    /// default.
    pub fn upstream_for(&self, model: Option<&str>) -> usize {
        let fits = |model: &str| {
            self.patterns
                .iter()
                .find(|(pattern, _)| pattern.matches(model))
        };
        model.and_then(fits).map_or(0, |(_, index)| *index)
    }
}

/// Splits `/a/b` into `a` and `/b`. The last segment is not split off: it is never a prefix.
fn first_segment(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    let end = path.find('/')?;
    path.split_at_checked(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Router {
        let models = ["gpt-*".to_owned(), "o1*".to_owned()];
        let claude = ["claude-*".to_owned()];
        Router::new([("openai", &models[..]), ("anthropic", &claude[..])].into_iter())
    }

    #[test]
    fn paths() {
        let chat = Some(Api::OpenAiChat);
        for (path, upstream, cache, simulate, api, rest) in [
            (
                "/chat/completions",
                None,
                false,
                false,
                chat,
                "/chat/completions",
            ),
            (
                "/v1/chat/completions",
                None,
                false,
                false,
                chat,
                "/chat/completions",
            ),
            (
                "/cache/v1/chat/completions",
                None,
                true,
                false,
                chat,
                "/chat/completions",
            ),
            (
                "/openai/cache/chat/completions",
                Some(0),
                true,
                false,
                chat,
                "/chat/completions",
            ),
            (
                "/cache/openai/v1/chat/completions",
                Some(0),
                true,
                false,
                chat,
                "/chat/completions",
            ),
            (
                "/simulate/anthropic/cache/v1/messages",
                Some(1),
                true,
                true,
                Some(Api::AnthropicMessages),
                "/messages",
            ),
            ("/v1/models", None, false, false, None, "/models"),
            ("/models", None, false, false, None, "/models"),
            (
                "/anthropic/v1/models",
                Some(1),
                false,
                false,
                None,
                "/models",
            ),
            ("/cache/models", None, true, false, None, "/models"),
            (
                "/unknown/chat/completions",
                None,
                false,
                false,
                None,
                "/unknown/chat/completions",
            ),
            (
                "//v1/chat/completions",
                None,
                false,
                false,
                None,
                "//v1/chat/completions",
            ),
            (
                "/v1/chat%2fcompletions",
                None,
                false,
                false,
                None,
                "/chat%2fcompletions",
            ),
            (
                "/v1/Chat/completions",
                None,
                false,
                false,
                None,
                "/Chat/completions",
            ),
            (
                "/v1/chat/completions/",
                None,
                false,
                false,
                None,
                "/chat/completions/",
            ),
            (
                "/cache/cache/chat/completions",
                None,
                true,
                false,
                None,
                "/cache/chat/completions",
            ),
            (
                "/v1/v1/chat/completions",
                None,
                false,
                false,
                None,
                "/v1/chat/completions",
            ),
            ("/", None, false, false, None, "/"),
            ("*", None, false, false, None, "*"),
        ] {
            let expected = Route {
                upstream,
                cache,
                simulate,
                api,
                model: None,
                rest,
            };
            let router = router();
            assert_eq!(router.route(path), expected, "{path}");
            assert_eq!(router.route(path), expected, "{path}, once more");
        }
    }

    #[test]
    fn many_paths_and_long_ones_are_read_all_the_same() {
        let router = router();
        for n in 0..3 * PATHS_MAX {
            let name = format!("m{n}{}", "x".repeat(n));
            let path = format!("/cache/openai/deployments/{name}/chat/completions");
            for _ in 0..2 {
                let route = router.route(&path);
                assert_eq!((route.model, route.cache), (Some(&name[..]), true));
            }
        }
        assert!(router.known.len() <= PATHS_MAX);
    }

    #[test]
    fn a_path_can_name_the_model() {
        let router = router();
        for (path, rest) in [
            (
                "/anthropic/openai/deployments/gpt-4o/chat/completions",
                "/openai/deployments/gpt-4o/chat/completions",
            ),
            (
                "/openai/deployments/gpt-4o/chat/completions",
                "/deployments/gpt-4o/chat/completions",
            ),
        ] {
            let route = router.route(path);
            assert_eq!(route, router.route(path));
            assert_eq!(route.api, Some(Api::OpenAiChat), "{path}");
            assert_eq!(route.model, Some("gpt-4o"), "{path}");
            assert_eq!(route.rest, rest, "{path}");
        }
    }

    #[test]
    fn a_version_that_is_part_of_the_api_stays() {
        for (path, api, rest) in [
            (
                "/openai/v1/models/m:generateContent",
                Some(Api::GeminiGenerate),
                "/v1/models/m:generateContent",
            ),
            (
                "/cache/v1beta/models/m:streamGenerateContent",
                Some(Api::GeminiStream),
                "/v1beta/models/m:streamGenerateContent",
            ),
            (
                "/v1beta/models/m:unheardOf",
                None,
                "/v1beta/models/m:unheardOf",
            ),
            ("/v1/models/m:unheardOf", None, "/models/m:unheardOf"),
            ("/openai/api/chat", Some(Api::OllamaChat), "/api/chat"),
        ] {
            let route = router().route(path);
            assert_eq!((route.api, route.rest), (api, rest), "{path}");
            assert_eq!(route.model, rest.contains("Content").then_some("m"));
        }
    }

    #[test]
    fn models() {
        for (model, index) in [
            (Some("gpt-5"), 0),
            (Some("claude-opus"), 1),
            (Some("mistral"), 0),
            (Some("my-claude-x"), 0),
            (None, 0),
        ] {
            assert_eq!(router().upstream_for(model), index, "{model:?}");
        }
    }
}
