//! Leases: taken, renewed and given back by whoever has the token.

use bytes::Bytes;

use super::super::scripts::{CLAIM, END, RENEW};
use super::super::{reply, trouble::Trouble};
use super::{Access, Engine, VALUE_BYTES_MAX};

/// What a claim came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// There is a value, or its first [`VALUE_BYTES_MAX`].
    Value(Bytes),
    /// There was neither value nor lease: the lease is ours.
    Taken,
    /// Somebody has the lease, with this token.
    Held(Bytes),
}

impl Engine {
    /// A value, or else the lease on it, unless somebody has that; both keys with the same hash tag.
    /// After [`Trouble::Deadline`] the lease may be ours.
    pub async fn claim(
        &self,
        key: &[u8],
        lease: &[u8],
        token: &[u8],
        ttl_ms: u64,
    ) -> Result<Claimed, Trouble> {
        let mut commands = redis::pipe();
        commands.cmd("EVAL").arg(CLAIM).arg(2).arg(key).arg(lease);
        commands
            .arg(token)
            .arg(ttl_ms.max(1))
            .arg(VALUE_BYTES_MAX - 1);
        let [answer] = self.run(key, Access::Write, &commands, 0).await?;
        let (which, bytes) = reply::pair(answer)?;
        Ok(match which {
            1 => Claimed::Value(bytes),
            2 => Claimed::Held(bytes),
            _ => Claimed::Taken,
        })
    }

    /// Takes a lease, unless somebody has it. After [`Trouble::Deadline`] it may be ours.
    pub async fn lease_take(&self, key: &[u8], token: &[u8], ttl_ms: u64) -> Result<bool, Trouble> {
        let mut commands = redis::pipe();
        commands
            .cmd("SET")
            .arg(key)
            .arg(token)
            .arg("NX")
            .arg("PX")
            .arg(ttl_ms.max(1));
        let [answer] = self.run(key, Access::Write, &commands, 0).await?;
        reply::done(answer)
    }

    /// Extends a lease; false if it is no longer ours.
    pub async fn lease_renew(
        &self,
        key: &[u8],
        token: &[u8],
        ttl_ms: u64,
    ) -> Result<bool, Trouble> {
        let mut commands = redis::pipe();
        commands
            .cmd("EVAL")
            .arg(RENEW)
            .arg(1)
            .arg(key)
            .arg(token)
            .arg(ttl_ms.max(1));
        let [answer] = self.run(key, Access::Write, &commands, 0).await?;
        Ok(reply::number(answer)? == 1)
    }

    /// Ends a lease; false if it was no longer ours.
    pub async fn lease_end(&self, key: &[u8], token: &[u8]) -> Result<bool, Trouble> {
        let mut commands = redis::pipe();
        commands.cmd("EVAL").arg(END).arg(1).arg(key).arg(token);
        let [answer] = self.run(key, Access::Write, &commands, 0).await?;
        Ok(reply::number(answer)? == 1)
    }
}
