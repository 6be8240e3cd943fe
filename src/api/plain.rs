//! The judge of answers without a grammar: sound and text.
//!
//! They have no end of their own, so the caller has to know it from elsewhere, see
//! [`Api::tells_its_end`](super::Api::tells_its_end). Not kept: nothing at all, and an error under the
//! wrong content type, an object or a page, as servers send it that failed behind the head.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::wire::{IgnoredObject, Object, Text, text};
use super::{Fault, Form, Judge, Verdict, Worth};

/// Of a body that may be an error object this much is kept, in bytes. No error is longer.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// What pages begin with, in lower case.
const PAGES: [&[u8]; 2] = [b"<!doctype", b"<html"];
/// What a file of WebVTT begins with. Without anything behind, it has no cues.
const WEBVTT: &[u8] = b"WEBVTT";

/// A judge for sound or text.
pub(super) fn judge(form: Form, worth: Worth) -> Box<dyn Judge> {
    Box::new(PlainJudge {
        is_text: form == Form::Text,
        worth,
        filled: false,
        head: Vec::new(),
        len: 0,
    })
}

struct PlainJudge {
    is_text: bool,
    worth: Worth,
    filled: bool,
    /// The begin of the body.
    head: Vec<u8>,
    /// Bytes of the whole body.
    len: usize,
}

impl Judge for PlainJudge {
    fn push(&mut self, chunk: &[u8]) {
        self.filled |= match self.is_text {
            true => !chunk.trim_ascii().is_empty(),
            false => !chunk.is_empty(),
        };
        let room = HEAD_BYTES_MAX.saturating_sub(self.head.len());
        let kept = chunk.get(..room).unwrap_or(chunk);
        self.head.extend_from_slice(kept);
        self.len = self.len.saturating_add(chunk.len());
    }

    fn finish(self: Box<Self>) -> Verdict {
        let is_whole = self.len == self.head.len();
        let is_error = match self.is_text {
            true => is_error(&self.head),
            false => is_object(&self.head),
        };
        let is_empty = match self.is_text {
            true => self.head.trim_ascii() == WEBVTT,
            false => is_whole && is_wave_header(&self.head),
        };
        let keep = if is_page(&self.head) || is_whole && is_error {
            Err(Fault::ErrorObject)
        } else if !self.filled || is_empty {
            self.worth.check(Fault::Empty)
        } else {
            Ok(())
        };
        Verdict::new(keep, false, None)
    }
}

/// Sound is never JSON, whatever it says.
fn is_object(body: &[u8]) -> bool {
    serde_json::from_slice::<Object<IgnoredObject>>(body).is_ok()
}

/// Whether a body begins as a page does, which is neither sound nor what was said.
fn is_page(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let body = body.trim_ascii_start();
    PAGES.iter().any(|page| {
        body.get(..page.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(page))
    })
}

/// Whether a body is the header of a wave file and nothing behind: `data` and its length come last.
fn is_wave_header(body: &[u8]) -> bool {
    let Some(chunks) = body.strip_prefix(b"RIFF").and_then(|rest| rest.get(4..)) else {
        return false;
    };
    match chunks.strip_prefix(b"WAVE") {
        Some([] | [.., b'd', b'a', b't', b'a', _, _, _, _]) => true,
        Some(_) | None => false,
    }
}

/// What is said may be an object, too, but none that says what failed.
fn is_error(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Head<'a> {
        error: Option<IgnoredAny>,
        detail: Option<IgnoredAny>,
        message: Option<IgnoredAny>,
        code: Option<IgnoredAny>,
        #[serde(borrow)]
        object: Option<Text<'a>>,
    }
    serde_json::from_slice::<Object<Head<'_>>>(body).is_ok_and(|Object(head)| {
        let said = [head.error, head.detail, head.message, head.code];
        said.iter().any(Option::is_some) || text(&head.object) == "error"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: Form, body: &[u8], keep: Result<(), &'static str>) {
        for size in [1, 7, usize::MAX] {
            let mut judge = judge(form, Worth::default());
            body.chunks(size).for_each(|chunk| judge.push(chunk));
            let found = judge.finish();
            assert_eq!((found.keep, found.cut, found.usage), (keep, false, None));
        }
    }

    #[test]
    fn anything_but_nothing_and_errors_is_kept() {
        for form in [Form::Text, Form::Binary] {
            check(form, b"", Err("empty"));
            check(form, b"ID3\x04\x00", Ok(()));
            check(form, br#"{"error":{"message":"x"}}"#, Err("error-object"));
            check(form, br#" {"object":"error"} "#, Err("error-object"));
            check(form, br#"{"detail":"Not Found"}"#, Err("error-object"));
            check(form, b" <!DOCTYPE html><p>502</p>", Err("error-object"));
            check(form, b"\xef\xbb\xbf<HTML>", Err("error-object"));
            check(form, br#"{"message":"x"}"#, Err("error-object"));
            check(form, br#"{"code":7}"#, Err("error-object"));
            check(form, b"[1]", Ok(()));
            check(form, br#"he said {"error":1}"#, Ok(()));
        }
        check(Form::Text, br#"{"error":null,"text":"a"}"#, Ok(()));
        check(Form::Binary, br#"{"status":"failed"}"#, Err("error-object"));
        check(Form::Text, b" \r\n", Err("empty"));
        check(Form::Binary, b" \r\n", Ok(()));
        check(Form::Text, b"WEBVTT\n\n", Err("empty"));
        check(
            Form::Text,
            b"WEBVTT\n\n00:00.000 --> 00:01.000\nHi\n",
            Ok(()),
        );
    }

    #[test]
    fn a_header_of_sound_is_no_sound() {
        let mut wave = b"RIFF\x24\0\0\0WAVEfmt \x04\0\0\0\x01\0\x01\0data\xff\xff\xff\xff".to_vec();
        check(Form::Binary, &wave, Err("empty"));
        wave.push(0);
        check(Form::Binary, &wave, Ok(()));
        check(Form::Binary, b"RIFFdata\0\0\0\0", Ok(()));
        check(Form::Binary, b"RIFF\0\0\0\0WAVE", Err("empty"));
    }

    #[test]
    fn a_body_longer_than_any_error_is_none() {
        let mut body = br#"{"error":""#.to_vec();
        body.resize(HEAD_BYTES_MAX - 2, b' ');
        body.extend_from_slice(b"\"}");
        check(Form::Binary, &body, Err("error-object"));
        body.push(b'x');
        check(Form::Binary, &body, Ok(()));
    }
}
