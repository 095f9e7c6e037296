//! Running `lore` with nothing of the caller's environment but the models.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A home of its own for commands and servers.
pub struct Home {
    dir: TempDir,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

impl Home {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a folder"),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A file in this home.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// `lore` in this home.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lore"));
        command
            .env_clear()
            .env("HOME", self.path())
            .current_dir(self.path())
            .stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("LORE_DATA_DIR", self.path().join("data"))
            .env("LORE_LISTEN", "127.0.0.1:0");
        command.env("LORE_MODELS_DIR", models_dir());
        command
    }

    /// Runs `lore ARGS` to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        ran(self.command().args(args))
    }

    /// Runs `lore ARGS`, which has to succeed, and reads its stdout as JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(&[args, &["--json"]].concat());
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
        serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", ran.stdout))
    }
}

/// Runs a prepared command to its end. No command may show a panic.
pub fn ran(command: &mut Command) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("lore runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let ran = Ran {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    };
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    ran
}

/// The models of whoever runs the tests.
pub fn models_dir() -> PathBuf {
    let set = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| !path.as_os_str().is_empty())
    };
    set("LORE_MODELS_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("lore/models")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/lore/models")))
        .expect("a folder of models")
}
