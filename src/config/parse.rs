//! Values to the file's types, past every error: what does not fit is reported, taken out, and the
//! rest is tried again.

use serde_json::Value;
use serde_path_to_error::Segment;

use super::error::Problems;
use super::file::File;
use super::path::{Path, Step};

/// So many errors are worth showing at once; each costs one more pass.
const ROUNDS_MAX: usize = 64;

/// The file's types. What could not be read is its default, and reported.
pub fn parse(mut value: Value, problems: &mut Problems) -> File {
    for _ in 0..ROUNDS_MAX {
        let error = match serde_path_to_error::deserialize::<_, File>(&value) {
            Ok(file) => return file,
            Err(error) => error,
        };
        let path = steps(error.path());
        match explain(&error.inner().to_string()) {
            Fault::Key(message) => {
                let place = problems.marks().key(&path);
                // Two variables below the same unknown key are two errors.
                for variable in problems.marks().variables_within(&path) {
                    if variable != place {
                        problems.push(variable, &path, message.as_str());
                    }
                }
                problems.report_at(place, &path, message);
            }
            Fault::Value(message) => problems.report(&path, message),
        }
        if !take_out(&mut value, &path) {
            break;
        }
    }
    problems.report(&Path::root(), "too many errors; the rest is not shown");
    File::default()
}

/// What is at fault, and how to say it.
enum Fault {
    Key(String),
    Value(String),
}

/// Says in the words of a configuration file what serde says in those of Rust.
fn explain(error: &str) -> Fault {
    if let Some((key, known)) = unknown(error, "unknown field `") {
        let hint = match nearest(key, &known) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        return Fault::Key(format!("unknown key ({hint})"));
    }
    if let Some((word, known)) = unknown(error, "unknown variant `") {
        return Fault::Value(format!("`{word}` is none of: {}", known.join(", ")));
    }
    let mismatch = (error.strip_prefix("invalid type: "))
        .or_else(|| error.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "));
    Fault::Value(match mismatch {
        Some((found, expected)) => {
            format!("expected {}, found {}", in_words(expected), in_words(found))
        }
        None => error.to_owned(),
    })
}

fn unknown<'a>(error: &'a str, start: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let (word, known) = error.strip_prefix(start)?.rsplit_once("`, expected ")?;
    Some((word, known.split('`').skip(1).step_by(2).collect()))
}

fn in_words(term: &str) -> String {
    match term {
        "a string" | "path string" => "text".to_owned(),
        "string or map" | "unit" => "one of its words".to_owned(),
        "usize" => "a whole number, 0 or more".to_owned(),
        "f64" => "a number".to_owned(),
        "map" => "keys with values".to_owned(),
        "sequence" | "a sequence" => "a list".to_owned(),
        "null" => "nothing (leave it out to get the default)".to_owned(),
        // Text is not repeated: it might be a secret in the wrong place.
        _ if term.starts_with("string ") => "text".to_owned(),
        _ => match term.split_once(" `") {
            Some((_, value)) => value.trim_end_matches('`').to_owned(),
            None => term.to_owned(),
        },
    }
}

/// The known word that a misspelt one was meant to be.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let distances = known.iter().map(|known| (distance(word, known), *known));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    if distance <= 2 && distance < nearest.len().min(word.len()) {
        return Some(nearest);
    }
    known
        .iter()
        .copied()
        .find(|known| word.len() >= 3 && known.starts_with(word))
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let above = *cell;
            left = (above + 1)
                .min(left + 1)
                .min(diagonal + usize::from(x != y));
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

fn steps(path: &serde_path_to_error::Path) -> Path {
    let step = |segment: &Segment| match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Item(*index)),
        // Below a word such as `credential` there is nothing that could be taken out on its own.
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().map_while(step).collect()
}

/// Takes the value at `path` out; in a list, leaves nothing in its place, so that the others keep
/// their index. False if there is no such value.
fn take_out(value: &mut Value, path: &Path) -> bool {
    let Some((last, parents)) = path.steps().split_last() else {
        return false;
    };
    let mut parent = Some(value);
    for step in parents {
        parent = match step {
            Step::Key(key) => parent.and_then(|value| value.get_mut(key)),
            Step::Item(index) => parent.and_then(|value| value.get_mut(index)),
        };
    }
    match (parent, last) {
        (Some(Value::Object(object)), Step::Key(key)) => object.remove(key).is_some(),
        (Some(Value::Array(items)), Step::Item(index)) => items
            .get_mut(*index)
            .is_some_and(|item| !item.take().is_null()),
        _ => false,
    }
}
