//! A disk that is full, made by a limit on the size of files in a child process.

use crate::tiny;
use lore_trainer::run::{Ask, Checkpoints, Hooks, Setup, train};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Says to the child where it works.
const FOLDER: &str = "LORE_TEST_FULL_DISK";

#[test]
fn a_full_disk_ends_the_run_with_that_reason_and_the_last_checkpoint() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return child(&PathBuf::from(folder));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let job = folder.path().join("job");
    let run = |limit: &str| {
        // `ulimit -f` counts blocks of 512 or 1024 bytes; without the trap the signal would kill the child.
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
        let name = "disk::a_full_disk_ends_the_run_with_that_reason_and_the_last_checkpoint";
        let output = Command::new("sh")
            .args(["-c", &script])
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", name, "--nocapture"])
            .env(FOLDER, folder.path())
            .output()
            .expect("a child");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // The base's file is larger than the limit, so it is written before.
    tiny::write(&folder.path().join("base"), 11);
    // The adapter fits into the file limit, the optimiser's state, twice as large, does not.
    let text = run("40");
    assert!(text.contains("code disk_full"), "{text}");
    let (newest, _) = Checkpoints::new(job.join("checkpoints"))
        .newest()
        .expect("checkpoints");
    assert_eq!(
        newest.map(|state| state.step),
        None,
        "no half checkpoint is there"
    );
    assert!(
        !job.join("checkpoints/partial").exists(),
        "what was written of it is gone"
    );
    let text = run("unlimited");
    assert!(text.contains("done after step 2"), "{text}");
}

/// Trains two steps, and says how that ended.
fn child(folder: &Path) {
    let base = folder.join("base");
    let source = lore_model::Source::open(&base).expect("a model");
    let device = lore_model::Device::Cpu;
    let decoder = lore_model::Decoder::load(&source, None, 1, &device).expect("a model");
    let mut settings = tiny::settings();
    settings.max_steps = Some(2);
    let (data, job) = (tiny::data(7), folder.join("job"));
    std::fs::create_dir_all(&job).expect("a folder");
    let setup = Setup {
        decoder: &decoder,
        base: "tiny",
        settings: &settings,
        data: &data,
        start: None,
        folder: &job,
        memory_limit: None,
    };
    let mut hooks = Hooks {
        ask: Box::new(|| Ask::Go),
        tell: Box::new(|_| ()),
    };
    match train(&setup, &mut hooks) {
        Ok(lore_trainer::run::Ended::Done(state)) => println!("done after step {}", state.step),
        Ok(other) => println!("{other:?}"),
        Err(error) => println!("code {}: {}", error.code(), error.reason().message),
    }
}
