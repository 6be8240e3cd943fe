//! `docs/configuration.md` says what the types say: its tables are generated from the JSON Schema.
//! `make docs` writes them anew.

use std::fmt::Write;
use std::path::Path;

use llm_cache_server::config;
use serde_json::Value;

const BEGIN: &str = "<!-- generated from the types: ";
const END: &str = "<!-- end -->";

#[test]
fn the_configuration_reference_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let schema = config::schema();
    let fresh = regenerated(&text, &schema);
    for section in schema["properties"].as_object().unwrap().keys() {
        let marker = format!("{BEGIN}{section} -->");
        assert!(
            text.contains(&marker),
            "docs/configuration.md has no {marker}"
        );
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, fresh).unwrap();
        return;
    }
    let stale = fresh
        .lines()
        .zip(text.lines())
        .find(|(new, old)| new != old);
    assert!(
        fresh == text,
        "docs/configuration.md is stale (`make docs` writes it anew), first at:\n{stale:#?}"
    );
}

/// The text with a fresh table behind every marker.
fn regenerated(text: &str, schema: &Value) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let (before, marked) = rest.split_at(at);
        let (marker, _) = marked.split_once('\n').unwrap();
        let section = marker[BEGIN.len()..].trim_end_matches(" -->");
        let (_, after) = marked.split_once(END).expect("a marker without its end");
        let property = &schema["properties"][section];
        assert!(property.is_object(), "no such section: {section}");
        let mut table = "| key | default | meaning |\n|---|---|---|\n".to_owned();
        rows(property, schema, "", &mut table);
        write!(out, "{before}{marker}\n{table}{END}").unwrap();
        rest = after;
    }
    out + rest
}

/// One row for each key below a schema.
fn rows(schema: &Value, whole: &Value, prefix: &str, table: &mut String) {
    let schema = resolved(schema, whole);
    let schema = match schema.get("items") {
        Some(items) => resolved(items, whole),
        None => schema,
    };
    let required = |name: &str| {
        let names = schema["required"].as_array();
        names.is_some_and(|names| names.iter().any(|n| n == name))
    };
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let target = resolved(property, whole);
        let items = target.get("items").map(|items| resolved(items, whole));
        let default = match property.get("default").or_else(|| target.get("default")) {
            _ if required(name) => "required".to_owned(),
            None | Some(Value::Null) => "absent".to_owned(),
            Some(default) => format!("`{}`", written(default)),
        };
        let meaning = property["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let meaning = meaning.trim_end_matches('.').replace('|', "\\|") + &choices(target);
        let has_keys = |schema: &Value| schema["properties"].is_object();
        let nested = match items {
            Some(items) if has_keys(items) => Some("[]."),
            _ if has_keys(target) => Some("."),
            _ => None,
        };
        let default = if nested.is_some() && !required(name) && default.starts_with("`{") {
            "see below".to_owned()
        } else {
            default
        };
        writeln!(table, "| `{prefix}{name}` | {default} | {meaning} |").unwrap();
        if let Some(link) = nested {
            rows(property, whole, &format!("{prefix}{name}{link}"), table);
        }
    }
}

fn resolved<'a>(schema: &'a Value, whole: &'a Value) -> &'a Value {
    let link = schema["$ref"]
        .as_str()
        .and_then(|link| link.strip_prefix('#'));
    link.map_or(schema, |link| whole.pointer(link).unwrap())
}

/// The words a key may have, with what each means.
fn choices(schema: &Value) -> String {
    let mut text = String::new();
    for choice in schema["oneOf"].as_array().into_iter().flatten() {
        let words = choice["const"].as_str().into_iter();
        let words = words.chain(
            choice["enum"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str),
        );
        for word in words {
            write!(text, "; `{word}`").unwrap();
        }
        if let Some(meaning) = choice["description"].as_str() {
            write!(text, ": {}", lower_first(meaning.trim_end_matches('.'))).unwrap();
        }
    }
    if let (true, Some(words)) = (
        text.is_empty() && schema["type"] == "string",
        schema["enum"].as_array(),
    ) {
        for word in words.iter().filter_map(Value::as_str) {
            write!(text, "; `{word}`").unwrap();
        }
    }
    text
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        other => other.to_string(),
    }
}

#[test]
fn a_table_follows_the_schema_and_replaces_what_was_there() {
    let schema = serde_json::json!({
        "properties": { "log": { "$ref": "#/$defs/Log" } },
        "$defs": {
            "Log": { "properties": {
                "level": { "description": "How loud.", "default": "info", "$ref": "#/$defs/Level" },
                "to": { "type": "array", "description": "Where to.", "default": [],
                        "items": { "required": ["host"], "properties": {
                            "host": { "type": "string", "description": "Name." } } } },
            } },
            "Level": { "oneOf": [{ "const": "info", "description": "The usual." }, { "enum": ["off"] }] },
        },
    });
    let text = format!("before\n{BEGIN}log -->\nold\n{END}\nafter");
    let expected = format!(
        "before\n{BEGIN}log -->\n| key | default | meaning |\n|---|---|---|\n\
         | `level` | `info` | How loud; `info`: the usual; `off` |\n\
         | `to` | `[]` | Where to |\n| `to[].host` | required | Name |\n{END}\nafter"
    );
    assert_eq!(regenerated(&text, &schema), expected);
}

#[test]
fn rules_can_name_every_api_by_its_label() {
    let labels = llm_cache_server::api::Api::ALL.map(|api| api.label());
    assert_eq!(labels, llm_cache_server::config::APIS);
}
