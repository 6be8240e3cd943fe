//! The layout: imports go down only, and no file is too long to be held in the head.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The floors of the house, lowest first. A room may know the rooms below its own floor.
const FLOORS: &[&[&str]] = &[
    &["key", "error", "config", "coding"],
    &["api", "host"],
    &["outbound"],
    &["policy", "route", "tenant", "metrics", "store"],
    &["cache"],
    &["upstream", "access_log"],
    &["trace"],
    &["proxy", "admin"],
    &["server", "demo"],
    &["cli"],
];
/// Rooms that their neighbours on the same floor may know too.
const NEIGHBOURLY: &[&str] = &["metrics", "error", "config", "key", "coding"];
const LINES_MAX: usize = 500;

/// Every source file and its text.
fn sources() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.insert(path.strip_prefix(&root).unwrap().to_owned(), text);
            }
        }
    }
    files
}

/// The room a file belongs to: `store/hot.rs` and `store.rs` are both in `store`.
fn room(path: &Path) -> String {
    let first = path.components().next().unwrap();
    first
        .as_os_str()
        .to_string_lossy()
        .trim_end_matches(".rs")
        .to_owned()
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The rooms a text names as `crate::room` or `crate::{room, …}`, with the line of each.
fn named(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let start = text[..at].rfind('\n').map_or(0, |n| n + 1);
        let before = &text[start..at];
        let part_of_a_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if part_of_a_word || before.trim_start().starts_with("//") {
            continue;
        }
        let line = text[..at].matches('\n').count() + 1;
        let rest = &text[at + "crate::".len()..];
        let rooms = match rest.strip_prefix('{') {
            Some(group) => first_words(group),
            None => vec![word(rest)],
        };
        found.extend(
            rooms
                .into_iter()
                .filter(|r| !r.is_empty())
                .map(|r| (line, r)),
        );
    }
    found
}

/// The first word of each item of a `{…}` group, up to its closing brace.
fn first_words(group: &str) -> Vec<String> {
    let (mut depth, mut item, mut words) = (0, String::new(), Vec::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => words.push(word(&std::mem::take(&mut item))),
            c => item.push(c),
        }
    }
    words.push(word(&item));
    words
}

fn word(text: &str) -> String {
    text.trim_start()
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// What is wrong with this import, if anything.
fn fault(from: &str, to: &str) -> Option<&'static str> {
    let (Some(own), Some(other)) = (floor(from), floor(to)) else {
        // Consts and macros of lib.rs are nobody's room.
        return (floor(from).is_none()).then_some("this room is on no floor of the table");
    };
    if from == to || other < own || (other == own && NEIGHBOURLY.contains(&to)) {
        None
    } else if other == own {
        Some("rooms on one floor do not know each other")
    } else {
        Some("imports go down only")
    }
}

#[test]
fn imports_go_down_only() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let from = room(&path);
        if ["lib", "main"].contains(&from.as_str()) {
            continue;
        }
        if floor(&from).is_none() {
            faults.push(format!(
                "src/{}: {from} is on no floor of the table",
                path.display()
            ));
        }
        for (line, to) in named(&text) {
            if let Some(fault) = fault(&from, &to) {
                faults.push(format!(
                    "src/{}:{line}: {from} -> {to}: {fault}",
                    path.display()
                ));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let mut lengths: Vec<(usize, PathBuf)> = sources()
        .into_iter()
        .map(|(path, text)| (text.lines().count(), path))
        .collect();
    lengths.sort();
    let too_long: Vec<_> = lengths
        .iter()
        .filter(|(lines, _)| *lines > LINES_MAX)
        .collect();
    assert!(
        too_long.is_empty(),
        "longer than {LINES_MAX} lines: {too_long:?}"
    );
    let (tests, product): (Vec<_>, Vec<_>) = lengths
        .into_iter()
        .partition(|(_, path)| path.to_string_lossy().contains("tests"));
    assert!(!tests.is_empty() && !product.is_empty());
    let median = product[product.len() / 2].0;
    assert!(median <= 150, "the median file has {median} lines");
}

#[test]
fn imports_are_read_as_they_are_written() {
    let text = "use crate::key::Key;\n// use crate::cli;\nuse crate::{api::{self, Api}, store, \
        metrics::Metrics};\nfn f() { crate::proxy::g() }\nuse mycrate::server;\n";
    let rooms: Vec<_> = named(text).into_iter().map(|(_, room)| room).collect();
    assert_eq!(rooms, ["key", "api", "store", "metrics", "proxy"]);
    assert_eq!(named(text)[4].0, 4);
    assert_eq!(fault("store", "key"), None);
    assert_eq!(fault("store", "metrics"), None);
    assert!(fault("store", "policy").is_some());
    assert!(fault("key", "store").is_some());
    assert!(fault("attic", "key").is_some());
}
