use crate::exit::Failure;
use console::StyledObject;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Where a command writes: results to stdout, everything said about them to stderr.
///
/// # Guarantees
/// With `--json`, stdout gets the API's own objects and nothing else. A reader that goes away, as `head` does, ends the
/// command quietly.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// Results as JSON, or for a person.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether results are JSON.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Whether a person watches stdout, so that text may appear bit by bit.
    pub fn is_live(self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// Whether questions can be put to a person.
    pub fn can_ask(self) -> bool {
        !self.json && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Prints `value` as JSON where asked for, else calls `show`.
    pub fn object<T: Serialize>(
        self,
        value: &T,
        show: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.json { self.json(value) } else { show() }
    }

    /// Prints `value` as indented JSON.
    pub fn json<T: Serialize>(self, value: &T) -> Result<(), Failure> {
        let text =
            serde_json::to_string_pretty(value).map_err(|error| Failure::new(error.to_string()))?;
        self.line(text)
    }

    /// Prints `value` as JSON on one line: an element of a stream.
    pub fn json_line<T: Serialize>(self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| Failure::new(error.to_string()))?;
        self.line(text)
    }

    /// One line on stdout.
    pub fn line(self, text: impl Display) -> Result<(), Failure> {
        self.raw(format!("{text}\n"))
    }

    /// Text on stdout as it is, visible at once.
    pub fn raw(self, text: impl AsRef<str>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = out
            .write_all(text.as_ref().as_bytes())
            .and_then(|()| out.flush());
        written.map_err(|error| Failure::output(&error))
    }

    /// One line on stderr. A closed stderr is no reason to stop.
    pub fn note(self, text: impl Display) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

/// Styles for stdout; they vanish where stdout is no terminal or `NO_COLOR` is set.
pub fn paint<D: Display>(text: D) -> StyledObject<D> {
    console::style(text)
}

/// Styles for stderr.
pub fn paint_note<D: Display>(text: D) -> StyledObject<D> {
    console::style(text).for_stderr()
}
