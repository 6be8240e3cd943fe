//! What servers answer, read without trust.

use bytes::Bytes;
use redis::{ServerError, ServerErrorKind, Value};

use super::slots::Addr;
use super::trouble::Trouble;

/// Characters of a server's message that are passed on; it may repeat what was sent.
const MESSAGE_MAX: usize = 120;

/// Where else to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// The slot lives there from now on.
    Moved(u16, Addr),
    /// This key is there already; the slot is on its way.
    Ask(Addr),
}

/// Whether an answer says that the server is not able to serve at the moment.
pub fn is_unwell(answer: &Value) -> bool {
    let Value::ServerError(error) = answer else {
        return false;
    };
    match error.kind() {
        Some(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
        ),
        None => error.code() == "BUSY",
    }
}

/// Whether an answer says that this server is not the master any more.
pub fn is_demoted(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::ReadOnly))
}

/// The redirection in an answer; without a host it is the one that was `asked`.
pub fn redirect(answer: &Value, asked: Option<&Addr>) -> Option<Redirect> {
    let Value::ServerError(error) = answer else {
        return None;
    };
    let moved = match error.kind()? {
        ServerErrorKind::Moved => true,
        ServerErrorKind::Ask => false,
        _ => return None,
    };
    let (slot, addr) = error.details()?.split_once(' ')?;
    // A node that is to go by a name and has none is called `?`.
    let addr = addr.strip_prefix('?').unwrap_or(addr);
    let port = addr.strip_prefix(':').and_then(|port| port.parse().ok());
    let addr = match (port, asked) {
        (Some(port), Some(asked)) => Addr {
            host: asked.host.clone(),
            port,
        },
        _ => Addr::parse(addr)?,
    };
    Some(match moved {
        true => Redirect::Moved(slot.parse().ok()?, addr),
        false => Redirect::Ask(addr),
    })
}

fn refused(error: &ServerError) -> Trouble {
    match error.kind() {
        Some(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::TryAgain
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        ) => Trouble::Unreachable,
        _ if error.code() == "BUSY" => Trouble::Unreachable,
        _ => {
            let detail = error.details().unwrap_or_default();
            let message = format!("{} {detail}", error.code());
            Trouble::Refused(message.chars().take(MESSAGE_MAX).collect())
        }
    }
}

fn odd() -> Trouble {
    Trouble::odd()
}

/// A value; an empty one is none, because that is how a missing one reads by ranges.
pub fn value(answer: Value) -> Result<Option<Bytes>, Trouble> {
    let bytes = bytes(answer)?;
    Ok((!bytes.is_empty()).then_some(bytes))
}

/// A string of bytes.
pub fn bytes(answer: Value) -> Result<Bytes, Trouble> {
    match answer {
        Value::BulkString(bytes) => Ok(bytes.into()),
        Value::SimpleString(text) => Ok(text.into()),
        Value::Nil => Ok(Bytes::new()),
        Value::ServerError(error) => Err(refused(&error)),
        _ => Err(odd()),
    }
}

/// A number and a string.
pub fn pair(answer: Value) -> Result<(u64, Bytes), Trouble> {
    match answer {
        Value::Array(fields) => match <[Value; 2]>::try_from(fields) {
            Ok([first, second]) => Ok((number(first)?, bytes(second)?)),
            Err(_) => Err(odd()),
        },
        Value::ServerError(error) => Err(refused(&error)),
        _ => Err(odd()),
    }
}

/// A number that is not negative.
pub fn number(answer: Value) -> Result<u64, Trouble> {
    match answer {
        Value::Int(number) => u64::try_from(number).map_err(|_| odd()),
        Value::ServerError(error) => Err(refused(&error)),
        _ => Err(odd()),
    }
}

/// A number that is stored as a string; 0 if there is none.
pub fn counter(answer: Value) -> Result<u64, Trouble> {
    let bytes = bytes(answer)?;
    if bytes.is_empty() {
        return Ok(0);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| odd())?;
    text.parse().map_err(|_| odd())
}

/// Done, or (`Nil`) not done because of a condition.
pub fn done(answer: Value) -> Result<bool, Trouble> {
    match answer {
        Value::Okay => Ok(true),
        Value::Nil => Ok(false),
        Value::ServerError(error) => Err(refused(&error)),
        _ => Err(odd()),
    }
}

/// Entries of a log: each begins with its number and a colon.
pub fn entries(answer: Value) -> Result<Vec<(u64, Bytes)>, Trouble> {
    let rows = match answer {
        Value::Array(rows) => rows,
        Value::ServerError(error) => return Err(refused(&error)),
        _ => return Err(odd()),
    };
    rows.into_iter().map(entry).collect()
}

fn entry(row: Value) -> Result<(u64, Bytes), Trouble> {
    let mut entry = bytes(row)?;
    let colon = entry.iter().position(|b| *b == b':').ok_or_else(odd)?;
    let number = entry.split_to(colon);
    let number = std::str::from_utf8(&number)
        .ok()
        .and_then(|n| n.parse().ok());
    Ok((number.ok_or_else(odd)?, entry.split_off(1)))
}

#[cfg(test)]
mod tests;
