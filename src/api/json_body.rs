//! The judge of plain JSON answers: keeps the body up to a limit and reads it once at the end.

use serde::de::IgnoredAny;
use serde_json::error::{Category, Error};

use super::{Fault, Judge, Usage, Verdict};

/// Longest JSON answer that is judged, in bytes. A full batch of embeddings is about this long;
/// longer answers pass through and are not kept.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// What a JSON answer says once it has been read.
pub(super) type Reading = (Result<(), Fault>, Option<Usage>);

/// A judge that leaves the reading of a whole body to `R`.
pub(super) struct JsonJudge<R> {
    body: Vec<u8>,
    bytes_max: usize,
    overflowed: bool,
    read: R,
}

impl<R> JsonJudge<R>
where
    R: Fn(&str) -> Result<Reading, Error> + Send + Sync + 'static,
{
    pub(super) fn boxed(read: R) -> Box<dyn Judge> {
        Box::new(JsonJudge::with_limit(BODY_BYTES_MAX, read))
    }

    fn with_limit(bytes_max: usize, read: R) -> JsonJudge<R> {
        JsonJudge {
            body: Vec::new(),
            bytes_max,
            overflowed: false,
            read,
        }
    }
}

impl<R> Judge for JsonJudge<R>
where
    R: Fn(&str) -> Result<Reading, Error> + Send + Sync,
{
    fn push(&mut self, chunk: &[u8]) {
        if self.overflowed {
            return;
        }
        if chunk.len() > self.bytes_max - self.body.len() {
            self.overflowed = true;
            self.body = Vec::new();
            return;
        }
        self.body.extend_from_slice(chunk);
    }

    fn finish(self: Box<Self>) -> Verdict {
        if self.overflowed {
            return Verdict::new(Err(Fault::TooLarge), false, None);
        }
        let (keep, usage) = match std::str::from_utf8(&self.body) {
            Ok(text) => (self.read)(text).unwrap_or_else(|error| (Err(blame(text, &error)), None)),
            Err(error) if error.error_len().is_none() => (Err(Fault::Cut), None),
            Err(_) => (Err(Fault::NotJson), None),
        };
        Verdict::new(keep, keep == Err(Fault::Cut), usage)
    }
}

/// Tells a body that ends early from one that is no JSON and from one of another shape.
fn blame(text: &str, error: &Error) -> Fault {
    match error.classify() {
        Category::Eof => Fault::Cut,
        Category::Data => match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Fault::BadShape,
            Err(error) => blame(text, &error),
        },
        Category::Syntax | Category::Io if ends_early(text) => Fault::Cut,
        Category::Syntax | Category::Io => Fault::NotJson,
    }
}

/// The parser takes some early ends for bad syntax: those inside a number whose exponent is missing
/// and that is too large without it, which nobody minds who reads no numbers; and `1.` or `-` at the
/// very end, where one more digit would have moved the complaint to the end.
fn ends_early(text: &str) -> bool {
    let ends = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_err_and(|e| e.is_eof());
    ends(text) || text.ends_with(['-', '+', '.', 'e', 'E']) && ends(&format!("{text}0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &[u8], keep: Result<(), &'static str>, cut: bool) {
        let read = |text: &str| serde_json::from_str::<Vec<f64>>(text).map(|_| (Ok(()), None));
        let mut judge = Box::new(JsonJudge::with_limit(24, read));
        for chunk in body.chunks(3) {
            judge.push(chunk);
        }
        let body = String::from_utf8_lossy(body);
        assert_eq!(
            judge.finish(),
            Verdict {
                keep,
                cut,
                usage: None
            },
            "{body}"
        );
    }

    #[test]
    fn an_early_end_is_told_from_nonsense() {
        check(b"[1, -2.5e3]", Ok(()), false);
        for end in 0..b"[1, -2.5e3]".len() {
            check(&b"[1, -2.5e3]"[..end], Err("cut"), true);
        }
        check(b"[1, 2] ]", Err("not-json"), false);
        check(b"[1e999]", Err("not-json"), false);
        check(b"[1e999", Err("cut"), true);
        check(b"<html>", Err("not-json"), false);
        check(b"[1, 2 -", Err("not-json"), false);
        check(b"{\"a\": [1]}", Err("bad-shape"), false);
        check(b"{\"a\": [1", Err("cut"), true);
        check(b"{\"a\": 1e+", Err("cut"), true);
        check(b"{\"a\": \"\xc3", Err("cut"), true);
        check(b"{\"a\": \"\xc3\"}", Err("not-json"), false);
    }

    #[test]
    fn a_body_beyond_the_limit_is_neither_kept_nor_called_cut() {
        check(b"[1, 2, 3, 4, 5, 6, 7, 8]", Ok(()), false);
        check(b"[1, 2, 3, 4, 5, 6, 7, 8] ", Err("too-large"), false);
        check(&[b' '; 100], Err("too-large"), false);
    }
}
