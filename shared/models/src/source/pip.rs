//! `pip download`, one package at a time.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::error::{SourceError, io};

const POLL: Duration = Duration::from_millis(200);
const CANDIDATES: [&[&str]; 4] = [
    &["python3", "-m", "pip"],
    &["python", "-m", "pip"],
    &["pip3"],
    &["pip"],
];

/// The pip of this machine, found at its first use.
pub(crate) struct Pip {
    given: Vec<String>,
    arguments: Vec<String>,
    found: OnceCell<Vec<String>>,
}

/// One wheel to download.
pub(crate) struct Wheel<'a> {
    pub(crate) package: &'a str,
    pub(crate) version: &'a str,
    pub(crate) python: Option<&'a str>,
    pub(crate) platform: Option<&'a str>,
}

impl Wheel<'_> {
    pub(crate) fn requirement(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }
}

impl Pip {
    pub(crate) fn new(given: Vec<String>, arguments: Vec<String>) -> Self {
        Self {
            given,
            arguments,
            found: OnceCell::new(),
        }
    }

    /// Downloads one wheel into the empty folder `into`, telling the bytes that are there now and then, and gives its path.
    ///
    /// pip's own configuration (index, proxy, certificates) is honoured. pip's cache is not used: the store is one. Where
    /// the caller goes away, pip is killed.
    pub(crate) async fn download(
        &self,
        wheel: &Wheel<'_>,
        into: &Path,
        tell: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<PathBuf, SourceError> {
        let mut command = self.command(wheel, into).await?;
        let failed = |reason: String| SourceError::Pip {
            package: wheel.requirement(),
            reason,
        };
        let child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let mut output = std::pin::pin!(child.wait_with_output());
        let output = loop {
            tokio::select! {
                output = &mut output => break output.map_err(|error| failed(error.to_string()))?,
                () = tokio::time::sleep(POLL) => tell(folder_size(into)),
            }
        };
        if !output.status.success() {
            return Err(failed(last_words(&output)));
        }
        only_wheel(into)?.ok_or_else(|| failed("it said nothing, but there is no wheel".to_owned()))
    }

    async fn command(&self, wheel: &Wheel<'_>, into: &Path) -> Result<Command, SourceError> {
        let pip = self.find().await?;
        let mut command = run(pip);
        command.args([
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--no-cache-dir",
        ]);
        command
            .args([
                "--disable-pip-version-check",
                "--no-input",
                "--progress-bar=off",
                "--dest",
            ])
            .arg(into);
        if let Some(python) = wheel.python {
            command.args(["--implementation", "cp", "--python-version", python]);
        }
        if let Some(platform) = wheel.platform {
            command.args(["--platform", platform]);
        }
        command.args(&self.arguments).arg(wheel.requirement());
        // pip writes below its temporary folder first; in `into` its growth can be seen, and is cleaned up with it.
        command.env("TMPDIR", into);
        // Nothing is installed, so a rule to install only into virtual environments does not apply.
        command.env("PIP_REQUIRE_VIRTUALENV", "0");
        Ok(command)
    }

    async fn find(&self) -> Result<&Vec<String>, SourceError> {
        self.found.get_or_try_init(|| self.search()).await
    }

    async fn search(&self) -> Result<Vec<String>, SourceError> {
        let candidates: Vec<Vec<String>> = if self.given.is_empty() {
            CANDIDATES
                .iter()
                .map(|words| words.iter().map(|word| (*word).to_owned()).collect())
                .collect()
        } else {
            vec![self.given.clone()]
        };
        for candidate in &candidates {
            let works = run(candidate)
                .arg("--version")
                .status()
                .await
                .is_ok_and(|status| status.success());
            if works {
                return Ok(candidate.clone());
            }
        }
        let tried: Vec<String> = candidates.iter().map(|words| words.join(" ")).collect();
        Err(SourceError::NoPip {
            tried: tried.join(", "),
        })
    }
}

fn run(words: &[String]) -> Command {
    let (program, arguments) = words
        .split_first()
        .map_or(("pip", &[][..]), |(first, rest)| (first.as_str(), rest));
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Bytes of all files below a folder that may be changing.
fn folder_size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => folder_size(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

/// The last line that pip marked as an error, else its last line, at most 300 characters.
fn last_words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines()
        .rfind(|line| line.starts_with("ERROR:"))
        .or_else(|| lines().next_back());
    let line = line.map_or_else(|| output.status.to_string(), str::to_owned);
    line.trim_start_matches("ERROR:")
        .trim()
        .chars()
        .take(300)
        .collect()
}

fn only_wheel(folder: &Path) -> Result<Option<PathBuf>, SourceError> {
    let entries = std::fs::read_dir(folder).map_err(io("read", folder))?;
    Ok(entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|suffix| suffix == "whl")))
}
