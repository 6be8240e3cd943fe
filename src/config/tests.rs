//! Tables: a file, an environment, and what comes of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Config, DEFAULT_YAML, Errors, Place, Source, load};

mod errors;
mod objects;
mod secrets;
mod sense;
mod shared;
mod shipped;
mod units;
mod variables;

/// The shortest file there is.
const SHORTEST: &str = "upstreams: [{name: a, url: 'http://a/v1'}]\n";

/// Whatever one test needs on disk; gone when it ends.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    variables.iter().map(owned).collect()
}

fn load_text(yaml: &str, variables: &[(&str, &str)]) -> Result<Config, Errors> {
    let file = Scratch::new();
    load(
        Source::File(&file.file("conf.yaml", yaml)),
        &environment(variables),
    )
}

#[track_caller]
fn good(yaml: &str, variables: &[(&str, &str)]) -> Config {
    load_text(yaml, variables).unwrap_or_else(|errors| panic!("{yaml}\n{errors}"))
}

/// Every error of `yaml`, each as `line:column path` (or `VARIABLE path`, or `file path`) and words
/// that its message has.
#[track_caller]
fn bad(yaml: &str, variables: &[(&str, &str)], expected: &[(&str, &str)]) {
    let errors = match load_text(yaml, variables) {
        Ok(_) => panic!("no error in:\n{yaml}"),
        Err(errors) => errors,
    };
    let found: Vec<_> = errors
        .iter()
        .map(|error| {
            let place = match &error.place {
                Place::File(_) => "file".to_owned(),
                Place::Line { line, column, .. } => format!("{line}:{column}"),
                Place::Variable(name) => name.clone(),
            };
            (
                format!("{place} {}", error.path).trim_end().to_owned(),
                error.message.clone(),
            )
        })
        .collect();
    let places: Vec<_> = found.iter().map(|(place, _)| place.as_str()).collect();
    let expected_places: Vec<_> = expected.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, expected_places, "in:\n{yaml}\n{errors}");
    for ((place, message), (_, words)) in found.iter().zip(expected) {
        assert!(
            message.contains(words),
            "{place}: {message}\nhas not: {words}"
        );
    }
}
