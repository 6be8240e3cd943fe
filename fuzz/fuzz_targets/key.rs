//! Two bodies are one question exactly if serde_json says that they are equal, but for what is
//! documented: numbers are compared as they are spelled, the order of members counts outside of the top
//! level and of what is sorted, ignored fields do not count, and framing is in the variant.
//!
//! The bytes decide about the API, a body, a few changes to it, and the spelling of both.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use llm_cache_server::api::{Api, Place};
use llm_cache_server::key::canonical::TRANSPARENT;
use serde_json::Value;

#[path = "shared/make.rs"]
mod make;
#[path = "shared/tree.rs"]
mod tree;

use make::{Choices, Maker};
use tree::Tree;

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices(input);
    let api = Api::ALL[choices.below(Api::ALL.len())];
    if !api.takes("application/json") {
        return; // forms have a reader of their own
    }
    let mut maker = Maker {
        api,
        choices: &mut choices,
        nodes: 0,
    };
    let changes = maker.choices.below(4);
    let one = maker.body();
    let mut other = one.clone();
    (0..changes).for_each(|_| maker.change(&mut other));
    let mut texts = [String::new(), String::new()];
    maker.write(&one, &mut texts[0]);
    maker.write(&other, &mut texts[1]);
    check(api, &texts[0], &texts[1]);
});

fn check(api: Api, one: &str, other: &str) {
    let place = Place {
        model: Some("m"),
        ..Place::default()
    };
    let questions =
        [one, other].map(|body| api.question(&place, "application/json", body.as_bytes()));
    let (Some(a), Some(b)) = (Tree::read(one), Tree::read(other)) else {
        // A key is there twice, in the second one.
        assert_eq!(questions[1].digest, Err("duplicate-key"), "{other}");
        return;
    };
    for (tree, question) in [&a, &b].into_iter().zip(&questions) {
        if has_alike(api, tree) {
            assert_eq!(question.digest, Err("duplicate-key"), "{api:?}: {tree:?}");
            return;
        }
    }
    let [x, y] = &questions;
    let told_apart = x.digest != y.digest || x.facts.variant != y.facts.variant;
    assert_eq!(
        x.facts.variant == y.facts.variant,
        x.facts.variant.tag() == y.facts.variant.tag()
    );
    if same(api, &a, &b) {
        assert!(
            !told_apart,
            "{api:?}: one question, two keys: {one} {other}"
        );
        assert_eq!(x.facts, y.facts);
        assert_eq!(x.items, y.items);
    } else {
        let either_bypassed = x.digest.is_err() || y.digest.is_err();
        assert!(
            told_apart || either_bypassed,
            "{api:?}: two questions, one key: {one} {other}"
        );
    }
    if !told_apart && x.digest.is_ok() {
        // serde_json has less room for numbers.
        let values = [one, other].map(|text| serde_json::from_str::<Value>(text).ok());
        if let [Some(mut one), Some(mut other)] = values {
            for value in [&mut one, &mut other] {
                let members = value.as_object_mut().expect("an object");
                members.retain(|key, _| counts(api, key));
            }
            assert_eq!(one, other);
        }
    }
}

/// Fields that say in which form the answer is wanted, by `docs/apis.md`.
fn framing(api: Api) -> &'static [&'static str] {
    match api.label() {
        "chat" | "responses" => &["stream", "stream_options"],
        "messages" | "ollama_chat" | "ollama_generate" => &["stream"],
        _ => &[],
    }
}

/// Whether a top-level member is in the digest.
fn counts(api: Api, key: &str) -> bool {
    !api.ignored_fields().contains(&key) && !framing(api).contains(&key)
}

/// Whether two names that the API's servers take for one stand where their order is not in the key.
fn has_alike(api: Api, body: &Tree) -> bool {
    let counted = |(key, _): &&(String, Tree)| !api.ignored_fields().contains(&key.as_str());
    let sorted = |key: &str| api.sorted_fields().contains(&key);
    let members: Vec<_> = body.members().iter().filter(counted).collect();
    let mut below = body.members().iter().filter(|(key, _)| sorted(key));
    let at_top = alike(members.iter().map(|(key, _)| key));
    api.reads_loosely() && (at_top || below.any(|(_, value)| is_alike_below(value)))
}

/// The same inside of what is sorted.
fn is_alike_below(tree: &Tree) -> bool {
    match tree {
        Tree::Array(entries) => entries.iter().any(is_alike_below),
        Tree::Object(members) => {
            alike(members.iter().map(|(key, _)| key))
                || members
                    .iter()
                    .any(|(key, value)| is_free(key, value) && is_alike_below(value))
        }
        _ => false,
    }
}

fn alike<'k>(keys: impl Iterator<Item = &'k String>) -> bool {
    let mut known = HashSet::new();
    let mut keys = keys.map(|key| key.to_ascii_lowercase().replace('_', ""));
    !keys.all(|key| known.insert(key))
}

/// Whether the order of members means nothing below this one, if it means nothing around it.
fn is_free(key: &str, value: &Tree) -> bool {
    // What a tool says may be an object, and its order counts.
    let said = key == "content" && matches!(value, Tree::Object(_));
    TRANSPARENT.contains(&key) && !said
}

/// Whether both bodies ask the same.
fn same(api: Api, a: &Tree, b: &Tree) -> bool {
    let sorted = |key: &str| api.sorted_fields().contains(&key);
    let counted = |body: &Tree| {
        let members = body.members().iter();
        members.filter(|(key, _)| counts(api, key)).count()
    };
    let mut members = a.members().iter().filter(|(key, _)| counts(api, key));
    let equal = members.all(|(key, value)| {
        b.get(key)
            .is_some_and(|other| equal(value, other, sorted(key)))
    });
    equal && counted(a) == counted(b) && same_form(api, a, b)
}

/// Whether both ask for the same form of answer.
fn same_form(api: Api, a: &Tree, b: &Tree) -> bool {
    let says = |body: &Tree, word: &'static str| body.get("stream") == Some(&Tree::Word(word));
    // Whatever is no word is not understood, and not cached.
    let odd = |body: &Tree| !matches!(body.get("stream"), None | Some(Tree::Word(_)));
    if odd(a) != odd(b) && !framing(api).is_empty() {
        return false;
    }
    match api.label() {
        "chat" | "responses" | "messages" => {
            let null = &Tree::Word("null");
            let options = |body| Tree::get(body, "stream_options").unwrap_or(null).clone();
            let free = api.sorted_fields().contains(&"stream_options");
            says(a, "true") == says(b, "true") && equal(&options(a), &options(b), free)
        }
        "ollama_chat" | "ollama_generate" => says(a, "false") == says(b, "false"),
        _ => true,
    }
}

/// `free`: the order of members means nothing here.
fn equal(a: &Tree, b: &Tree, free: bool) -> bool {
    match (a, b) {
        (Tree::Array(a), Tree::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b, free))
        }
        (Tree::Object(x), Tree::Object(y)) => {
            let below = |key: &str, value| free && is_free(key, value);
            let in_order = || x.iter().zip(y).all(|((a, _), (b, _))| a == b);
            x.len() == y.len()
                && (free || in_order())
                && x.iter().all(|(key, value)| {
                    b.get(key)
                        .is_some_and(|other| equal(value, other, below(key, value)))
                })
        }
        _ => a == b,
    }
}
