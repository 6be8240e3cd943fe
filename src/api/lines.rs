//! Answers in lines: a JSON value on each, on bytes and across chunks cut anywhere.
//!
//! Blank lines mean nothing. The last line may lack its end if its value is whole: servers differ,
//! and a JSON object says itself where it ends.

use memchr::memchr;
use serde::de::IgnoredAny;

use super::sse::Event;
use super::stream::{Seen, StreamRules};
use super::{Judge, Verdict};

/// Longest line, in bytes. Lines with whole pictures in base64 have a few MiB.
const LINE_BYTES_MAX: usize = 16 << 20;

/// A judge of answers in lines. Its rules get each line as the data of an unnamed event.
pub(super) struct LinesJudge<R> {
    bytes_max: usize,
    /// Begin of a line whose end has not come yet.
    line: Vec<u8>,
    overflowed: bool,
    seen: Seen,
    rules: R,
}

impl<R: StreamRules + 'static> LinesJudge<R> {
    pub(super) fn boxed(rules: R) -> Box<dyn Judge> {
        Box::new(LinesJudge::with_limit(LINE_BYTES_MAX, rules))
    }

    fn with_limit(bytes_max: usize, rules: R) -> LinesJudge<R> {
        LinesJudge {
            bytes_max,
            line: Vec::new(),
            overflowed: false,
            seen: Seen::default(),
            rules,
        }
    }
}

impl<R: StreamRules> LinesJudge<R> {
    fn take(&mut self, line: &[u8]) {
        let data = line.trim_ascii();
        if !data.is_empty() {
            let event = Event { name: b"", data };
            self.seen.take(event, &mut self.rules);
        }
    }

    /// Appends to the line in the making; false if it no longer fits.
    fn fits(&mut self, piece: &[u8]) -> bool {
        self.overflowed = piece.len() > self.bytes_max.saturating_sub(self.line.len());
        if self.overflowed {
            self.line = Vec::new();
        }
        !self.overflowed
    }
}

impl<R: StreamRules> Judge for LinesJudge<R> {
    fn push(&mut self, chunk: &[u8]) {
        if self.overflowed {
            return;
        }
        let mut rest = chunk;
        while let Some(end) = memchr(b'\n', rest) {
            let (line, tail) = rest.split_at(end);
            rest = tail.strip_prefix(b"\n").unwrap_or(tail);
            if !self.fits(line) {
                return;
            }
            if self.line.is_empty() {
                self.take(line);
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.take(&whole);
            }
        }
        if self.fits(rest) {
            self.line.extend_from_slice(rest);
        }
    }

    fn finish(mut self: Box<Self>) -> Verdict {
        let last = std::mem::take(&mut self.line);
        let framed =
            last.trim_ascii().is_empty() || serde_json::from_slice::<IgnoredAny>(&last).is_ok();
        if framed {
            self.take(&last);
        }
        self.seen.verdict(&self.rules, framed, self.overflowed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fault;
    use super::*;

    /// Ends with the line `0`, and takes numbers only.
    struct Countdown;

    impl StreamRules for Countdown {
        fn event(&mut self, event: Event<'_>, seen: &mut Seen) {
            match event.data {
                b"0" => seen.end(),
                number if number.iter().all(u8::is_ascii_digit) => {}
                _ => seen.fail(Fault::BadFrame),
            }
        }

        fn complete(&self) -> Result<(), Fault> {
            Ok(())
        }
    }

    fn check(body: &[u8], keep: Result<(), &'static str>, cut: bool) {
        for size in 1..=body.len().max(1) {
            let mut judge = Box::new(LinesJudge::with_limit(8, Countdown));
            body.chunks(size).for_each(|chunk| judge.push(chunk));
            let found = judge.finish();
            let body = String::from_utf8_lossy(body);
            assert_eq!((found.keep, found.cut), (keep, cut), "{body:?} by {size}");
        }
    }

    #[test]
    fn lines_are_cut_anywhere() {
        check(b"2\n1\n0\n", Ok(()), false);
        check(b"2\r\n1\r\n0\r\n", Ok(()), false);
        check(b"2\n\n \n1\n0", Ok(()), false);
        check(b"2\n1\n0\n\n", Ok(()), false);
        check(b"", Err("cut"), true);
        check(b"\n", Err("cut"), true);
        check(b"2\n1\n", Err("cut"), true);
        check(b"2\n1", Err("cut"), true);
        check(b"2\n[", Err("cut"), true);
        check(b"0\n[", Err("cut"), true);
        check(b"2\nx\n0\n", Err("bad-frame"), false);
        check(b"2\n1,0\n0\n", Err("bad-frame"), false);
        check(b"0\n0\n", Err("after-end"), false);
        check(b"0\n1", Err("after-end"), false);
    }

    #[test]
    fn a_line_beyond_the_limit_is_neither_kept_nor_called_cut() {
        check(b"12345678\n0\n", Ok(()), false);
        check(b"123456789\n0\n", Err("too-large"), false);
        check(b"123456789", Err("too-large"), false);
        check(b"1\n\n\n\n\n\n\n\n\n\n\n0\n", Ok(()), false);
    }
}
