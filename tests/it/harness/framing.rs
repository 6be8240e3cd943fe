//! HTTP/1.1 message framing read by hand, so that a test can tell an end from a break.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Header fields in wire order, names in lower case.
pub type Fields = Vec<(String, String)>;

/// The value of the first field called `name`.
pub fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, v)| v.as_str())
}

/// How the body that follows a message head is delimited, and how much of it is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Done,
    Length(usize),
    /// Bytes left in the current chunk; 0 means that a chunk header comes next.
    Chunked(usize),
    /// Only the end of the connection ends the body, so its end proves nothing.
    UntilClose,
}

impl Framing {
    /// The framing of a message with these fields; `until_close` for responses.
    pub fn of(fields: &Fields, until_close: bool) -> Self {
        let chunked = field(fields, "transfer-encoding")
            .is_some_and(|v| v.to_ascii_lowercase().contains("chunked"));
        if chunked {
            return Self::Chunked(0);
        }
        match field(fields, "content-length").map(|v| v.trim().parse::<usize>()) {
            Some(Ok(0)) => Self::Done,
            Some(Ok(n)) => Self::Length(n),
            Some(Err(_)) => panic!("unreadable content-length in {fields:?}"),
            None if until_close => Self::UntilClose,
            None => Self::Done,
        }
    }
}

/// A buffered reader of heads and body pieces.
pub struct Reader<R> {
    io: R,
    buf: BytesMut,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub fn new(io: R) -> Self {
        Self {
            io,
            buf: BytesMut::new(),
        }
    }

    /// Reads more; false at the end of the connection.
    async fn fill(&mut self) -> io::Result<bool> {
        self.buf.reserve(16 * 1024);
        Ok(self.io.read_buf(&mut self.buf).await? > 0)
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buf.windows(2).position(|w| w == b"\r\n") {
                let line = self.buf.split_to(at + 2);
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.fill().await? {
                let kept = String::from_utf8_lossy(&self.buf).into_owned();
                return Err(cut(format!(
                    "connection ended inside a line, after {kept:?}"
                )));
            }
        }
    }

    /// The start line and the fields; `None` if the connection ended before the first byte.
    pub async fn head(&mut self) -> io::Result<Option<(String, Fields)>> {
        if self.buf.is_empty() && !self.fill().await? {
            return Ok(None);
        }
        let start = self.line().await?;
        let mut fields = Fields::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(Some((start, fields)));
            }
            let Some((name, value)) = line.split_once(':') else {
                return Err(cut(format!("no colon in the header line {line:?}")));
            };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The next piece of the body; `None` once it is complete. An error is a break.
    pub async fn piece(&mut self, framing: &mut Framing) -> io::Result<Option<Bytes>> {
        loop {
            let wanted = match framing {
                Framing::Done => return Ok(None),
                Framing::Length(n) => *n,
                Framing::UntilClose => usize::MAX,
                Framing::Chunked(0) => {
                    let line = self.line().await?;
                    let size = line.split(';').next().unwrap_or_default().trim();
                    let size = usize::from_str_radix(size, 16)
                        .map_err(|_| cut(format!("unreadable chunk header {line:?}")))?;
                    if size == 0 {
                        while !self.line().await?.is_empty() {}
                        *framing = Framing::Done;
                        return Ok(None);
                    }
                    *framing = Framing::Chunked(size);
                    continue;
                }
                Framing::Chunked(n) => *n,
            };
            if self.buf.is_empty() && !self.fill().await? {
                if *framing == Framing::UntilClose {
                    *framing = Framing::Done;
                    return Ok(None);
                }
                return Err(cut(format!(
                    "connection ended with {framing:?} outstanding"
                )));
            }
            let piece = self.buf.split_to(wanted.min(self.buf.len())).freeze();
            match framing {
                Framing::Length(n) => {
                    *n -= piece.len();
                    if *n == 0 {
                        *framing = Framing::Done;
                    }
                }
                Framing::Chunked(n) => {
                    *n -= piece.len();
                    if *n == 0 {
                        let rest = self.line().await?;
                        if !rest.is_empty() {
                            return Err(cut(format!("{rest:?} behind a chunk")));
                        }
                    }
                }
                Framing::Done | Framing::UntilClose => {}
            }
            return Ok(Some(piece));
        }
    }

    /// True if the peer has ended the connection and nothing is left to read.
    pub async fn at_end(&mut self) -> bool {
        self.buf.is_empty() && !self.fill().await.unwrap_or(false)
    }
}

fn cut(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}
