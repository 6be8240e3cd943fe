//! Values: read, written, removed, appended to.

use bytes::Bytes;
use redis::Pipeline;

use super::super::scripts::APPEND_AT;
use super::super::{reply, trouble::Trouble};
use super::{Access, Engine, KEYS_MAX, RANGE_BYTES_MAX, VALUE_BYTES_MAX};

impl Engine {
    /// A value, or its first [`VALUE_BYTES_MAX`]. An empty one reads as none.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Trouble> {
        let mut commands = redis::pipe();
        read(&mut commands, key);
        let [answer] = self.run(key, Access::Value, &commands, 0).await?;
        reply::value(answer)
    }

    /// Values of keys with the same hash tag, at most [`KEYS_MAX`], of so many bytes in all.
    pub async fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        bytes: usize,
    ) -> Result<Vec<Option<Bytes>>, Trouble> {
        let Some(first) = some_keys(keys)? else {
            return Ok(Vec::new());
        };
        let mut commands = redis::pipe();
        for key in keys {
            read(&mut commands, key.as_ref());
        }
        let answers = self.send(first, Access::Value, &commands, bytes).await?;
        answers.into_iter().map(reply::value).collect()
    }

    /// Stores a value for so long.
    pub async fn set(&self, key: &[u8], value: &[u8], ttl_ms: u64) -> Result<(), Trouble> {
        fits(value)?;
        let mut commands = redis::pipe();
        commands
            .cmd("SET")
            .arg(key)
            .arg(value)
            .arg("PX")
            .arg(ttl_ms.max(1));
        let [answer] = self.run(key, Access::Write, &commands, value.len()).await?;
        reply::done(answer).map(drop)
    }

    /// Removes keys with the same hash tag, at most [`KEYS_MAX`]; returns how many there were.
    pub async fn delete<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<u64, Trouble> {
        let Some(first) = some_keys(keys)? else {
            return Ok(0);
        };
        let mut commands = redis::pipe();
        commands.cmd("DEL");
        for key in keys {
            commands.arg(key.as_ref());
        }
        let [answer] = self.run(first, Access::Write, &commands, 0).await?;
        reply::number(answer)
    }

    /// Appends to a value that has `offset` bytes and puts off its end; returns the length that it has then.
    /// Of another length it stays as it is. So an append whose outcome is not known can be sent again.
    pub async fn append_at(
        &self,
        key: &[u8],
        offset: u64,
        bytes: &[u8],
        ttl_ms: u64,
    ) -> Result<u64, Trouble> {
        fits(bytes)?;
        let mut commands = redis::pipe();
        commands.cmd("EVAL").arg(APPEND_AT).arg(1).arg(key);
        commands.arg(offset).arg(bytes).arg(ttl_ms.max(1));
        let [answer] = self.run(key, Access::Write, &commands, bytes.len()).await?;
        reply::number(answer)
    }

    /// What stands in `key` from `offset` on, at most [`RANGE_BYTES_MAX`], and the value of another
    /// key of the same slot. The other is read first: if it says that `key` is finished, it is.
    pub async fn range_from(
        &self,
        key: &[u8],
        offset: u64,
        other: &[u8],
    ) -> Result<(Bytes, Option<Bytes>), Trouble> {
        let mut commands = redis::pipe();
        read(&mut commands, other);
        let last = offset.saturating_add(RANGE_BYTES_MAX as u64 - 1);
        commands.cmd("GETRANGE").arg(key).arg(offset).arg(last);
        let [other, range] = self.run(key, Access::Read, &commands, 0).await?;
        Ok((reply::bytes(range)?, reply::value(other)?))
    }
}

/// A range instead of all of it, because only a range is bounded.
pub(super) fn read(commands: &mut Pipeline, key: &[u8]) {
    commands
        .cmd("GETRANGE")
        .arg(key)
        .arg(0)
        .arg(VALUE_BYTES_MAX - 1);
}

pub(super) fn fits(value: &[u8]) -> Result<(), Trouble> {
    match value.len() {
        ..=VALUE_BYTES_MAX => Ok(()),
        _ => Err(Trouble::Refused("longer than a value may be".to_owned())),
    }
}

fn some_keys<K: AsRef<[u8]>>(keys: &[K]) -> Result<Option<&[u8]>, Trouble> {
    match keys.len() {
        ..=KEYS_MAX => Ok(keys.first().map(AsRef::as_ref)),
        _ => Err(Trouble::Refused(
            "more keys than one operation may have".to_owned(),
        )),
    }
}
