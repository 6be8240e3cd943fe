//! Putting a copy of the database into the place of the one there is, while no server runs.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Error;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use thiserror::Error;

use super::Offline;
use crate::store::{aside, directory};

/// RocksDB's own lock: who holds it has the database to itself.
const LOCK: &str = "LOCK";
/// Read first when a database is opened, so it comes last.
const CURRENT: &str = "CURRENT";
/// Where copies wait until all of them are there.
const STAGE: &str = "restore.partial";

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Entries, as the database counts them.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
}

/// Replaces the database in `path` by a copy of the one in `from`. What was there is kept aside until
/// the copy has been opened. No server may run on either.
pub fn restore(from: &Path, path: &Path) -> Result<Restored, RestoreError> {
    let refused = |text: String| RestoreError::Refused(text);
    let from = from
        .canonicalize()
        .map_err(|e| refused(format!("{} cannot be read: {e}", from.display())))?;
    directory::prepare(path).map_err(|e| refused(e.to_string()))?;
    let path = path
        .canonicalize()
        .map_err(|e| refused(format!("{} cannot be used: {e}", path.display())))?;
    if from.starts_with(&path) || path.starts_with(&from) {
        return Err(refused(format!(
            "{} and the store in {} lie within each other; move the copy elsewhere first",
            from.display(),
            path.display()
        )));
    }
    let _ours = lock(&path)?;
    let _theirs = match from.join(LOCK).exists() {
        true => Some(lock(&from)?),
        false => None,
    };
    let copy = Offline::open(&from).map_err(|e| refused(e.to_string()))?;
    let entries = copy.entries();
    drop(copy);
    let stage = path.join(STAGE);
    let bytes = stage_copies(&from, &stage, &path).map_err(|e| {
        let _ = fs::remove_dir_all(&stage);
        RestoreError::Failed(format!("cannot copy {}: {e}", from.display()))
    })?;
    put_in_place(&stage, &path)?;
    Ok(Restored { entries, bytes })
}

/// Takes the lock of a directory for as long as the file is open.
fn lock(path: &Path) -> Result<File, RestoreError> {
    let shown = path.display();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join(LOCK))
        .map_err(|e| RestoreError::Refused(format!("{shown} cannot be locked: {e}")))?;
    own(path, &path.join(LOCK))
        .map_err(|e| RestoreError::Refused(format!("{shown} cannot be locked: {e}")))?;
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(&file, FcntlArg::F_SETLK(&whole)) {
        Ok(_) => Ok(file),
        Err(Errno::EACCES | Errno::EAGAIN) => Err(RestoreError::Refused(format!(
            "a server uses the database in {shown}: stop it first"
        ))),
        Err(e) => Err(RestoreError::Refused(format!(
            "{shown} cannot be locked: {e}"
        ))),
    }
}

/// Copies the files of a database; returns their bytes. The log for people stays behind.
fn stage_copies(from: &Path, stage: &Path, path: &Path) -> Result<u64, Error> {
    if stage.exists() {
        fs::remove_dir_all(stage)?;
    }
    DirBuilder::new().mode(0o700).create(stage)?;
    let mut bytes = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let wanted = aside::is_of_database(&text) && !text.starts_with("LOG");
        if !wanted || !entry.file_type()?.is_file() {
            continue;
        }
        let copy = stage.join(&name);
        bytes += fs::copy(entry.path(), &copy)?;
        own(path, &copy)?;
        File::open(&copy)?.sync_all()?;
    }
    File::open(stage)?.sync_all()?;
    Ok(bytes)
}

/// Gives a file to whom the directory belongs: root may restore what another user's server reads.
fn own(directory: &Path, file: &Path) -> Result<(), Error> {
    let (wanted, has) = (fs::metadata(directory)?, fs::metadata(file)?);
    match (wanted.uid(), wanted.gid()) == (has.uid(), has.gid()) {
        true => Ok(()),
        false if !nix::unistd::geteuid().is_root() => Ok(()),
        false => chown(file, Some(wanted.uid()), Some(wanted.gid())),
    }
}

/// Sets the present files aside, moves the copies to their place, and opens them once; whatever goes
/// wrong, the present files come back.
fn put_in_place(stage: &Path, path: &Path) -> Result<(), RestoreError> {
    let old = aside::set_aside(path)
        .map_err(|e| RestoreError::Failed(format!("cannot set the present files aside: {e}")))?;
    let moved = move_files(stage, path).and_then(|()| File::open(path)?.sync_all());
    let opened = moved
        .map_err(|e| e.to_string())
        .and_then(|()| Offline::open(path).map_err(|e| e.to_string()));
    if let Err(why) = opened {
        let back = clear(path).and_then(|()| move_files(&old, path));
        let _ = fs::remove_dir_all(stage);
        return Err(RestoreError::Failed(match back {
            Ok(()) => {
                let _ = fs::remove_dir(&old);
                format!("the copy cannot be used in its place, the store is as it was: {why}")
            }
            Err(e) => format!(
                "the copy cannot be used in its place: {why}; the files that were there are in {}, \
                 and cannot be moved back: {e}",
                old.display()
            ),
        }));
    }
    let done = fs::remove_dir_all(stage).and_then(|()| aside::remove(path));
    done.map(|_| ()).map_err(|e| {
        RestoreError::Failed(format!(
            "the copy is in its place, but what was there before cannot be removed: {e}"
        ))
    })
}

fn move_files(from: &Path, to: &Path) -> Result<(), Error> {
    for name in files_of(from)? {
        fs::rename(from.join(&name), to.join(&name))?;
    }
    Ok(())
}

/// Removes the files of a database.
fn clear(path: &Path) -> Result<(), Error> {
    // Backwards: without its first file it is none.
    for name in files_of(path)?.into_iter().rev() {
        fs::remove_file(path.join(name))?;
    }
    Ok(())
}

/// The files of a database, [`CURRENT`] last.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        if aside::is_of_database(&name.to_string_lossy()) && entry.file_type()?.is_file() {
            names.push(PathBuf::from(name));
        }
    }
    names.sort_by_key(|name| name.as_os_str() == CURRENT);
    Ok(names)
}
