//! A database that will not open is set aside, and the server starts empty: a cache that does not
//! start is worse than one that has forgotten.

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Directories inside the store's own begin like this; the date follows.
const PREFIX: &str = "set-aside-";
/// Read first when a database is opened.
const CURRENT: &str = "CURRENT";
/// There while a restore exchanges the files of the database: what is in the directory is neither the
/// old one nor the new one.
pub const RESTORE_MARKER: &str = "restore.under-way";

/// Whether the files themselves are what is wrong. Everything else is for the operator to mend, and
/// the files are worth keeping where they are.
pub fn is_damage(error: &rocksdb::Error) -> bool {
    const NOT_THE_FILES: &[&str] = &[
        "lock file",
        "lock hold by",
        "While lock",
        "Permission denied",
        "Operation not permitted",
        "Read-only file system",
        "No space left",
        "Disk quota",
        "Too many open files",
        "Cannot allocate memory",
        "Input/output error",
    ];
    let text = error.to_string();
    !NOT_THE_FILES.iter().any(|words| text.contains(words))
}

/// Whether there is no room.
pub fn is_full(error: &rocksdb::Error) -> bool {
    let text = error.to_string();
    text.contains("No space left") || text.contains("Disk quota") || text.contains("NoSpace")
}

/// Moves the files of a database into a directory beside them, named by the date, and removes what was
/// set aside before: only the latest is kept. Returns where they are.
pub fn set_aside(path: &Path) -> Result<PathBuf, Error> {
    if is_half_restored(path) {
        return Err(Error::other(HALF_RESTORED));
    }
    remove(path)?;
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let aside = path.join(format!("{PREFIX}{}", now.replace(':', "")));
    fs::create_dir(&aside)?;
    for name in files_of(path)?.iter().rev() {
        fs::rename(path.join(name), aside.join(name))?;
    }
    Ok(aside)
}

/// Removes what was set aside. True if there was something.
pub fn remove(path: &Path) -> Result<bool, Error> {
    let mut removed = false;
    if is_half_restored(path) {
        return Ok(false);
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if ours && entry.file_type()?.is_dir() {
            match fs::remove_dir_all(entry.path()) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => removed = true,
            }
        }
    }
    Ok(removed)
}

/// In words.
pub const HALF_RESTORED: &str = "a restore was broken off half-way, or is under way";

/// Whether a restore was broken off while it exchanged the files, or is doing so.
pub fn is_half_restored(path: &Path) -> bool {
    fs::symlink_metadata(path.join(RESTORE_MARKER)).is_ok()
}

/// The files of a database. The one that makes it one comes last; so files are put in their place in
/// this order, and taken away in the other: half of a database is none.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        if is_of_database(&name.to_string_lossy()) && entry.file_type()?.is_file() {
            names.push(PathBuf::from(name));
        }
    }
    names.sort_by_key(|name| name.as_os_str() == CURRENT);
    Ok(names)
}

/// The names that RocksDB gives its files; its lock stays.
pub fn is_of_database(name: &str) -> bool {
    let ends = [".sst", ".blob", ".log", ".dbtmp"];
    let begins = ["MANIFEST-", "OPTIONS-", "LOG"];
    ends.iter().any(|end| name.ends_with(end))
        || begins.iter().any(|begin| name.starts_with(begin))
        || ["CURRENT", "IDENTITY"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_database_move_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "000007.sst",
            "000008.blob",
            "CURRENT",
            "MANIFEST-000004",
            "LOG.old.1",
        ];
        for name in names.iter().chain(&["notes.txt", "LOCK"]) {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let first = set_aside(dir.path()).unwrap();
        for name in names {
            assert_eq!(fs::read_to_string(first.join(name)).unwrap(), name);
        }
        assert!(dir.path().join("notes.txt").exists());
        assert!(dir.path().join("LOCK").exists());
        // Only the latest is kept.
        fs::write(dir.path().join("CURRENT"), "newer").unwrap();
        let second = set_aside(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        assert_eq!(fs::read_to_string(second.join("CURRENT")).unwrap(), "newer");
        assert!(remove(dir.path()).unwrap());
        assert!(!remove(dir.path()).unwrap());
    }

    #[test]
    fn nothing_moves_where_a_restore_was_broken_off() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("CURRENT"), "old").unwrap();
        let aside = set_aside(dir.path()).unwrap();
        for name in ["CURRENT", RESTORE_MARKER] {
            fs::write(dir.path().join(name), "new").unwrap();
        }
        assert!(set_aside(dir.path()).is_err());
        assert!(!remove(dir.path()).unwrap());
        assert_eq!(fs::read_to_string(aside.join("CURRENT")).unwrap(), "old");
        let still = fs::read_to_string(dir.path().join("CURRENT")).unwrap();
        assert_eq!(still, "new");
    }

    #[test]
    fn what_makes_files_a_database_comes_last() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["CURRENT", "000007.sst", "MANIFEST-000004", "IDENTITY"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let names = files_of(dir.path()).unwrap();
        assert_eq!(names.len(), 4);
        assert_eq!(names.last().unwrap().as_os_str(), CURRENT);
    }
}
