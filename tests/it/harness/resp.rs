//! The Redis protocol by hand: one question, one answer, around what is tested.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::h1::Socket;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resp {
    Nil,
    Int(i64),
    /// A status or a bulk string.
    Bytes(Vec<u8>),
    Error(String),
    List(Vec<Resp>),
}

impl Resp {
    #[track_caller]
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes,
            other => panic!("not a string: {other:?}"),
        }
    }

    #[track_caller]
    pub fn text(self) -> String {
        String::from_utf8(self.bytes()).expect("a text")
    }

    #[track_caller]
    pub fn list(self) -> Vec<Resp> {
        match self {
            Self::List(list) => list,
            other => panic!("not a list: {other:?}"),
        }
    }
}

/// Asks the server at the other end of a fresh connection.
pub async fn ask(mut stream: Box<dyn Socket>, words: &[&[u8]]) -> Result<Resp> {
    let mut wire = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        wire.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        wire.extend_from_slice(word);
        wire.extend_from_slice(b"\r\n");
    }
    stream.write_all(&wire).await?;
    // With TLS what is written may wait.
    stream.flush().await?;
    read(&mut BufReader::new(stream)).await
}

async fn read(reader: &mut BufReader<Box<dyn Socket>>) -> Result<Resp> {
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    let Some(line) = line.strip_suffix("\r\n") else {
        return Err(Error::new(ErrorKind::UnexpectedEof, "no answer"));
    };
    let rest = line.get(1..).unwrap_or_default();
    let number = || {
        rest.parse::<i64>()
            .map_err(|_| Error::new(ErrorKind::InvalidData, line.to_owned()))
    };
    match line.as_bytes().first() {
        Some(b'+') => Ok(Resp::Bytes(rest.into())),
        Some(b'-') => Ok(Resp::Error(rest.into())),
        Some(b':') => Ok(Resp::Int(number()?)),
        Some(b'$') => {
            let Ok(length) = usize::try_from(number()?) else {
                return Ok(Resp::Nil);
            };
            let mut bytes = vec![0; length + 2];
            reader.read_exact(&mut bytes).await?;
            bytes.truncate(length);
            Ok(Resp::Bytes(bytes))
        }
        Some(b'*') => {
            let mut list = Vec::new();
            for _ in 0..number()? {
                list.push(Box::pin(read(reader)).await?);
            }
            Ok(Resp::List(list))
        }
        _ => Err(Error::new(ErrorKind::InvalidData, line.to_owned())),
    }
}
