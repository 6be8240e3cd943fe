//! Event-stream framing by the WHATWG rules, on bytes and across chunks cut anywhere.
//!
//! Stricter than a browser in one point: a stream must end on a frame boundary.

use std::borrow::Cow;
use std::mem;

use memchr::{memchr, memchr2};

#[cfg(test)]
mod tests;

/// Longest line, and longest data of one event, in bytes. The largest events known carry whole
/// pictures in base64, a few MiB each.
pub const EVENT_BYTES_MAX: usize = 16 << 20;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One event of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The last `event:` field, empty if there was none.
    pub name: &'a [u8],
    /// The `data:` fields joined by line feeds; empty as well if there was none.
    pub data: &'a [u8],
}

/// Cuts an event stream into events. A frame that lies inside one chunk is not copied.
pub struct Framer {
    bytes_max: usize,
    /// Begin of a line whose end has not come yet.
    line: Vec<u8>,
    /// Fields of an event whose blank line has not come yet.
    draft: Draft<'static>,
    /// Some field line came since the last blank line, known field or not.
    open: bool,
    /// No line has been completed yet, so that the next one may begin with a byte order mark.
    first_line: bool,
    /// The last byte was a carriage return; a line feed now belongs to it.
    after_cr: bool,
    /// Some line ended in carriage return and line feed.
    crlf: bool,
    /// Some line was JSON outside of any field.
    bare: bool,
    overflowed: bool,
}

impl Default for Framer {
    fn default() -> Framer {
        Framer::new()
    }
}

impl Framer {
    /// A framer at the begin of a stream.
    pub fn new() -> Framer {
        Framer::with_limit(EVENT_BYTES_MAX)
    }

    fn with_limit(bytes_max: usize) -> Framer {
        Framer {
            bytes_max,
            line: Vec::new(),
            draft: Draft::default(),
            open: false,
            first_line: true,
            after_cr: false,
            crlf: false,
            bare: false,
            overflowed: false,
        }
    }

    /// Takes the next piece of the body and reports every event that it completes. Events with
    /// neither name nor data are not reported. After an overflow nothing is.
    pub fn push(&mut self, chunk: &[u8], on_event: &mut impl FnMut(Event<'_>)) {
        if chunk.is_empty() || self.overflowed {
            return;
        }
        let mut rest = chunk;
        if mem::take(&mut self.after_cr)
            && let Some(tail) = rest.strip_prefix(b"\n")
        {
            self.crlf = true;
            rest = tail;
        }
        let mut draft = mem::take(&mut self.draft);
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            let (line, tail) = rest.split_at(end);
            rest = self.skip_line_end(tail);
            if line.len() + self.line.len() > self.bytes_max {
                return self.overflow();
            }
            let fits = if self.line.is_empty() {
                self.take_line(line, Cow::Borrowed, &mut draft, on_event)
            } else {
                self.line.extend_from_slice(line);
                let line = mem::take(&mut self.line);
                self.take_line(
                    &line,
                    |value| Cow::Owned(value.to_vec()),
                    &mut draft,
                    on_event,
                )
            };
            if !fits {
                return self.overflow();
            }
        }
        if rest.len() + self.line.len() > self.bytes_max {
            return self.overflow();
        }
        self.line.extend_from_slice(rest);
        self.draft = draft.into_owned();
    }

    /// True if a line or event passed [`EVENT_BYTES_MAX`]: what came behind it is unknown.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// True if a line began as JSON does, outside of any field. Readers skip it; servers that fail
    /// behind the head may say so in that way.
    pub fn has_bare_json(&self) -> bool {
        self.bare
    }

    /// True if the body ended on a frame boundary: behind the last event's blank line there are
    /// only whole comments and blank lines. The half of a CRLF counts as missing if the stream
    /// used CRLF before. False after an overflow.
    pub fn finish(self) -> bool {
        let half_crlf = self.after_cr && self.crlf;
        !self.overflowed && self.line.is_empty() && !self.open && !half_crlf
    }

    /// `tail` begins with the byte that ended a line.
    fn skip_line_end<'c>(&mut self, tail: &'c [u8]) -> &'c [u8] {
        match tail {
            [b'\r', b'\n', rest @ ..] => {
                self.crlf = true;
                rest
            }
            [b'\r'] => {
                self.after_cr = true;
                &[]
            }
            [_, rest @ ..] => rest,
            [] => &[],
        }
    }

    /// Takes one whole line; false if the event's data no longer fits.
    fn take_line<'l, 'c>(
        &mut self,
        line: &'l [u8],
        keep: impl FnOnce(&'l [u8]) -> Cow<'c, [u8]>,
        draft: &mut Draft<'c>,
        on_event: &mut impl FnMut(Event<'_>),
    ) -> bool {
        let line = match mem::take(&mut self.first_line) {
            true => line.strip_prefix(BOM).unwrap_or(line),
            false => line,
        };
        match line.first() {
            None => {
                self.open = false;
                mem::take(draft).report(on_event);
                true
            }
            Some(b':') => true,
            Some(_) => {
                self.open = true;
                self.bare |= matches!(line.first(), Some(b'{' | b'"'));
                let (field, value) = split_field(line);
                match field {
                    b"event" => {
                        draft.name = keep(value);
                        true
                    }
                    b"data" => draft.add_data(keep(value), self.bytes_max),
                    _ => true,
                }
            }
        }
    }

    fn overflow(&mut self) {
        self.overflowed = true;
        self.line = Vec::new();
        self.draft = Draft::default();
    }
}

/// An event in the making.
#[derive(Default)]
struct Draft<'c> {
    name: Cow<'c, [u8]>,
    data: Option<Cow<'c, [u8]>>,
}

impl<'c> Draft<'c> {
    fn add_data(&mut self, value: Cow<'c, [u8]>, bytes_max: usize) -> bool {
        match &mut self.data {
            None => self.data = Some(value),
            Some(data) if data.len() + 1 + value.len() > bytes_max => return false,
            Some(data) => {
                let data = data.to_mut();
                data.push(b'\n');
                data.extend_from_slice(&value);
            }
        }
        true
    }

    fn report(self, on_event: &mut impl FnMut(Event<'_>)) {
        let data = self.data.as_deref().unwrap_or_default();
        if !data.is_empty() || !self.name.is_empty() {
            on_event(Event {
                name: &self.name,
                data,
            });
        }
    }

    fn into_owned(self) -> Draft<'static> {
        Draft {
            name: Cow::Owned(self.name.into_owned()),
            data: self.data.map(|data| Cow::Owned(data.into_owned())),
        }
    }
}

/// Field name and value of a line; a line without a colon is a name with an empty value.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b':', line) {
        None => (line, &[]),
        Some(colon) => {
            let (field, value) = line.split_at(colon);
            let value = value.strip_prefix(b":").unwrap_or(value);
            (field, value.strip_prefix(b" ").unwrap_or(value))
        }
    }
}
