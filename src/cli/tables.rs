//! What operators read on a terminal. Names and answers come from clients and models: nothing in them
//! reaches the terminal that it would obey.

use std::fmt::Write;
use std::time::Duration;

use bytesize::ByteSize;

use crate::admin::entries::Listing;
use crate::admin::entry::{BodyAs, Shown};
use crate::admin::stats::{Group, Stats, TierStats};

/// In the place of nothing.
const NONE: &str = "-";

/// What is in the cache.
pub fn stats(stats: &Stats) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} entries, {} ({} no longer fresh)",
        stats.entries,
        size(stats.bytes),
        stats.expired
    );
    if stats.truncated {
        let _ = writeln!(out, "not everything was counted: it took too long");
    }
    if let Some(server) = &stats.server {
        let tier = |tier: &TierStats| {
            let bytes = |n: i64| size(u64::try_from(n).unwrap_or_default());
            vec![
                tier.entries.to_string(),
                bytes(tier.bytes),
                bytes(tier.bytes_max),
            ]
        };
        let mut memory = vec!["memory".to_owned()];
        memory.extend(tier(&server.memory));
        let mut disk = vec!["disk".to_owned()];
        disk.extend(tier(&server.disk));
        table(
            &mut out,
            &["tier", "entries", "bytes", "of"],
            &[memory, disk],
        );
        let oldest = u64::try_from(server.oldest_entry_seconds).unwrap_or_default();
        let _ = writeln!(
            out,
            "\ndisk: {}; {} waiting; oldest entry {} old; set aside {}, damaged records {} since the \
             start",
            match server.writable {
                true => "takes writes",
                false => "TAKES NO WRITES",
            },
            size(u64::try_from(server.queue_bytes).unwrap_or_default()),
            age(oldest),
            server.set_aside,
            server.corrupt_records,
        );
    }
    for (kind, groups) in [
        ("api", &stats.by_api),
        ("model", &stats.by_model),
        ("namespace", &stats.by_namespace),
        ("tenant", &stats.by_tenant),
        ("age up to", &stats.by_age),
    ] {
        table(
            &mut out,
            &[kind, "entries", "bytes"],
            &groups.iter().map(group).collect::<Vec<_>>(),
        );
    }
    out
}

fn group(group: &Group) -> Vec<String> {
    vec![
        named(&group.name),
        group.entries.to_string(),
        size(group.bytes),
    ]
}

/// Entries.
pub fn listing(listing: &Listing) -> String {
    let mut out = String::new();
    let lines: Vec<Vec<String>> = listing
        .entries
        .iter()
        .map(|line| {
            vec![
                line.key.clone(),
                age(line.age_seconds),
                match line.fresh {
                    true => "yes".to_owned(),
                    false => "no".to_owned(),
                },
                size(line.bytes),
                named(&line.api),
                named(&line.model),
                named(&line.namespace),
                line.tenant.clone(),
            ]
        })
        .collect();
    match lines.is_empty() {
        true => out.push_str("no entries\n"),
        false => table(
            &mut out,
            &[
                "key",
                "age",
                "fresh",
                "bytes",
                "api",
                "model",
                "namespace",
                "tenant",
            ],
            &lines,
        ),
    }
    if listing.truncated {
        out.push_str("there are more: narrow it down, or raise --limit\n");
    }
    out.trim_start_matches('\n').to_owned()
}

/// One entry.
pub fn shown(shown: &Shown) -> String {
    let mut out = String::new();
    let usage = shown
        .usage
        .map(|usage| format!("{} tokens in, {} out", usage.input, usage.output));
    let body = format!(
        "{}{}{}",
        size(shown.body_bytes as u64),
        match shown.stream {
            true => format!(", a stream of {} pieces", shown.pieces),
            false => String::new(),
        },
        match shown.body_truncated {
            true => ", of which the beginning is shown",
            false => "",
        }
    );
    for (name, value) in [
        ("key", shown.key.clone()),
        ("api", named(&shown.api)),
        ("model", named(&shown.model)),
        ("namespace", named(&shown.namespace)),
        ("tenant", shown.tenant.clone()),
        (
            "stored",
            format!("{} ({} ago)", shown.stored, age(shown.age_seconds)),
        ),
        (
            "fresh",
            match shown.fresh {
                true => format!("until {}", shown.expires),
                false => format!("no longer, since {}", shown.expires),
            },
        ),
        ("status", shown.status.to_string()),
        ("usage", usage.unwrap_or_else(|| NONE.to_owned())),
        ("body", body),
    ] {
        let _ = writeln!(out, "{name:<10} {value}");
    }
    for (name, value) in &shown.headers {
        let _ = writeln!(
            out,
            "{:<10} {}: {}",
            "header",
            printable(name),
            printable(value)
        );
    }
    let Some(body) = &shown.body else { return out };
    let text = match shown.body_as {
        BodyAs::Json => body.get().to_owned(),
        BodyAs::Text | BodyAs::Base64 => {
            serde_json::from_str(body.get()).unwrap_or_else(|_| body.get().to_owned())
        }
    };
    if shown.body_as == BodyAs::Base64 {
        out.push_str("\nin base64:");
    }
    let _ = write!(out, "\n{}", printable(&text));
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// A table with a heading and a blank line before it.
fn table(out: &mut String, heading: &[&str], lines: &[Vec<String>]) {
    let heading = heading.iter().map(|word| (*word).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&heading).chain(lines).collect();
    let width = |column: usize| {
        let cells = all.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    out.push('\n');
    for line in all {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "{cell:<width$}  ");
        }
        let _ = writeln!(out, "{}", text.trim_end());
    }
}

/// A name on one line; a dash if there is none.
fn named(name: &str) -> String {
    match name {
        "" => NONE.to_owned(),
        name => printable(name).replace(['\n', '\t'], " "),
    }
}

/// Without what a terminal obeys: control characters, and those that turn the direction of writing.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match c {
            '\n' | '\t' => out.push(c),
            c if c.is_control() || turns => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// The two largest units of an age.
fn age(seconds: u64) -> String {
    let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    let mut units = text.split(' ');
    match (units.next(), units.next()) {
        (Some(first), Some(second)) => format!("{first} {second}"),
        (Some(first), None) => first.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::entries::Line;

    #[test]
    fn nothing_reaches_the_terminal_that_it_obeys() {
        let line = Line {
            key: "ab".into(),
            model: "\u{1b}[2Jgpt\n\u{202e}x".into(),
            ..Line::default()
        };
        let text = listing(&Listing {
            entries: vec![line],
            truncated: true,
        });
        assert!(
            !text.contains('\u{1b}') && !text.contains('\u{202e}'),
            "{text}"
        );
        assert!(text.contains("\\u{1b}[2Jgpt"), "{text}");
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("there are more"));
    }

    #[test]
    fn columns_stand_below_each_other() {
        let mut out = String::new();
        let line = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        table(
            &mut out,
            &["name", "n"],
            &[line("a", "1"), line("longer", "22")],
        );
        assert_eq!(out, "\nname    n\na       1\nlonger  22\n");
        assert_eq!(age(90_061), "1day 1h");
        assert_eq!(age(0), "0s");
    }
}
