//! Checkpoint and restore.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
    let origin = origin().start().await;
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
