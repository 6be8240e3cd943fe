//! Short values of many keys, wherever in a cluster they lie: together, server by server.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::link::Link;
use super::super::reply::{self, Redirect};
use super::super::trouble::Trouble;
use super::{Engine, Target};

/// As much of a value as is read: what is not shorter is none. Room is taken for all of it.
pub const SHORT_BYTES_MAX: usize = 64 * 1024;
/// Keys that are asked for together: 1 MiB of room.
const TOGETHER_MAX: usize = 16;

impl Engine {
    /// Which of these keys can be asked for together, by their positions. Those that nobody serves are in
    /// none of the groups.
    pub fn together<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Vec<usize>> {
        self.start();
        let mut full = Vec::new();
        let mut open: Vec<(Arc<Link>, Vec<usize>)> = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let Some(link) = self.router.pick(key.as_ref(), false) else {
                continue;
            };
            match open.iter_mut().find(|(of, _)| Arc::ptr_eq(of, &link)) {
                Some((_, group)) => {
                    group.push(at);
                    if group.len() == TOGETHER_MAX {
                        full.push(std::mem::take(group));
                    }
                }
                None => open.push((link, vec![at])),
            }
        }
        let rest = open.into_iter().map(|(_, group)| group);
        full.extend(rest.filter(|group| !group.is_empty()));
        full
    }

    /// Values of keys that are asked for together. One that has moved to another server is not followed
    /// there: it is looked for in the right place the next time.
    pub async fn get_short<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
    ) -> Result<Vec<Option<Bytes>>, Trouble> {
        let Some(first) = keys.first() else {
            return Ok(Vec::new());
        };
        let _seat = self.seats.take(keys.len() * SHORT_BYTES_MAX)?;
        let deadline = Instant::now() + self.deadline;
        let mut commands = redis::pipe();
        for key in keys {
            commands.cmd("GETRANGE").arg(key.as_ref());
            commands.arg(0).arg(SHORT_BYTES_MAX - 1);
        }
        let link = self.router.pick(first.as_ref(), self.read_replicas);
        let link = link.ok_or(Trouble::Unreachable)?;
        let answers = self.call(&link, &commands, false, deadline).await?;
        if answers.iter().any(reply::is_unwell) {
            self.router.doubt(&link, false);
        }
        let asked = match link.target() {
            Target::Node(addr) => Some(addr),
            Target::Master { .. } => None,
        };
        let read = |answer| {
            if let Some(Redirect::Moved(slot, addr)) = reply::redirect(&answer, asked) {
                self.router.redirected(Some(slot), addr);
            }
            // A stranger's value is none either.
            let value = reply::value(answer).ok().flatten();
            value.filter(|value| value.len() < SHORT_BYTES_MAX)
        };
        Ok(answers.into_iter().map(read).collect())
    }
}
