//! Copying the database of a running server.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::{O_DIRECTORY, O_NOFOLLOW};
use thiserror::Error;

use crate::store::disk::scan::NotCopied;
use crate::store::{Store, StoreError};

/// What RocksDB writes to; it adds `.tmp` until it has written all.
const COPY: &str = "db";

/// Why there is no copy.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The directory asked for is not one to write a copy to.
    #[error("{0}")]
    Directory(String),
    /// There is no database to copy at the moment.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing it failed.
    #[error("cannot write the copy to {}: {message}", to.display())]
    Write {
        /// The directory asked for.
        to: PathBuf,
        /// What the database or the system said.
        message: String,
    },
}

impl Store {
    /// Writes a copy of the database into a directory that is not there yet, open to this user only.
    /// Blocks. Files are linked where that is possible, and share their blocks until they leave the
    /// store.
    pub fn checkpoint(&self, to: &Path) -> Result<(), CheckpointError> {
        let place = Place::checked(to, self.disk.path())?;
        // Under another name first: what has this one is whole.
        let _turn = place.make_partial()?;
        let failed = |e: std::io::Error| place.failed(&e);
        let written = (|| {
            let copy = place.partial.join(COPY);
            self.disk.checkpoint(&copy).map_err(|e| match e {
                NotCopied::Closed => StoreError::Closed.into(),
                NotCopied::Failed(e) => place.failed(&e),
            })?;
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o700)).map_err(failed)?;
            fs::rename(&copy, &place.to).map_err(failed)?;
            let parent = File::open(&place.parent).map_err(failed)?;
            parent.sync_all().map_err(failed)
        })();
        let _ = fs::remove_dir_all(&place.partial);
        written
    }
}

/// Where a copy is to be.
struct Place {
    parent: PathBuf,
    to: PathBuf,
    partial: PathBuf,
}

impl Place {
    /// The place that is asked for, if a copy can be made there.
    fn checked(to: &Path, store: &Path) -> Result<Place, CheckpointError> {
        let refused = |text: String| Err(CheckpointError::Directory(text));
        let shown = to.display();
        if !to.is_absolute() {
            return refused(format!("{shown} is not an absolute path"));
        }
        let (Some(parent), Some(name)) = (to.parent(), to.file_name()) else {
            return refused(format!("{shown} is not a directory that can be made"));
        };
        // Without a slash at the end.
        let to = parent.join(name);
        if fs::symlink_metadata(&to).is_ok() {
            return refused(format!(
                "{shown} is there already; name one that is not there yet"
            ));
        }
        let mut partial = to.as_os_str().to_owned();
        partial.push(".partial");
        let parent = match parent.canonicalize() {
            Ok(parent) if parent.is_dir() => parent,
            Ok(_) => return refused(format!("{} is no directory", parent.display())),
            Err(e) => return refused(format!("{} cannot be used: {e}", parent.display())),
        };
        let inside = store
            .canonicalize()
            .is_ok_and(|store| parent.starts_with(store));
        match inside {
            true => refused(format!("{shown} is inside store.path")),
            false => Ok(Place {
                parent,
                to,
                partial: partial.into(),
            }),
        }
    }

    /// Makes the directory that the copy is written to, in the place of what one that was broken off has
    /// left. It is ours as long as what is returned is open.
    fn make_partial(&self) -> Result<Flock<File>, CheckpointError> {
        let make = || DirBuilder::new().mode(0o700).create(&self.partial);
        let made = make().or_else(|e| match e.kind() {
            ErrorKind::AlreadyExists => {
                self.remove_stale()?;
                make().map_err(|e| self.unusable(&e))
            }
            _ => Err(self.unusable(&e)),
        });
        made?;
        self.take()
    }

    /// Removes what a copy has left that was broken off, and nothing else.
    fn remove_stale(&self) -> Result<(), CheckpointError> {
        let _turn = self.take()?;
        let entries = fs::read_dir(&self.partial).map_err(|e| self.unusable(&e))?;
        for entry in entries {
            let name = entry.map_err(|e| self.unusable(&e))?.file_name();
            let ours = name.to_string_lossy().strip_suffix(".tmp") == Some(COPY) || name == COPY;
            if !ours {
                return Err(self.unusable(
                    &"it is there already, and is not what a copy leaves that was broken off",
                ));
            }
        }
        fs::remove_dir_all(&self.partial).map_err(|e| self.unusable(&e))
    }

    fn take(&self) -> Result<Flock<File>, CheckpointError> {
        let directory = OpenOptions::new()
            .read(true)
            .custom_flags(O_NOFOLLOW | O_DIRECTORY)
            .open(&self.partial)
            .map_err(|e| self.unusable(&e))?;
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(ours) => Ok(ours),
            Err((_, Errno::EWOULDBLOCK)) => Err(self.unusable(&"another copy is being written")),
            Err((_, e)) => Err(self.unusable(&e)),
        }
    }

    fn unusable(&self, why: &dyn std::fmt::Display) -> CheckpointError {
        CheckpointError::Directory(format!("{} cannot be used: {why}", self.partial.display()))
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> CheckpointError {
        CheckpointError::Write {
            to: self.to.clone(),
            message: why.to_string(),
        }
    }
}
