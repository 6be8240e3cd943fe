//! Files in directories that belong to somebody else, who must not be able to have root write elsewhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Error};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::RestoreError;

/// RocksDB's own lock: who holds it has the database to itself.
pub const LOCK: &str = "LOCK";

/// Whose files these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    /// Whose the database in a directory is, or else the directory: root may restore what another user's
    /// server reads.
    pub fn of(directory: &Path) -> Result<Owner, Error> {
        let lock = fs::symlink_metadata(directory.join(LOCK));
        let known = match lock {
            Ok(lock) if lock.is_file() => lock,
            _ => fs::metadata(directory)?,
        };
        Ok(Owner {
            uid: known.uid(),
            gid: known.gid(),
        })
    }

    /// Gives a file, or a directory, to the owner.
    pub fn give(self, file: &File) -> Result<(), Error> {
        let has = file.metadata()?;
        match (has.uid(), has.gid()) == (self.uid, self.gid) {
            true => Ok(()),
            false if !nix::unistd::geteuid().is_root() => Ok(()),
            false => fchown(file, Some(self.uid), Some(self.gid)),
        }
    }
}

/// Takes the lock of a directory for as long as the file is open.
pub fn lock(path: &Path, owner: Owner) -> Result<File, RestoreError> {
    let refused = |why: &dyn std::fmt::Display| {
        RestoreError::Refused(format!("{} cannot be locked: {why}", path.display()))
    };
    let place = path.join(LOCK);
    let is_new = fs::symlink_metadata(&place).is_err();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&place)
        .map_err(|e| refused(&e))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(refused(&"its lock is not a regular file"));
    }
    if is_new {
        owner.give(&file).map_err(|e| refused(&e))?;
    }
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
            "a server uses the database in {}: stop it first",
            path.display()
        ))),
        Err(e) => Err(refused(&e)),
    }
}

/// Copies a file to where there is none. Returns its bytes.
pub fn copy(from: &Path, to: &Path, owner: Owner) -> Result<u64, Error> {
    let mut source = OpenOptions::new()
        .read(true)
        // A pipe would have us wait.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(from)?;
    let metadata = source.metadata()?;
    if !metadata.is_file() {
        return Err(Error::other(format!(
            "{} is not a regular file",
            from.display()
        )));
    }
    let mut copy = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(metadata.mode() & 0o777)
        .custom_flags(libc::O_NOFOLLOW)
        .open(to)?;
    let bytes = io::copy(&mut source, &mut copy)?;
    owner.give(&copy)?;
    copy.sync_all()?;
    Ok(bytes)
}

/// Opens a directory that is no link.
pub fn directory(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY)
        .open(path)
}

/// Makes what was done in a directory outlive the machine.
pub fn sync(path: &Path) -> Result<(), Error> {
    directory(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn owner(path: &Path) -> Owner {
        Owner::of(path).unwrap()
    }

    #[test]
    fn links_and_pipes_are_neither_locked_nor_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (store, elsewhere) = (dir.path().join("store"), dir.path().join("elsewhere"));
        fs::create_dir(&store).unwrap();
        fs::write(&elsewhere, "kept").unwrap();
        let before = fs::metadata(&elsewhere).unwrap();
        let owner = owner(&store);
        symlink(&elsewhere, store.join(LOCK)).unwrap();
        assert!(lock(&store, owner).is_err());
        let link = store.join("link.sst");
        symlink(&elsewhere, &link).unwrap();
        let pipe = store.join("pipe.sst");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let copied = store.join("copy");
        for from in [&link, &pipe, &store] {
            assert!(copy(from, &copied, owner).is_err(), "{}", from.display());
        }
        assert!(!copied.exists());
        // Nor is anything written through a link that is there.
        let file = dir.path().join("file");
        fs::write(&file, "new").unwrap();
        assert!(copy(&file, &link, owner).is_err());
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "kept");
        let after = fs::metadata(&elsewhere).unwrap();
        assert_eq!((before.uid(), before.mtime()), (after.uid(), after.mtime()));
        assert_eq!(copy(&file, &copied, owner).unwrap(), 3);
    }

    #[test]
    fn what_root_makes_belongs_to_whom_the_database_belongs() {
        if !nix::unistd::geteuid().is_root() {
            println!("SKIPPED: only root can make files of somebody else");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        fs::create_dir(&store).unwrap();
        let of = |path: &Path| fs::metadata(path).unwrap().uid();
        std::os::unix::fs::chown(&store, Some(65_534), None).unwrap();
        // Of the directory, where there is no database.
        drop(lock(&store, owner(&store)).unwrap());
        assert_eq!(of(&store.join(LOCK)), 65_534);
        // Of the database, where its directory is somebody else's.
        std::os::unix::fs::chown(store.join(LOCK), Some(65_532), None).unwrap();
        drop(lock(&store, owner(&store)).unwrap());
        assert_eq!(of(&store.join(LOCK)), 65_532);
        let (file, copied) = (dir.path().join("file"), store.join("copy"));
        fs::write(&file, "new").unwrap();
        copy(&file, &copied, owner(&store)).unwrap();
        assert_eq!(of(&copied), 65_532);
    }
}
