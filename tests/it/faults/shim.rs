//! The handle of the shim (shim.c): a disk in front of the real one that does what the test says.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use tempfile::TempDir;

use crate::harness::*;

/// Words of the control file, in the order of shim.c.
#[derive(Clone, Copy)]
enum Word {
    DelayMs,
    Blocked,
    WriteErrno,
    ReadErrno,
    Limited,
    Room,
    Ops,
    Waiting,
    Refused,
    Syncs,
    Words,
}

/// A disk whose faults are chosen while the server runs on it.
pub struct FaultyDisk {
    dir: TempDir,
    control: File,
}

impl FaultyDisk {
    /// Compiles the shim; the disk is in order at first.
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        // The server may run as another user than the test.
        open_to_all(dir.path());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/shim.c");
        let output = Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .args([&dir.path().join("shim.so"), &source])
            .arg("-ldl")
            .output()
            .expect("a C compiler, which building the server needs too");
        assert!(output.status.success(), "cc: {output:?}");
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(dir.path().join("control"))
            .unwrap();
        control.set_len(Word::Words as u64 * 8).unwrap();
        Self { dir, control }
    }

    /// The variables that put a server's `data` directory on this disk.
    pub fn env(&self) -> [(&'static str, String); 3] {
        let path = |name| self.dir.path().join(name).to_str().unwrap().to_owned();
        [
            ("LD_PRELOAD", path("shim.so")),
            ("FAULT_CONTROL", path("control")),
            ("FAULT_DIR", "data".to_owned()),
        ]
    }

    /// Puts the store of the server to be started on this disk.
    pub fn under(&self, config: &mut Config) {
        for (name, value) in self.env() {
            config.env(name, &value);
        }
    }

    fn set(&self, word: Word, value: i64) {
        // The server has the file mapped: what is written is what it reads next.
        let at = word as u64 * 8;
        self.control.write_all_at(&value.to_ne_bytes(), at).unwrap();
    }

    fn get(&self, word: Word) -> i64 {
        let mut bytes = [0; 8];
        let at = word as u64 * 8;
        self.control.read_exact_at(&mut bytes, at).unwrap();
        i64::from_ne_bytes(bytes)
    }

    /// Every operation takes this much longer.
    pub fn delays(&self, delay: Duration) {
        self.set(Word::DelayMs, delay.as_millis() as i64);
    }

    /// No operation ends until `releases`.
    pub fn blocks(&self) {
        self.set(Word::Blocked, 1);
    }

    pub fn releases(&self) {
        self.set(Word::Blocked, 0);
    }

    /// Takes this many bytes more, and then none.
    pub fn has_room_for(&self, bytes: i64) {
        self.set(Word::Room, bytes);
        self.set(Word::Limited, 1);
    }

    /// Whatever changes the disk fails so; nothing with `None`.
    pub fn fails_writes(&self, error: Option<Errno>) {
        self.set(Word::WriteErrno, error.map_or(0, |e| e as i64));
    }

    /// Reading a file fails so; nothing with `None`.
    pub fn fails_reads(&self, error: Option<Errno>) {
        self.set(Word::ReadErrno, error.map_or(0, |e| e as i64));
    }

    /// In order again.
    pub fn mends(&self) {
        for word in [
            Word::DelayMs,
            Word::Blocked,
            Word::WriteErrno,
            Word::ReadErrno,
            Word::Limited,
        ] {
            self.set(word, 0);
        }
    }

    /// How many operations it met.
    pub fn operations(&self) -> i64 {
        self.get(Word::Ops)
    }

    /// How many operations wait in it now.
    pub fn waiting(&self) -> i64 {
        self.get(Word::Waiting)
    }

    /// How many operations it refused.
    pub fn refused(&self) -> i64 {
        self.get(Word::Refused)
    }

    /// How often something was to be brought to the disk itself.
    pub fn syncs(&self) -> i64 {
        self.get(Word::Syncs)
    }

    /// Waits until an operation waits in it.
    #[track_caller]
    pub fn holds_something(&self) -> impl Future<Output = ()> {
        within(
            Duration::from_secs(10),
            "the disk holds something up",
            || {
                std::future::ready(match self.waiting() {
                    0 => Err(format!("{} operations so far", self.operations())),
                    _ => Ok(()),
                })
            },
        )
    }
}

/// Lets other users in.
pub fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).unwrap();
}

/// A server before this origin whose store is on this disk.
pub async fn proxy_on(disk: &FaultyDisk, origin: &Origin) -> Proxy {
    proxy()
        .upstream(origin)
        .config(|c| disk.under(c))
        .start()
        .await
}

/// Every file below a directory.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path()),
            _ => vec![entry.path()],
        })
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn the_shim_sees_what_the_server_does_to_its_disk() {
    let disk = FaultyDisk::new();
    let origin = origin().start().await;
    let proxy = proxy_on(&disk, &origin).await;
    let before = disk.operations();
    assert!(before > 20, "opening a database took {before} operations");
    proxy.ask(&chat("seen")).await.is(200, "miss");
    proxy.reaches("llm_cache_store_writes_total", 1.0).await;
    assert!(disk.operations() > before, "a write was not seen");
    assert_eq!(disk.refused(), 0);
}
