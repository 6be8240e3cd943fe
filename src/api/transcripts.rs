//! Recorded answers, and what the judge must say about each.
//!
//! `tests/transcripts/{API's label}/{name}.{ending}`: the ending names the form. The table of an API
//! is in `transcripts/`; it says which request was asked, whether the answer is kept or which
//! [`Fault`] it has, and which tokens are counted.
//!
//! No transcript has [`Fault::TooLarge`]: it would be that large.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::*;

mod chat;
mod completions;
mod count_tokens;
mod embed_content;
mod embeddings;
mod gemini_count_tokens;
mod generate_content;
mod images;
mod messages;
mod moderations;
mod ollama;
mod ollama_chat;
mod ollama_embed;
mod ollama_generate;
mod rerank;
mod responses;
mod speech;
mod stream_generate_content;
mod transcriptions;

/// Where a request goes and what it says.
#[derive(Clone, Copy)]
struct Ask {
    /// Below the base URL, with the query if there is one.
    target: &'static str,
    content_type: &'static str,
    body: &'static str,
}

/// One answer to a request.
struct Row {
    ask: Ask,
    file: &'static str,
    keep: Result<(), Fault>,
    usage: Tokens,
}

/// Input and output.
type Tokens = Option<(u64, u64)>;

impl Ask {
    /// A JSON request.
    const fn json(target: &'static str, body: &'static str) -> Ask {
        Ask {
            target,
            content_type: tests::JSON,
            body,
        }
    }

    /// A form whose boundary is `XX`.
    const fn form(target: &'static str, body: &'static str) -> Ask {
        Ask {
            target,
            content_type: "multipart/form-data; boundary=XX",
            body,
        }
    }

    /// This answer to it is kept.
    const fn kept(self, file: &'static str, usage: Tokens) -> Row {
        Row {
            ask: self,
            file,
            keep: Ok(()),
            usage,
        }
    }

    /// This answer to it is not kept.
    const fn refused(self, file: &'static str, fault: Fault, usage: Tokens) -> Row {
        Row {
            ask: self,
            file,
            keep: Err(fault),
            usage,
        }
    }

    /// The API and what is asked.
    fn facts(&self) -> (Api, Facts) {
        let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        let (api, model) = Api::from_path(path).expect(path);
        let place = Place { path, query, model };
        let question = api.question(&place, self.content_type, self.body.as_bytes());
        assert!(question.digest.is_ok(), "{} is not cached", self.body);
        (api, question.facts)
    }
}

/// Every API has a table; some have rows in common.
fn rows(api: Api) -> impl Iterator<Item = &'static Row> {
    let shared = match api {
        Api::OllamaChat => ollama_chat::SHARED,
        Api::OllamaGenerate => ollama_generate::SHARED,
        _ => &[],
    };
    let own = match api {
        Api::OpenAiChat => chat::ROWS,
        Api::OpenAiCompletions => completions::ROWS,
        Api::OpenAiEmbeddings => embeddings::ROWS,
        Api::OpenAiResponses => responses::ROWS,
        Api::AnthropicMessages => messages::ROWS,
        Api::GeminiGenerate => generate_content::ROWS,
        Api::GeminiStream => stream_generate_content::ROWS,
        Api::GeminiEmbed => embed_content::ROWS,
        Api::GeminiCountTokens => gemini_count_tokens::ROWS,
        Api::OllamaChat => ollama_chat::ROWS,
        Api::OllamaGenerate => ollama_generate::ROWS,
        Api::OllamaEmbed => ollama_embed::ROWS,
        Api::AnthropicCountTokens => count_tokens::ROWS,
        Api::OpenAiModerations => moderations::ROWS,
        Api::OpenAiImages => images::ROWS,
        Api::OpenAiSpeech => speech::ROWS,
        Api::OpenAiTranscriptions => transcriptions::ROWS,
        Api::Rerank => rerank::ROWS,
    };
    own.iter().chain(shared)
}

fn folder(api: Api) -> PathBuf {
    let transcripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    transcripts.join(api.label())
}

fn form(file: &str) -> Form {
    match file.rsplit_once('.').map(|(_, ending)| ending) {
        Some("sse") => Form::Stream,
        Some("json") => Form::Json,
        Some("ndjson") => Form::Lines,
        Some("txt") => Form::Text,
        Some("bin") => Form::Binary,
        _ => panic!("{file}: .sse, .json, .ndjson, .txt or .bin"),
    }
}

/// Hands every row to `check`, with what is asked and the body.
fn for_each(mut check: impl FnMut(&Row, Api, &Facts, &[u8])) {
    for api in Api::ALL {
        for row in rows(api) {
            let path = folder(api).join(row.file);
            let body = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let (asked_api, facts) = row.ask.facts();
            assert_eq!(asked_api, api, "{}", row.ask.target);
            check(row, api, &facts, &body);
        }
    }
}

fn judged(row: &Row, facts: &Facts, api: Api, chunks: &[&[u8]]) -> Verdict {
    let judge = api.judge(facts, form(row.file), Worth::default());
    let mut judge = judge.unwrap_or_else(|| panic!("{}: {api:?} has no such form", row.file));
    chunks.iter().for_each(|chunk| judge.push(chunk));
    judge.finish()
}

#[test]
fn every_transcript_gets_its_verdict() {
    let mut wrong = Vec::new();
    for_each(|row, api, facts, body| {
        let whole = judged(row, facts, api, &[body]);
        let found = (whole.keep, whole.usage.map(|u| (u.input, u.output)));
        let expected = (row.keep.map_err(Fault::label), row.usage);
        if found != expected {
            let (label, file, asked) = (api.label(), row.file, row.ask.body);
            wrong.push(format!(
                "{label}/{file} to {asked}: {found:?}, not {expected:?}"
            ));
        }
        let single: Vec<&[u8]> = body.chunks(1).collect();
        let found = judged(row, facts, api, &single);
        assert_eq!(found, whole, "{api:?} {} byte by byte", row.file);
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// White space behind a JSON value or a line is no part of the answer, nor is the `[DONE]` that some
/// gateways put behind streams with an end of their own.
#[test]
fn no_beginning_of_a_kept_answer_is_kept() {
    for_each(|row, api, facts, body| {
        let form = form(row.file);
        if row.keep.is_err() || matches!(form, Form::Text | Form::Binary) {
            return;
        }
        let whole = match form {
            Form::Stream => body.len(),
            _ => body.trim_ascii_end().len(),
        };
        let ends_with_done = matches!(api, Api::OpenAiChat | Api::OpenAiCompletions);
        for end in 0..whole {
            let (head, tail) = body.split_at(end);
            if !ends_with_done && tail == b"data: [DONE]\n\n" {
                continue;
            }
            let found = judged(row, facts, api, &[head]);
            let what = format!("{api:?} {} cut at {end}", row.file);
            assert_eq!((found.keep, found.cut), (Err("cut"), true), "{what}");
        }
    });
}

#[test]
fn every_file_is_in_a_table_and_every_api_has_one_that_is_kept() {
    let root = folder(Api::OpenAiChat);
    let names = |folder: &Path| -> HashSet<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect()
    };
    let labels = Api::ALL.map(|api| api.label().to_owned());
    assert_eq!(names(root.parent().unwrap()), HashSet::from(labels));
    for api in Api::ALL {
        let listed: HashSet<String> = rows(api).map(|row| row.file.to_owned()).collect();
        assert_eq!(names(&folder(api)), listed, "{api:?}");
        assert!(rows(api).any(|row| row.keep.is_ok()), "{api:?}");
    }
}

#[test]
fn every_fault_but_too_large_occurs() {
    let all = Api::ALL.into_iter().flat_map(rows);
    let met: HashSet<Fault> = all.filter_map(|row| row.keep.err()).collect();
    let expected = Fault::ALL.into_iter().filter(|f| *f != Fault::TooLarge);
    assert_eq!(met, expected.collect());
}
