//! A process that is killed in the middle of a pull. This test program is its own child: the child is the ignored test.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use lore_models::{ModelError, silent};

use crate::support::{catalogue, local, store, tree};

const FOLDER: &str = "LORE_MODELS_KILL_TEST";

fn content() -> Vec<u8> {
    (0..1_000_000u32).flat_map(u32::to_le_bytes).collect()
}

/// Pulls from the pipe `origin` until it is killed.
#[tokio::test]
#[ignore = "the child of a_killed_process_leaves_nothing_that_looks_whole"]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let store = store(
        &folder.join("models"),
        catalogue(&content(), &local(&folder.join("origin"))),
    );
    store.pull("m", &silent()).await.unwrap();
}

fn spawn(folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "kill::child", "--ignored"])
        .env(FOLDER, folder);
    command.spawn().unwrap()
}

#[tokio::test]
async fn a_killed_process_leaves_nothing_that_looks_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (origin, content) = (dir.path().join("origin"), content());
    let made = Command::new("mkfifo").arg(&origin).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: this machine has no mkfifo");
        return;
    }
    let mut child = spawn(dir.path());
    let mut pipe = std::fs::OpenOptions::new()
        .write(true)
        .open(&origin)
        .unwrap();
    pipe.write_all(&content[..content.len() / 2]).unwrap();
    let part = dir.path().join("models/m/model.gguf.part");
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::fs::metadata(&part).map_or(0, |found| found.len()) == 0 {
        assert!(Instant::now() < deadline, "the child writes nothing");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    drop(pipe);
    std::fs::remove_file(&origin).unwrap();
    std::fs::write(&origin, &content).unwrap();
    let store = store(
        &dir.path().join("models"),
        catalogue(&content, &local(&origin)),
    );
    assert!(matches!(store.path("m"), Err(ModelError::NotPulled { .. })));
    store.pull("m", &silent()).await.unwrap();
    assert_eq!(tree(store.dir()), ["m/model.gguf"]);
    assert_eq!(
        std::fs::read(dir.path().join("models/m/model.gguf")).unwrap(),
        content
    );
}
