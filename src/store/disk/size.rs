//! How much room the files take.

use std::collections::HashSet;
use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use super::{Disk, DiskError};
use crate::store::aside;

/// Segments removed in one go at most: then writing goes on, and the rest has its turn.
const ROUNDS_MAX: usize = 8;

impl Disk {
    /// Counts bytes that were handed over and are not in any file that was looked at.
    pub(super) fn wrote(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Makes room while the files take more than they may. Blocks. False if they still do afterwards.
    pub fn keep_bound(&self, now_ms: u64) -> Result<bool, DiskError> {
        for _ in 0..ROUNDS_MAX {
            if self.bytes() <= self.sizes.evict_above {
                return Ok(true);
            }
            self.look_at_files();
            let before = self.bytes();
            if before <= self.sizes.evict_above {
                return Ok(true);
            }
            if self.copying.load(Relaxed) > 0 {
                // Nothing that goes now leaves any room.
                return Ok(before <= self.sizes.disk_bytes_max);
            }
            if matches!(aside::remove(&self.path), Ok(true)) {
                log::info!("what was set aside is removed to make room");
                continue;
            }
            if !self.evict(now_ms)? {
                break;
            }
            self.look_at_files();
            if self.bytes() >= before {
                // Somebody still reads from what has gone, or it was all worth copying.
                break;
            }
        }
        self.look_at_files();
        Ok(self.bytes() <= self.sizes.disk_bytes_max)
    }

    /// A number that RocksDB keeps for the database as a whole, which it hands out with any column
    /// family, and counts in the default one.
    pub fn whole_property(&self, name: &str) -> u64 {
        let db = self.db();
        let value = db.and_then(|db| db.property_int_value(name).ok().flatten());
        value.unwrap_or_default()
    }

    /// Sums up what the files take. Blocks.
    pub fn look_at_files(&self) {
        match bytes_below(&self.path) {
            Ok(bytes) => self.bytes.store(bytes, Relaxed),
            // What was known before is close enough.
            Err(error) => log::debug!("the size of the store cannot be told: {error}"),
        }
    }
}

/// Bytes of the blocks that all files below a directory take, as `du` counts them.
pub fn bytes_below(path: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    let mut links = HashSet::new();
    let mut folders: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            // Files come and go under way.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.nlink() > 1 && !metadata.is_dir() && !links.insert(metadata.ino()) {
                continue;
            }
            bytes += metadata.blocks() * 512;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_the_one_that_du_says() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("inner")).unwrap();
        fs::write(dir.path().join("a"), vec![1; 100_000]).unwrap();
        fs::write(dir.path().join("inner/b"), vec![1; 5_000]).unwrap();
        fs::hard_link(dir.path().join("a"), dir.path().join("inner/c")).unwrap();
        let du = std::process::Command::new("du")
            .args(["-s", "-B1"])
            .arg(dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8(du.stdout).unwrap();
        let said: u64 = text.split_whitespace().next().unwrap().parse().unwrap();
        let own = fs::metadata(dir.path()).unwrap().blocks() * 512;
        assert_eq!(bytes_below(dir.path()).unwrap() + own, said);
    }
}
