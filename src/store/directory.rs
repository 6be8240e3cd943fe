//! The directory of the database, before the database sees it: what is wrong with it is said in the
//! operator's words.

use std::fs::{self, DirBuilder, File};
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use nix::unistd::{getegid, geteuid};

use super::{StoreError, aside};

/// Written and removed again to see whether that is possible.
const TRIAL: &str = ".llm-cache-server-trial";

/// Makes the directory if it is not there, and sees that files can be made in it and that what is there
/// is a whole database or none.
pub fn prepare(path: &Path) -> Result<(), StoreError> {
    make_usable(path)?;
    match aside::is_half_restored(path) {
        false => Ok(()),
        true => Err(StoreError::Directory {
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            advice:
                "run it again (llm-cache-server restore); what was there before is not lost, and \
                     comes back if the copy cannot be used"
                    .to_owned(),
            source: Error::other(aside::HALF_RESTORED),
        }),
    }
}

/// Makes the directory if it is not there, and sees that files can be made in it.
pub fn make_usable(path: &Path) -> Result<(), StoreError> {
    // Answers lie there in clear text.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| try_writing(&path.join(TRIAL)))
        .map_err(|source| {
            // The whole path: it is what was mounted, and says which working directory counts.
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            StoreError::Directory {
                advice: advice(&path, &source),
                path,
                source,
            }
        })
}

/// Sees that so much fits on the disk, by writing it and removing it again.
pub fn try_room(path: &Path, bytes: usize) -> Result<(), Error> {
    let trial = path.join(TRIAL);
    let written = (|| {
        let mut file = File::create(&trial)?;
        let piece = vec![0x5a; bytes.min(1 << 20)];
        for _ in 0..bytes.div_ceil(1 << 20) {
            file.write_all(&piece)?;
        }
        file.sync_all()
    })();
    let removed = fs::remove_file(&trial);
    written.and(removed)
}

/// The most that the file system can hold of what is below a directory, in bytes: a twentieth of it is
/// left to others, and to what file systems need themselves.
pub fn attainable(path: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    let bytes = stat.blocks() as u64 * stat.fragment_size() as u64;
    Some(bytes / 20 * 19)
}

/// Makes a file and removes it again. `create_new` follows no link that somebody has put there.
fn try_writing(trial: &Path) -> Result<(), Error> {
    let written = File::create_new(trial)
        .or_else(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                fs::remove_file(trial).and_then(|()| File::create_new(trial))
            }
            _ => Err(error),
        })
        .and_then(|mut file| file.write_all(TRIAL.as_bytes()));
    let removed = match fs::remove_file(trial) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    written.and(removed)
}

/// What to do about it.
fn advice(path: &Path, error: &Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => permission(path, geteuid().as_raw(), getegid().as_raw()),
        ErrorKind::ReadOnlyFilesystem => {
            "mount a volume that can be written there, or change store.path".to_owned()
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free space on that disk, or move store.path to another".to_owned()
        }
        _ => "give store.path a directory that this server can write to".to_owned(),
    }
}

/// A container's user is rarely the owner of a directory that was mounted from the host.
fn permission(path: &Path, uid: u32, gid: u32) -> String {
    let nearest = path.ancestors().find_map(|dir| {
        let owner = fs::metadata(dir).ok()?.uid();
        Some((dir.display(), owner))
    });
    let whose = match nearest {
        Some((dir, owner)) => format!("{dir} belongs to user {owner}, this server runs as {uid}"),
        None => format!("this server runs as user {uid}"),
    };
    format!(
        "{whose}; give it that directory with `chown -R {uid}:{gid} DIRECTORY` (of a container: the \
         directory on the host that is mounted there), or run it as the owner (docker run --user, \
         securityContext.runAsUser)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_and_left_empty() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        prepare(&path).unwrap();
        prepare(&path).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        // What an earlier start left, and a link to somewhere else.
        fs::write(path.join(TRIAL), "old").unwrap();
        prepare(&path).unwrap();
        let elsewhere = parent.path().join("elsewhere");
        fs::write(&elsewhere, "kept").unwrap();
        std::os::unix::fs::symlink(&elsewhere, path.join(TRIAL)).unwrap();
        prepare(&path).unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "kept");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_an_error_that_says_what_to_change() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        fs::write(&path, "").unwrap();
        let error = prepare(&path).unwrap_err().to_string();
        assert!(error.contains("store.path"), "{error}");
    }

    #[test]
    fn what_a_restore_left_half_done_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(aside::RESTORE_MARKER), "").unwrap();
        make_usable(dir.path()).unwrap();
        let error = prepare(dir.path()).unwrap_err().to_string();
        assert!(error.contains("run it again"), "{error}");
    }

    #[test]
    fn without_permission_the_command_to_run_is_named() {
        let text = permission(Path::new("/nowhere/at/all"), 65532, 65531);
        assert!(text.contains("chown -R 65532:65531"), "{text}");
        assert!(text.contains("/ belongs to user 0"), "{text}");
    }
}
