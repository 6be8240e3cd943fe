//! Putting a copy of the database into the place of the one there is, while no server runs.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Offline;
use crate::store::{aside, directory};
use files::Owner;
use swap::Swap;

mod files;
mod swap;
mod verify;

pub use swap::remove_leftovers;

/// Why nothing was restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// It cannot be done as it was asked for; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// It failed on the way, and the store is as it was, unless the message says otherwise.
    #[error("{0}")]
    Failed(String),
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Where to: the whole path.
    pub path: PathBuf,
    /// Entries, as the database counts them.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
}

/// Replaces the database in `path` by a copy of the one in `from`. What was there is kept aside until
/// the copy has been opened. No server may run on either. Where an earlier restore was broken off, what
/// was there before it comes back first.
pub fn restore(from: &Path, path: &Path) -> Result<Restored, RestoreError> {
    let refused = |text: String| RestoreError::Refused(text);
    let unusable =
        |e: &dyn std::fmt::Display| refused(format!("{} cannot be used: {e}", path.display()));
    let from = from
        .canonicalize()
        .map_err(|e| refused(format!("{} cannot be read: {e}", from.display())));
    let absolute = std::path::absolute(path).map_err(|e| unusable(&e))?;
    if aside::is_half_restored(&absolute) {
        undo(&absolute)?;
    }
    let from = from?;
    if path.is_relative() && !absolute.is_dir() {
        return Err(refused(format!(
            "there is no directory {}: store.path is relative ({}), so restore where the server is \
             started, or make that directory first",
            absolute.display(),
            path.display()
        )));
    }
    directory::make_usable(&absolute).map_err(|e| refused(e.to_string()))?;
    let path = absolute.canonicalize().map_err(|e| unusable(&e))?;
    if from.starts_with(&path) || path.starts_with(&from) {
        return Err(refused(format!(
            "{} and the store in {} lie within each other; move the copy elsewhere first",
            from.display(),
            path.display()
        )));
    }
    let owner = Owner::of(&path).map_err(|e| unusable(&e))?;
    let _ours = files::lock(&path, owner)?;
    let _theirs = match from.join(files::LOCK).exists() {
        true => Some(files::lock(&from, owner)?),
        false => None,
    };
    drop(Offline::open(&from).map_err(|e| refused(e.to_string()))?);
    let swap = Swap::new(&path, owner);
    let bytes = swap.stage(&from).map_err(|e| {
        swap.drop_stage();
        RestoreError::Failed(format!("cannot copy {}: {e}", from.display()))
    })?;
    let entries = verify::entries(swap.staged()).map_err(|why| {
        swap.drop_stage();
        refused(format!("{} is no usable copy: {why}", from.display()))
    })?;
    swap.run()?;
    Ok(Restored {
        path,
        entries,
        bytes,
    })
}

/// Puts back what was there before a restore that was broken off.
fn undo(path: &Path) -> Result<(), RestoreError> {
    let said = |e: &dyn std::fmt::Display| {
        RestoreError::Failed(format!(
            "a restore into {} was broken off, and what was there before cannot be put back: {e}",
            path.display()
        ))
    };
    let owner = Owner::of(path).map_err(|e| said(&e))?;
    let _ours = files::lock(path, owner)?;
    Swap::new(path, owner).undo().map_err(|e| said(&e))
}
