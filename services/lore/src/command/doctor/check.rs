use crate::exit::Failure;
use crate::terminal::{Output, paint};
use serde::Serialize;

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Well.
    Ok,
    /// Lore works, but not everything will.
    Doubtful,
    /// Lore, or a part of it, does not work.
    Bad,
}

/// What one check found.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Check {
    /// All is well.
    pub fn ok(name: &str, found: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            state: State::Ok,
            found: found.into(),
            fix: None,
        }
    }

    /// Something will not work.
    pub fn doubtful(name: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            state: State::Doubtful,
            found: found.into(),
            fix: Some(fix.into()),
        }
    }

    /// Something does not work.
    pub fn bad(name: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            state: State::Bad,
            ..Self::doubtful(name, found, fix)
        }
    }

    /// Prints it with its remedy.
    pub fn print(&self, output: Output) -> Result<(), Failure> {
        let mark = match self.state {
            State::Ok => paint("ok  ").green(),
            State::Doubtful => paint("??  ").yellow(),
            State::Bad => paint("BAD ").red().bold(),
        };
        output.line(format!(
            "{mark} {}: {}",
            paint(&self.name).bold(),
            self.found
        ))?;
        self.fix
            .iter()
            .try_for_each(|fix| output.line(format!("      {} {fix}", paint("fix:").cyan())))
    }
}
