//! `LLM_CACHE__SECTION__KEY=value`: environment variables laid over the file before it is parsed.
//!
//! The name after the prefix is the way to the value, its parts separated by `__` and in any case;
//! an entry of a list goes by its number, from 0. The value is YAML: a bare word, or `[{name: a,
//! url: …}]`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::Problems;
use super::path::{Path, Step};
use super::yaml::{self, Origin};

const PREFIX: &str = "LLM_CACHE__";

/// Sets what the variables say. In the order of their names, so that a section given as a whole
/// comes before a key inside it.
pub fn apply(value: &mut Value, env: &BTreeMap<String, String>, problems: &mut Problems) {
    for (name, text) in env {
        if let Some(rest) = name.strip_prefix(PREFIX)
            && let Err(message) = set(value, name, rest, text, problems)
        {
            let place = Origin::Variable(name.clone()).whole();
            problems.push(place, &Path::root(), message);
        }
    }
}

fn set(
    mut value: &mut Value,
    name: &str,
    rest: &str,
    text: &str,
    problems: &mut Problems,
) -> Result<(), String> {
    let mut path = Path::root();
    for part in rest.split("__") {
        if part.is_empty() {
            return Err(format!(
                "not the name of a key (write e.g. {PREFIX}STORE__PATH)"
            ));
        }
        let step;
        (value, step) = descend(value, part).ok_or_else(|| format!("`{path}` has no `{part}`"))?;
        path = path.with(step);
        if !problems.marks().contains(&path) {
            problems.marks_mut().set_variable(path.clone(), name);
        }
    }
    let mut errors = Vec::new();
    let origin = Origin::Variable(name.to_owned());
    let found = yaml::read_variable(text, &origin, &path, &mut errors);
    problems.extend(errors);
    if found.is_none() {
        problems.fail(&path);
    }
    problems.marks_mut().set_variable(path, name);
    *value = found.unwrap_or_default();
    Ok(())
}

/// One step down, to a value that is there or could be. `None`: there can be no such value.
fn descend<'a>(value: &'a mut Value, part: &str) -> Option<(&'a mut Value, Step)> {
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(object) => {
            let key = part.to_ascii_lowercase();
            Some((
                object.entry(key.clone()).or_insert(Value::Null),
                Step::Key(key),
            ))
        }
        Value::Array(items) => {
            let index = part.parse().ok()?;
            Some((items.get_mut(index)?, Step::Item(index)))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
