//! A store that cannot be used is an error of the configuration: exit code 64, with words that say
//! what to change. What lies there is left as it is.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use tempfile::TempDir;

use super::mount::Tmpfs;
use super::question::{Question, ask_truly, hits_among, oracle};
use super::said::Said;
use super::shim::{FaultyDisk, files, open_to_all, proxy_on};
use crate::harness::*;

/// The user nobody, on every system with these tests.
const NOBODY: u32 = 65_534;

/// A directory with a configuration whose store is at this path.
fn configured(store: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    open_to_all(dir.path());
    let mut config = Config::new();
    config
        .set("server.listen", serde_json::json!(["127.0.0.1:0"]))
        .set("server.admin", "127.0.0.1:0")
        .set("store.path", store)
        .upstream_at("openai", "http://127.0.0.1:1/v1", serde_json::json!({}));
    std::fs::write(dir.path().join("config.yaml"), config.yaml()).unwrap();
    dir
}

/// Runs the server in this directory; it must refuse with 64, in words that contain all these.
async fn refuses(dir: &Path, env: &[(&str, &str)], words: &[&str]) -> String {
    let finished = command(dir, &["run", "--config", "config.yaml"], env).await;
    said_well(finished.code, finished.stderr, words)
}

/// A refusal is one line with these words in it.
#[track_caller]
fn said_well(code: Option<i32>, stderr: String, words: &[&str]) -> String {
    assert_eq!(code, Some(64), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in {stderr:?}");
    }
    assert!(stderr.trim().lines().count() == 1, "one line: {stderr:?}");
    println!("{}", stderr.trim());
    stderr
}

/// Runs the server as nobody; if this test may not become another user, as who runs it.
fn as_nobody(dir: &Path) -> (Option<i32>, String) {
    let mut binary = PathBuf::from(env!("CARGO_BIN_EXE_llm-cache-server"));
    // One that does not refuse is ended, with another code.
    let mut command = Command::new("timeout");
    if nix::unistd::geteuid().is_root() {
        // The build's own directory may be closed to others.
        binary = dir.join("server");
        std::fs::copy(env!("CARGO_BIN_EXE_llm-cache-server"), &binary).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command
        .arg("20")
        .arg(binary)
        .args(["run", "--config", "config.yaml"])
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), stderr)
}

#[tokio::test]
async fn a_directory_of_somebody_else_is_refused() {
    let dir = configured("./parent/data");
    let parent = dir.path().join("parent");
    std::fs::create_dir(&parent).unwrap();
    std::fs::set_permissions(&parent, PermissionsExt::from_mode(0o555)).unwrap();
    let (code, stderr) = as_nobody(dir.path());
    said_well(code, stderr, &["parent/data", "chown", "belongs to user"]);
    std::fs::set_permissions(&parent, PermissionsExt::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_database_of_somebody_else_is_refused_and_not_set_aside() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: only root can make files of somebody else");
        return;
    }
    let dir = configured("./data");
    let data = dir.path().join("data");
    // As root made it.
    let env = std::collections::BTreeMap::new();
    let mut first = Process::start(dir.path(), &["run", "--config", "config.yaml"], &env);
    within(ms(20_000), "a database", || {
        std::future::ready(match first.exited() {
            None if data.join("CURRENT").exists() => Ok(()),
            state => Err(format!("{state:?}: {}", first.output())),
        })
    })
    .await;
    first.signal(nix::sys::signal::Signal::SIGTERM);
    first.exits_within(ms(20_000)).await;
    let before = files(&data);
    for file in &before {
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
    }
    // The directory is given away, what is in it is forgotten: a chown without -R.
    std::os::unix::fs::chown(&data, Some(NOBODY), None).unwrap();
    let (code, stderr) = as_nobody(dir.path());
    said_well(code, stderr, &["data", "chown"]);
    let kept = |path: &PathBuf| files(&data).contains(path);
    let tables = before.iter().filter(|p| !p.ends_with("LOG"));
    for path in tables {
        assert!(kept(path), "{path:?} was moved or removed");
    }
}

#[tokio::test]
async fn a_file_in_the_place_of_the_directory_is_refused() {
    for store in ["./file", "./file/data"] {
        let dir = configured(store);
        std::fs::write(dir.path().join("file"), "kept").unwrap();
        refuses(dir.path(), &[], &["file", "store.path"]).await;
        let kept = std::fs::read_to_string(dir.path().join("file")).unwrap();
        assert_eq!(kept, "kept");
    }
}

#[tokio::test]
async fn a_read_only_file_system_is_refused() {
    let disk = FaultyDisk::new();
    disk.fails_writes(Some(Errno::EROFS));
    let dir = configured("./data");
    let env = disk.env();
    let env: Vec<_> = env.iter().map(|(n, v)| (*n, v.as_str())).collect();
    refuses(dir.path(), &env, &["data", "store.path"]).await;
}

#[tokio::test]
async fn a_read_only_mount_is_refused() {
    let Some(tmpfs) = Tmpfs::mount("size=16m") else {
        return;
    };
    tmpfs.remount("ro");
    let dir = configured(tmpfs.path("data").to_str().unwrap());
    refuses(dir.path(), &[], &["data", "store.path"]).await;
}

#[tokio::test]
async fn a_disk_without_room_is_refused() {
    let disk = FaultyDisk::new();
    disk.has_room_for(0);
    let dir = configured("./data");
    let env = disk.env();
    let env: Vec<_> = env.iter().map(|(n, v)| (*n, v.as_str())).collect();
    refuses(dir.path(), &env, &["data", "store.path", "free space"]).await;
}

#[tokio::test]
async fn a_full_mount_is_refused() {
    let Some(tmpfs) = Tmpfs::mount("size=1m") else {
        return;
    };
    tmpfs.ballast(2 << 20);
    let dir = configured(tmpfs.path("data").to_str().unwrap());
    refuses(dir.path(), &[], &["data", "store.path", "free space"]).await;
}

#[tokio::test]
async fn a_store_in_use_is_refused_and_its_server_goes_on() {
    let origin = oracle().await;
    let proxy = proxy_before(&origin).await;
    let questions: Vec<_> = (0..20).map(|n| Question::of(n, 3_000)).collect();
    ask_truly(&proxy, 4, questions.clone()).await;
    let said = Said::from_now(&proxy.process);
    let dir = configured(proxy.path("data").to_str().unwrap());
    refuses(dir.path(), &[], &["data", "store.path", "another"]).await;
    assert_eq!(hits_among(&proxy, questions).await.len(), 20);
    ask_truly(&proxy, 4, (20..40).map(|n| Question::of(n, 3_000))).await;
    proxy.reaches("llm_cache_store_writes_total", 40.0).await;
    let lines = said.lines(&proxy.process);
    assert!(lines.is_empty(), "{lines:#?}");
}

/// A database is only set aside for what is wrong with it, not for what is wrong with the disk.
#[tokio::test]
async fn a_disk_that_cannot_be_written_at_start_costs_no_entry() {
    for (error, room) in [
        (Some(Errno::EROFS), None),
        (Some(Errno::EACCES), None),
        (None, Some(0)),
    ] {
        let disk = FaultyDisk::new();
        let origin = oracle().await;
        let mut proxy = proxy_on(&disk, &origin).await;
        let questions: Vec<_> = (0..30).map(|n| Question::of(n, 5_000)).collect();
        ask_truly(&proxy, 4, questions.clone()).await;
        proxy.reaches("llm_cache_store_writes_total", 30.0).await;
        proxy.sigterm();
        proxy.exits_within(ms(20_000)).await;
        disk.fails_writes(error);
        if let Some(room) = room {
            disk.has_room_for(room);
        }
        proxy.begin_again();
        let status = proxy.exits_within(ms(20_000)).await;
        assert_eq!(status.code(), Some(64), "{error:?} {room:?}");
        disk.mends();
        proxy.start_again().await;
        let hits = hits_among(&proxy, questions).await.len();
        assert_eq!(hits, 30, "{error:?} {room:?}");
    }
}

/// With little room the database may open or not; both are fine, losing entries is not.
#[tokio::test]
async fn a_disk_that_fills_up_while_a_server_starts_costs_no_entry() {
    for room in [1, 100, 5_000, 100_000, 1_000_000, 5_000_000] {
        let disk = FaultyDisk::new();
        let origin = oracle().await;
        let mut proxy = proxy_on(&disk, &origin).await;
        let questions: Vec<_> = (0..30).map(|n| Question::of(n, 5_000)).collect();
        ask_truly(&proxy, 4, questions.clone()).await;
        proxy.reaches("llm_cache_store_writes_total", 30.0).await;
        // The log is there to be replayed.
        proxy.kill9();
        proxy.exits_within(ms(5_000)).await;
        disk.has_room_for(room);
        proxy.begin_again();
        let state = within(ms(20_000), "the server is up or down", || {
            let ended = proxy.process.exited();
            let admin = proxy.admin;
            async move {
                match (ended, try_get(admin, "/readyz").await) {
                    (Some(status), _) => Ok(status.code()),
                    (None, Ok(200)) => Ok(None),
                    (None, other) => Err(format!("{other:?}")),
                }
            }
        })
        .await;
        println!("room for {room} bytes: {state:?}");
        match state {
            Some(code) => assert_eq!(code, 64),
            None => {
                let seen = ask_truly(&proxy, 4, questions.clone()).await;
                println!("  {seen:?}");
                proxy.kill9();
                proxy.exits_within(ms(5_000)).await;
            }
        }
        disk.mends();
        proxy.start_again().await;
        let hits = hits_among(&proxy, questions).await.len();
        assert_eq!(hits, 30, "room for {room}");
    }
}
