//! What is cached, for whom and for how long.

use super::super::error::Problems;
use super::super::file::{self, File, Scope};
use super::super::path::Path;
use super::super::{Cache, Freshness, Rule};
use super::{positive, upstream};

/// What the metrics call the APIs, which is how a rule names one.
pub const APIS: &[&str] = &[
    "chat",
    "completions",
    "embeddings",
    "responses",
    "messages",
    "generate_content",
    "stream_generate_content",
    "embed_content",
    "gemini_count_tokens",
    "ollama_chat",
    "ollama_generate",
    "ollama_embed",
];

pub fn build(file: &File, problems: &mut Problems) -> Cache {
    let cache = &file.cache;
    let path = |key| Path::from(["cache", key]);
    if cache.scope == Scope::Shared && !cache.trust_network.0 {
        let message = "anyone who can reach this port would read every answer; if that is meant, say \
                       `trust_network: true` beside it, else write `scope: credential`";
        problems.report(&path("scope"), message);
    }
    let freshness = Freshness {
        ttl: positive(&path("ttl"), cache.ttl, problems),
        stale_while_revalidate: cache.stale_while_revalidate.0,
        stale_if_error: cache.stale_if_error.0,
    };
    for (index, slot) in cache.keep.0.iter().enumerate() {
        if slot.is_none() {
            problems.report(&path("keep").item(index), "an empty entry");
        }
    }
    Cache {
        default_on: cache.default_on.0,
        scope: cache.scope,
        trust_network: cache.trust_network.0,
        freshness,
        rules: rules(file, freshness, problems),
        request_ttl_max: positive(&path("request_ttl_max"), cache.request_ttl_max, problems),
        keep: cache.keep.0.iter().flatten().copied().collect(),
        retries: cache.retries,
        embeddings_by_item: cache.embeddings_by_item.0,
        abandoned: cache.abandoned,
        error_linger: cache.error_linger.0,
    }
}

fn rules(file: &File, otherwise: Freshness, problems: &mut Problems) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (index, slot) in file.cache.rules.iter().enumerate() {
        let path = Path::from(["cache", "rules"]).item(index);
        match slot {
            None => problems.report(&path, "an empty entry"),
            Some(rule) => rules.push(self::rule(rule, file, otherwise, &path, problems)),
        }
    }
    rules
}

fn rule(
    rule: &file::Rule,
    file: &File,
    otherwise: Freshness,
    path: &Path,
    problems: &mut Problems,
) -> Rule {
    if let Some(name) = &rule.upstream
        && !file
            .upstreams
            .iter()
            .flatten()
            .any(|u| u.name.as_ref() == Some(name))
    {
        problems.report(
            &path.key("upstream"),
            format!("no upstream is called `{name}`"),
        );
    }
    if let Some(api) = &rule.api
        && !APIS.contains(&api.as_str())
    {
        let message = format!("`{api}` is not an API: one of {}", APIS.join(", "));
        problems.report(&path.key("api"), message);
    }
    if rule.ttl.is_none() && rule.stale_while_revalidate.is_none() && rule.stale_if_error.is_none()
    {
        problems.report(
            path,
            "says no time (ttl, stale_while_revalidate, stale_if_error)",
        );
    }
    Rule {
        upstream: rule.upstream.clone(),
        api: rule.api.clone(),
        models: upstream::patterns(&rule.models, &path.key("models"), problems),
        freshness: Freshness {
            ttl: rule.ttl.map_or(otherwise.ttl, |ttl| {
                positive(&path.key("ttl"), ttl, problems)
            }),
            stale_while_revalidate: rule
                .stale_while_revalidate
                .map_or(otherwise.stale_while_revalidate, |span| span.0),
            stale_if_error: rule
                .stale_if_error
                .map_or(otherwise.stale_if_error, |span| span.0),
        },
    }
}
