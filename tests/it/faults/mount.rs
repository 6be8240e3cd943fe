//! File systems of their own for single stories, where the user may mount any.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A tmpfs; unmounted when dropped.
pub struct Tmpfs {
    dir: TempDir,
}

impl Tmpfs {
    /// Mounts one with these options; `None`, and a line that says so, if that is not possible. That
    /// is a failure where FAULT_MOUNTS is `required`: there it is known to be possible.
    pub fn mount(options: &str) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(dir.path())
            .output();
        match output {
            Ok(output) if output.status.success() => Some(Self { dir }),
            refused => {
                let required = std::env::var_os("FAULT_MOUNTS").is_some_and(|v| v == "required");
                assert!(!required, "no tmpfs can be mounted: {refused:?}");
                println!("SKIPPED: no tmpfs can be mounted here: {refused:?}");
                None
            }
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(self.dir.path())
            .status();
        assert!(status.unwrap().success(), "remount,{options}");
    }

    /// A file that takes this much room, or what there is.
    pub fn ballast(&self, bytes: usize) -> PathBuf {
        let path = self.path("ballast");
        // Short of room it is cut off, which fills the rest.
        let _ = std::fs::write(&path, vec![1; bytes]);
        path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: the server of a story that failed may still have files open there.
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path())
            .status();
    }
}

/// What `du` says of a directory, in bytes.
pub fn bytes_on_disk(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let blocks = super::shim::files(dir)
        .into_iter()
        .filter_map(|file| std::fs::metadata(file).ok())
        .map(|file| file.blocks() * 512);
    blocks.sum()
}
