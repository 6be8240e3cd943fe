//! The exchange of the files, which can be broken off at any moment.
//!
//! ```text
//! what is there                         whose files are in the directory   undone by
//! restore.partial                       the old ones                       nothing
//! marker                                the old ones                       nothing
//! marker, restore.before.partial        the old ones, less and less        moving them back
//! marker, restore.before                the new ones, more and more        removing them; then as above
//! restore.before                        the new ones: it is done           -
//! ```
//!
//! As long as the marker is there, no server starts.

use std::fs::{self, DirBuilder, File};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::files::{self, Owner, sync};
use super::{Offline, RestoreError};
use crate::store::aside::{self, RESTORE_MARKER, files_of};

/// Where copies wait until all of them are there.
const STAGE: &str = "restore.partial";
/// Where the old files go.
const BEFORE_PARTIAL: &str = "restore.before.partial";
/// Where the old files are when all of them have gone there.
const BEFORE: &str = "restore.before";

/// One exchange.
pub struct Swap {
    path: PathBuf,
    owner: Owner,
    stage: PathBuf,
    before_partial: PathBuf,
    before: PathBuf,
    marker: PathBuf,
}

impl Swap {
    /// In this directory, whose lock is held.
    pub fn new(path: &Path, owner: Owner) -> Swap {
        Swap {
            path: path.to_owned(),
            owner,
            stage: path.join(STAGE),
            before_partial: path.join(BEFORE_PARTIAL),
            before: path.join(BEFORE),
            marker: path.join(RESTORE_MARKER),
        }
    }

    /// Copies the files of a database beside the present one; returns their bytes. The log for people
    /// stays behind.
    pub fn stage(&self, from: &Path) -> Result<u64, Error> {
        remove_leftovers(&self.path)?;
        DirBuilder::new().mode(0o700).create(&self.stage)?;
        self.owner.give(&files::directory(&self.stage)?)?;
        let mut bytes = 0;
        for name in files_of(from)? {
            if !is_log(&name) {
                bytes += files::copy(&from.join(&name), &self.stage.join(&name), self.owner)?;
            }
        }
        sync(&self.stage)?;
        Ok(bytes)
    }

    /// Where the copies are.
    pub fn staged(&self) -> &Path {
        &self.stage
    }

    /// Removes the copies.
    pub fn drop_stage(&self) {
        let _ = fs::remove_dir_all(&self.stage);
    }

    /// Sets the present files aside, moves the copies to their place, and opens them once; whatever goes
    /// wrong, the present files come back.
    pub fn run(&self) -> Result<(), RestoreError> {
        let exchanged = self.exchange().map_err(|e| e.to_string()).and_then(|()| {
            let opened = Offline::open_as_it_is(&self.path);
            opened.map(|_| ()).map_err(|e| e.to_string())
        });
        if let Err(why) = exchanged {
            return Err(RestoreError::Failed(match self.undo() {
                Ok(()) => {
                    format!("the copy cannot be put in its place, the store is as it was: {why}")
                }
                Err(e) => format!(
                    "the copy cannot be put in its place: {why}; and the files that were there cannot \
                     be moved back, run this again when that is mended: {e}"
                ),
            }));
        }
        let done = self.unmark().and_then(|()| remove_leftovers(&self.path));
        done.map(|_| ()).map_err(|e| {
            RestoreError::Failed(format!(
                "the copy is in its place, but what was there before cannot be removed: {e}"
            ))
        })
    }

    fn exchange(&self) -> Result<(), Error> {
        let marker = File::create_new(&self.marker)?;
        self.owner.give(&marker)?;
        marker.sync_all()?;
        sync(&self.path)?;
        DirBuilder::new().mode(0o700).create(&self.before_partial)?;
        self.owner.give(&files::directory(&self.before_partial)?)?;
        for name in files_of(&self.path)?.iter().rev() {
            fs::rename(self.path.join(name), self.before_partial.join(name))?;
        }
        sync(&self.before_partial)?;
        sync(&self.path)?;
        // From here on, what is in the directory is new.
        fs::rename(&self.before_partial, &self.before)?;
        sync(&self.path)?;
        let staged = files_of(&self.stage)?;
        for name in staged.iter().filter(|name| !is_log(name)) {
            fs::rename(self.stage.join(name), self.path.join(name))?;
        }
        sync(&self.path)
    }

    /// Puts back what was there before, however far the exchange got.
    pub fn undo(&self) -> Result<(), Error> {
        if is_directory(&self.before) {
            for name in files_of(&self.path)?.iter().rev() {
                fs::remove_file(self.path.join(name))?;
            }
            sync(&self.path)?;
            // From here on, what is in the directory is old.
            fs::rename(&self.before, &self.before_partial)?;
            sync(&self.path)?;
        }
        if is_directory(&self.before_partial) {
            for name in files_of(&self.before_partial)? {
                fs::rename(self.before_partial.join(&name), self.path.join(&name))?;
            }
            sync(&self.path)?;
            fs::remove_dir(&self.before_partial)?;
        }
        remove_if_there(&self.stage)?;
        self.unmark()
    }

    fn unmark(&self) -> Result<(), Error> {
        match fs::remove_file(&self.marker) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        sync(&self.path)
    }
}

/// Removes what a restore has left that is over, or was broken off before it exchanged anything. True if
/// there was something. The directory's lock must be held.
pub fn remove_leftovers(path: &Path) -> Result<bool, Error> {
    if aside::is_half_restored(path) {
        return Ok(false);
    }
    let stage = remove_if_there(&path.join(STAGE))?;
    let before = remove_if_there(&path.join(BEFORE))?;
    Ok(stage || before)
}

fn remove_if_there(directory: &Path) -> Result<bool, Error> {
    match is_directory(directory) {
        true => fs::remove_dir_all(directory).map(|()| true),
        false => Ok(false),
    }
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn is_log(name: &Path) -> bool {
    name.to_string_lossy().starts_with("LOG")
}
