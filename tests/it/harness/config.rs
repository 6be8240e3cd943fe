//! The configuration of a server under test, as a tree with YAML on the way out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::origin::Origin;

/// The configuration file of one server, and what lies beside it.
#[derive(Debug, Clone)]
pub struct Config {
    root: Value,
    /// Written into the server's directory before it starts.
    pub files: BTreeMap<String, String>,
    pub env: BTreeMap<String, String>,
}

impl Config {
    pub fn new() -> Self {
        let root = json!({
            "server": {"shutdown_deadline": "25s"},
            "upstreams": [],
            "store": {
                "path": "./data", "memory_bytes_max": "64MiB", "disk_bytes_max": "1GiB",
            },
        });
        Self {
            root,
            files: BTreeMap::new(),
            env: BTreeMap::new(),
        }
    }

    /// Sets a dotted path, sections made as needed.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) -> &mut Self {
        let mut at = &mut self.root;
        for part in path.split('.') {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at = &mut at[part];
        }
        *at = value.into();
        self
    }

    pub fn remove(&mut self, section: &str) -> &mut Self {
        if let Some(root) = self.root.as_object_mut() {
            root.remove(section);
        }
        self
    }

    /// Adds an upstream at this URL; further keys are merged into it.
    pub fn upstream_at(&mut self, name: &str, url: &str, more: Value) -> &mut Self {
        let mut upstream = json!({
            "name": name, "url": url,
            "timeouts": {"connect": "2s", "first_byte": "30s", "idle": "30s"},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            upstream[key] = value.clone();
        }
        self.root["upstreams"]
            .as_array_mut()
            .unwrap()
            .push(upstream);
        self
    }

    pub fn upstream(&mut self, name: &str, origin: &Origin, more: Value) -> &mut Self {
        if let Some(identity) = &origin.identity {
            // Upstreams are trusted by the system's roots, which this variable replaces.
            self.file("roots.pem", &identity.authority)
                .env("SSL_CERT_FILE", "roots.pem");
        }
        self.upstream_at(name, &origin.url(), more)
    }

    pub fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.insert(name.into(), value.into());
        self
    }

    pub fn file(&mut self, name: &str, content: &str) -> &mut Self {
        self.files.insert(name.into(), content.into());
        self
    }

    pub fn yaml(&self) -> String {
        let mut text = String::new();
        put(&mut text, &self.root, 0);
        text
    }
}

fn put(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let _ = write!(text, "{indent}{key}:");
                put_value(text, value, depth);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut nested = String::new();
                put(&mut nested, item, depth + 1);
                let _ = writeln!(text, "{indent}- {}", nested.trim());
            }
        }
        scalar => {
            let _ = writeln!(text, "{indent}{}", scalar_text(scalar));
        }
    }
}

fn put_value(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            text.push('\n');
            put(text, value, depth + 1);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            put(text, value, depth + 1);
        }
        other => {
            let _ = writeln!(text, " {}", scalar_text(other));
        }
    }
}

/// Plain words stay bare, as people write them (`off`, `2MiB`); the rest is quoted.
fn scalar_text(value: &Value) -> String {
    match value.as_str() {
        Some(word)
            if word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "./_-".contains(c)) =>
        {
            word.to_owned()
        }
        _ => value.to_string(),
    }
}

#[test]
fn configuration_is_written_as_people_write_it() {
    let mut config = Config::new();
    config
        .remove("store")
        .set("cache.default", "off")
        .set("server.listen", json!(["[::1]:1"]));
    config.upstream_at("a", "http://h/v1", json!({"models": ["x-*", "y"]}));
    let expected = "cache:\n  default: off\nserver:\n  listen:\n    - \"[::1]:1\"\n  \
        shutdown_deadline: 25s\nupstreams:\n  - models:\n      - \"x-*\"\n      - y\n    \
        name: a\n    timeouts:\n      connect: 2s\n      first_byte: 30s\n      idle: 30s\n    \
        url: \"http://h/v1\"\n";
    assert_eq!(config.yaml(), expected);
}
