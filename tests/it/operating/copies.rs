//! Checkpoint and restore.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;

/// Runs `restore` for the store of a server.
async fn restore(proxy: &Proxy, from: &Path) -> (Option<i32>, String) {
    let dir = tempfile::TempDir::new().unwrap();
    let (config, store) = (proxy.path("config.yaml"), proxy.path("data"));
    let args = [
        "restore",
        from.to_str().unwrap(),
        "--config",
        config.to_str().unwrap(),
    ];
    let env = [("LLM_CACHE__STORE__PATH", store.to_str().unwrap())];
    let run = command(dir.path(), &args, &env).await;
    (run.code, run.stdout + &run.stderr)
}

async fn stop(proxy: &mut Proxy) {
    proxy.sigterm();
    assert!(proxy.exits_within(ms(20_000)).await.success());
}

/// Too long to lie in a table.
fn long_answer(call: &Call) -> Reply {
    let mut answer = llm::chat_value(call);
    let long: String = (0..4000).map(|n| format!("{n} ")).collect();
    answer["choices"][0]["message"]["content"] = json!(long);
    Reply::json(200, answer)
}

async fn copied(proxy: &Proxy, name: &str) -> PathBuf {
    let copy = proxy.path(name);
    let asked = post("/cache/checkpoint", &json!({"directory": copy}));
    operate(proxy, asked).await.is_clean(200);
    copy
}

/// Names and bytes of all files below a directory, LOG files left out.
fn files(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .filter(|(name, _)| !name.starts_with("LOG") && name != "LOCK")
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_copy_brings_back_what_was_there_when_it_was_made() {
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    let before = chat("before the copy");
    let large = chat_stream("large");
    let first = proxy.ask(&before).await;
    first.is(200, "miss");
    proxy.ask(&large).await.is(200, "miss");
    written(&proxy, 2).await;
    let copy = proxy.path("copy");
    let asked = post("/cache/checkpoint", &json!({"directory": copy}));
    let answer = operate(&proxy, asked.clone()).await;
    answer.is_clean(200);
    assert_eq!(answer.json()["directory"], copy.to_str().unwrap());
    assert_eq!(
        fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert!(!proxy.path("copy.partial").exists());
    operate(&proxy, asked).await.is_error(400);
    // The server goes on; what comes later is not in the copy, and a purge does not reach it.
    proxy.ask(&chat("after the copy")).await.is(200, "miss");
    purge(&proxy, &json!({"all": true})).await;
    proxy.ask(&before).await.is(200, "miss");
    written(&proxy, 1).await;
    let (code, said) = restore(&proxy, &copy).await;
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("a server uses"), "{said}");
    stop(&mut proxy).await;
    let (code, said) = restore(&proxy, &copy).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("2 entries"), "{said}");
    let left: Vec<_> = fs::read_dir(proxy.path("data"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    proxy.start_again().await;
    let hit = proxy.ask(&before).await;
    hit.is(200, "hit");
    assert_eq!(hit.body, first.body);
    proxy.ask(&large).await.is(200, "hit");
    proxy.ask(&chat("after the copy")).await.is(200, "miss");
    // A copy can be used again.
    stop(&mut proxy).await;
    assert_eq!(restore(&proxy, &copy).await.0, Some(0));
}

#[tokio::test]
async fn a_checkpoint_by_the_command_line_takes_paths_as_the_shell_does() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    proxy.ask(&chat("copied")).await.is(200, "miss");
    written(&proxy, 1).await;
    let dir = tempfile::TempDir::new().unwrap();
    let config = proxy.path("config.yaml");
    let args = ["checkpoint", "copy", "--config", config.to_str().unwrap()];
    let run = command(dir.path(), &args, &[]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(dir.path().join("copy/CURRENT").exists(), "{run:?}");
    let store = dir.path().join("copy");
    let env = [("LLM_CACHE__STORE__PATH", store.to_str().unwrap())];
    let args = [
        "stats",
        "--offline",
        "--json",
        "--config",
        config.to_str().unwrap(),
    ];
    let run = command(dir.path(), &args, &env).await;
    let stats: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(stats["entries"], 1);
}

#[tokio::test]
async fn what_is_no_copy_is_refused_and_the_store_is_as_it_was() {
    let origin = origin().answer(long_answer).start().await;
    let mut proxy = proxy_before(&origin).await;
    proxy.ask(&chat("stays")).await.is(200, "miss");
    written(&proxy, 1).await;
    let good = proxy.path("good");
    let asked = post("/cache/checkpoint", &json!({"directory": good}));
    operate(&proxy, asked).await.is_clean(200);
    stop(&mut proxy).await;
    let store = proxy.path("data");
    let before = files(&store);
    let make = |name: &str, change: &dyn Fn(&Path)| {
        let path = proxy.path(name);
        fs::create_dir(&path).unwrap();
        for (name, bytes) in files(&good) {
            fs::write(path.join(name), bytes).unwrap();
        }
        change(&path);
        path
    };
    let of_kind = |path: &Path, end: &str| {
        let names = files(path).into_iter().map(|(name, _)| name);
        let names: Vec<_> = names.filter(|name| name.contains(end)).collect();
        assert!(!names.is_empty(), "no {end} in {}", path.display());
        names
    };
    let empty = proxy.path("empty");
    fs::create_dir(&empty).unwrap();
    for (from, word) in [
        (proxy.path("nowhere"), "cannot be read"),
        (empty, "there is none"),
        (proxy.path("config.yaml"), "there is none"),
        (store.clone(), "within each other"),
        (proxy.path(""), "within each other"),
        (
            make("without-tables", &|path| {
                for name in of_kind(path, ".sst") {
                    fs::remove_file(path.join(name)).unwrap();
                }
            }),
            "cannot open",
        ),
        (
            make("without-blobs", &|path| {
                for name in of_kind(path, ".blob") {
                    fs::remove_file(path.join(name)).unwrap();
                }
            }),
            "records cannot be read",
        ),
        (
            make("with-empty-blobs", &|path| {
                for name in of_kind(path, ".blob") {
                    fs::write(path.join(name), "").unwrap();
                }
            }),
            "cannot be read",
        ),
        (
            make("without-manifest", &|path| {
                for name in of_kind(path, "MANIFEST") {
                    fs::write(path.join(name), "no manifest").unwrap();
                }
            }),
            "cannot open",
        ),
        (
            make("foreign", &|path| {
                fs::write(path.join("CURRENT"), "foreign\n").unwrap();
            }),
            "cannot open",
        ),
    ] {
        let (code, said) = restore(&proxy, &from).await;
        assert_eq!(code, Some(64), "{}: {said}", from.display());
        assert!(said.contains(word), "{}: {said}", from.display());
        assert_eq!(files(&store), before, "{}", from.display());
        assert!(!store.join("restore.partial").exists());
    }
    proxy.start_again().await;
    proxy.ask(&chat("stays")).await.is(200, "hit");
}

#[tokio::test]
async fn a_copy_can_be_put_where_there_was_no_store() {
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    proxy.ask(&chat("moved")).await.is(200, "miss");
    written(&proxy, 1).await;
    let copy = proxy.path("copy");
    let asked = post("/cache/checkpoint", &json!({"directory": copy}));
    operate(&proxy, asked).await.is_clean(200);
    stop(&mut proxy).await;
    fs::remove_dir_all(proxy.path("data")).unwrap();
    let (code, said) = restore(&proxy, &copy).await;
    assert_eq!(code, Some(0), "{said}");
    proxy.start_again().await;
    proxy.ask(&chat("moved")).await.is(200, "hit");
}

/// Moves files of a database until so many have gone; the one that makes it a database goes first or
/// last.
fn move_some(from: &Path, to: &Path, count: usize, current_first: bool) {
    let mut names: Vec<_> = files(from).into_iter().map(|(name, _)| name).collect();
    names.retain(|name| !name.starts_with("restore."));
    names.sort_by_key(|name| (name == "CURRENT") != current_first);
    for name in names.iter().take(count) {
        fs::rename(from.join(name), to.join(name)).unwrap();
    }
}

/// A restore can end at any moment: of the two databases there is always one, the old one or the new one.
#[tokio::test]
async fn a_restore_that_was_broken_off_is_run_again_and_nothing_is_lost() {
    const ALL: usize = usize::MAX;
    let origin = origin().answer(long_answer).start().await;
    let mut proxy = proxy_before(&origin).await;
    proxy.ask(&chat("in the copy")).await.is(200, "miss");
    written(&proxy, 1).await;
    let copy = copied(&proxy, "copy").await;
    purge(&proxy, &json!({"all": true})).await;
    proxy.ask(&chat("not in the copy")).await.is(200, "miss");
    written(&proxy, 1).await;
    stop(&mut proxy).await;
    let store = proxy.path("data");
    let kept = proxy.path("kept");
    fs::create_dir(&kept).unwrap();
    let fill = |to: &Path, from: &Path| {
        for (name, bytes) in files(from) {
            fs::write(to.join(name), bytes).unwrap();
        }
    };
    fill(&kept, &store);
    let before = files(&store);
    let (stage, partial, old) = (
        store.join("restore.partial"),
        store.join("restore.before.partial"),
        store.join("restore.before"),
    );
    let bad = proxy.path("bad");
    fs::create_dir(&bad).unwrap();
    for (set_aside, put_in) in [
        (None, 0),
        (Some(0), 0),
        (Some(1), 0),
        (Some(3), 0),
        (Some(ALL), 0),
        (Some(ALL), 1),
        (Some(ALL), 3),
        (Some(ALL), ALL),
    ] {
        for good in [false, true] {
            let story = format!("{set_aside:?} {put_in} {good}");
            fs::remove_dir_all(&store).unwrap();
            fs::create_dir(&store).unwrap();
            fill(&store, &kept);
            fs::create_dir(&stage).unwrap();
            fill(&stage, &copy);
            fs::write(store.join("restore.under-way"), "").unwrap();
            if let Some(count) = set_aside {
                fs::create_dir(&partial).unwrap();
                move_some(&store, &partial, count, true);
            }
            if set_aside == Some(ALL) {
                fs::rename(&partial, &old).unwrap();
                move_some(&stage, &store, put_in, false);
            }
            proxy.begin_again();
            let status = proxy.exits_within(ms(20_000)).await;
            assert_eq!(status.code(), Some(64), "{story}");
            let said = proxy.process.output();
            assert!(said.contains("run it again"), "{story}: {said}");
            let from = if good { &copy } else { &bad };
            let (code, said) = restore(&proxy, from).await;
            if good {
                assert_eq!(code, Some(0), "{story}: {said}");
            } else {
                assert_eq!(code, Some(64), "{story}: {said}");
                assert_eq!(files(&store), before, "{story}");
            }
            for left in [&stage, &partial, &old] {
                assert!(!left.exists(), "{story}: {}", left.display());
            }
            proxy.start_again().await;
            let cached = |ask: Ask| ask.cache_control("only-if-cached");
            let expected = |there: bool| if there { 200 } else { 504 };
            for (ask, there) in [
                (chat("in the copy"), good),
                (chat("not in the copy"), !good),
            ] {
                let answer = proxy.ask(&cached(ask)).await;
                assert_eq!(answer.head.status, expected(there), "{story}");
            }
            stop(&mut proxy).await;
        }
    }
}

#[tokio::test]
async fn what_a_restore_left_that_changed_nothing_is_removed_at_the_start() {
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    proxy.ask(&chat("stays")).await.is(200, "miss");
    written(&proxy, 1).await;
    stop(&mut proxy).await;
    let left = ["restore.partial", "restore.before"].map(|name| proxy.path("data").join(name));
    for directory in &left {
        fs::create_dir(directory).unwrap();
        fs::write(directory.join("000001.sst"), vec![1; 1 << 20]).unwrap();
    }
    // A look changes nothing.
    let store = proxy.path("data");
    let env = [("LLM_CACHE__STORE__PATH", store.to_str().unwrap())];
    let config = proxy.path("config.yaml");
    let args = ["stats", "--offline", "--config", config.to_str().unwrap()];
    let run = command(&proxy.path(""), &args, &env).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(left.iter().all(|directory| directory.exists()));
    proxy.start_again().await;
    assert!(left.iter().all(|directory| !directory.exists()));
    proxy.ask(&chat("stays")).await.is(200, "hit");
    let metrics = proxy.metrics().await;
    let bytes = metrics.value("llm_cache_store_bytes{tier=\"disk\"}");
    assert!(bytes < f64::from(1 << 20), "{bytes}");
}

#[tokio::test]
async fn a_copy_takes_the_place_of_what_one_left_that_was_broken_off_and_of_nothing_else() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    proxy.ask(&chat("copied")).await.is(200, "miss");
    written(&proxy, 1).await;
    for inside in ["db", "db.tmp", "mine"] {
        let partial = proxy.path(&format!("{inside}.copy.partial"));
        fs::create_dir_all(partial.join(inside)).unwrap();
        fs::write(partial.join(inside).join("000001.sst"), "half").unwrap();
        // With a slash at the end, too.
        let to = format!("{}/", proxy.path(&format!("{inside}.copy")).display());
        let asked = post("/cache/checkpoint", &json!({"directory": to}));
        let answer = operate(&proxy, asked).await;
        if inside == "mine" {
            answer.is_error(400);
            assert!(partial.join("mine/000001.sst").exists());
        } else {
            answer.is_clean(200);
            assert!(Path::new(&to).join("CURRENT").exists());
            assert!(!partial.exists());
        }
    }
}

#[tokio::test]
async fn a_relative_store_is_named_in_full_and_not_made_somewhere_else() {
    let origin = origin().start().await;
    let mut proxy = proxy_before(&origin).await;
    proxy.ask(&chat("copied")).await.is(200, "miss");
    written(&proxy, 1).await;
    let copy = copied(&proxy, "copy").await;
    stop(&mut proxy).await;
    let config = proxy.path("config.yaml");
    let args = [
        "restore",
        copy.to_str().unwrap(),
        "--config",
        config.to_str().unwrap(),
    ];
    let env = [("LLM_CACHE__STORE__PATH", "./data")];
    let elsewhere = tempfile::TempDir::new().unwrap();
    let run = command(elsewhere.path(), &args, &env).await;
    assert_eq!(run.code, Some(64), "{run:?}");
    let there = elsewhere.path().canonicalize().unwrap().join("data");
    assert!(run.stderr.contains(there.to_str().unwrap()), "{run:?}");
    assert!(!there.exists());
    let run = command(&proxy.path(""), &args, &env).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let store = proxy.path("data").canonicalize().unwrap();
    assert!(run.stdout.contains(store.to_str().unwrap()), "{run:?}");
    let args = ["stats", "--offline", "--config", config.to_str().unwrap()];
    let run = command(elsewhere.path(), &args, &env).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains(there.to_str().unwrap()), "{run:?}");
}
