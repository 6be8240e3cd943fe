//! Where an answer ends: as much of HTTP/1.1 as the servers here speak.

use bytes::{Buf, BytesMut};

/// The head of an answer.
pub struct Head {
    pub status: u16,
    pub framing: Framing,
}

/// What is still to come of a body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Framing {
    /// So many bytes.
    Length(usize),
    /// A chunk's size, or the line behind the last chunk.
    Size,
    /// So many bytes of a chunk.
    Chunk(usize),
    /// The end of a chunk's line.
    ChunkEnd,
    /// The lines behind the last chunk.
    Trailer,
}

impl Head {
    /// Takes a head off the front; `None` if it is not all there.
    pub fn take(input: &mut BytesMut) -> Option<Head> {
        let end = memchr::memmem::find(input, b"\r\n\r\n")? + 4;
        let head = input.split_to(end);
        let text = std::str::from_utf8(&head).expect("a head in ASCII");
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let mut framing = Framing::Length(0);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                framing = Framing::Length(value.trim().parse().expect("a length"));
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                framing = Framing::Size;
                break;
            }
        }
        Some(Head {
            status: status.and_then(|s| s.parse().ok()).expect("a status"),
            framing,
        })
    }
}

impl Framing {
    /// Moves what is there of the body from `input` to `body`; true at its end.
    pub fn take(&mut self, input: &mut BytesMut, body: &mut Vec<u8>) -> bool {
        loop {
            match *self {
                Framing::Length(left) => {
                    let took = some(left, input, body);
                    *self = Framing::Length(left - took);
                    return took == left;
                }
                Framing::Chunk(left) => {
                    let took = some(left, input, body);
                    *self = match left - took {
                        0 => Framing::ChunkEnd,
                        left => Framing::Chunk(left),
                    };
                    if took < left {
                        return false;
                    }
                }
                Framing::Size => {
                    let Some(line) = line(input) else {
                        return false;
                    };
                    let digits = std::str::from_utf8(&line).expect("a size in ASCII");
                    let digits = digits.split(';').next().unwrap_or_default().trim();
                    *self = match usize::from_str_radix(digits, 16).expect("a chunk's size") {
                        0 => Framing::Trailer,
                        size => Framing::Chunk(size),
                    };
                }
                Framing::ChunkEnd => {
                    if line(input).is_none() {
                        return false;
                    }
                    *self = Framing::Size;
                }
                Framing::Trailer => match line(input) {
                    None => return false,
                    Some(line) if line.is_empty() => return true,
                    Some(_) => {}
                },
            }
        }
    }
}

fn some(left: usize, input: &mut BytesMut, body: &mut Vec<u8>) -> usize {
    let took = left.min(input.len());
    body.extend_from_slice(&input[..took]);
    input.advance(took);
    took
}

/// The next line without its end.
fn line(input: &mut BytesMut) -> Option<BytesMut> {
    let end = memchr::memchr(b'\n', input)?;
    let mut line = input.split_to(end + 1);
    line.truncate(end.saturating_sub(1));
    Some(line)
}
