//! Defaults, file, environment and flags laid over one another, key by key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::key::{self, KEYS, Key};
use crate::load::Flag;
use crate::nearest::nearest;
use crate::{ConfigErrors, Problem};

/// Variables that Lore reads elsewhere, so they are not settings.
const OTHER_VARIABLES: [&str; 3] = ["LORE_CONFIG", "LORE_URL", "LORE_COLLECTION"];

/// Letters that a slip of the fingers changes.
const TYPO: usize = 2;

/// Who said a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: the code's default.
    Default,
    /// This configuration file.
    File(PathBuf),
    /// This environment variable.
    Variable(String),
    /// This command-line flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One setting as it was decided, for `lore doctor` and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `section.key`.
    pub key: &'static str,
    /// The value as TOML; `***` where the key is secret and set.
    pub value: String,
    /// Who said it.
    pub origin: Origin,
}

/// The winning value of every key so far.
pub(crate) struct Layers {
    values: BTreeMap<&'static str, (Value, Origin)>,
    pub(crate) problems: Vec<Problem>,
}

impl Layers {
    pub(crate) fn defaults() -> Self {
        let values = KEYS
            .iter()
            .map(|key| (key.name, (key.default.to_value(), Origin::Default)))
            .collect();
        Self {
            values,
            problems: Vec::new(),
        }
    }

    pub(crate) fn get(&self, key: &'static str) -> (Value, Origin) {
        self.values
            .get(key)
            .cloned()
            .unwrap_or((Value::String(String::new()), Origin::Default))
    }

    pub(crate) fn merge_file(&mut self, path: &Path) -> Result<(), ConfigErrors> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigErrors::Read {
            path: path.to_owned(),
            source,
        })?;
        let table: Table = toml::from_str(&text).map_err(|error| ConfigErrors::Syntax {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        for (section, value) in table {
            self.merge_section(&section, value, path);
        }
        Ok(())
    }

    fn merge_section(&mut self, section: &str, value: Value, path: &Path) {
        if !KEYS.iter().any(|key| key.parts().0 == section) {
            return self.problems.push(unknown_section(section));
        }
        let Value::Table(table) = value else {
            let what = format!("is {}, not a section", value.type_str());
            return self.problems.push(Problem::new(
                section,
                what,
                format!("write it as `[{section}]`"),
            ));
        };
        for (name, value) in table {
            self.set(
                &format!("{section}.{name}"),
                value,
                Origin::File(path.to_owned()),
            );
        }
    }

    fn set(&mut self, name: &str, value: Value, origin: Origin) {
        match key::find(name) {
            Some(key) => {
                self.values.insert(key.name, (value, origin));
            }
            None => self.problems.push(unknown_key(name)),
        }
    }

    /// Takes every `LORE_…` variable that is not empty. One that is no setting is refused where it looks like a mistyped
    /// one and left alone otherwise, because other programs may use the prefix.
    pub(crate) fn merge_env(&mut self, env: &BTreeMap<String, String>) {
        let (short, long): (Vec<_>, Vec<_>) = env
            .iter()
            .filter(|(name, value)| is_ours(name) && !value.is_empty())
            .partition(|(name, _)| find_short(name).is_some());
        for (name, value) in short.into_iter().chain(long) {
            self.merge_variable(name, value);
        }
    }

    fn merge_variable(&mut self, name: &str, value: &str) {
        let key = find_short(name).or_else(|| KEYS.iter().find(|key| key.variable() == name));
        match key {
            Some(key) => {
                let value = Value::String(value.to_owned());
                self.values
                    .insert(key.name, (value, Origin::Variable(name.to_owned())));
            }
            None => self.problems.extend(unknown_variable(name)),
        }
    }

    pub(crate) fn merge_flags(&mut self, flags: &[Flag]) {
        for flag in flags {
            self.set(
                &flag.key,
                Value::String(flag.value.clone()),
                Origin::Flag(flag.name.clone()),
            );
        }
    }

    /// Every key with its value, in the order of [`KEYS`], secrets hidden.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        KEYS.iter().map(|key| self.setting(key)).collect()
    }

    fn setting(&self, key: &'static Key) -> Setting {
        let (value, origin) = self.get(key.name);
        let hidden = key.secret && origin != Origin::Default;
        let value = if hidden {
            "***".to_owned()
        } else {
            value.to_string()
        };
        Setting {
            key: key.name,
            value,
            origin,
        }
    }
}

fn is_ours(variable: &str) -> bool {
    variable.starts_with("LORE_") && !OTHER_VARIABLES.contains(&variable)
}

fn find_short(variable: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.short_variable == Some(variable))
}

/// A third of the name, at least [`TYPO`].
fn third(name: &str) -> usize {
    (name.chars().count() / 3).max(TYPO)
}

fn unknown_section(section: &str) -> Problem {
    let sections = KEYS.iter().map(|key| key.parts().0);
    let remedy = match nearest(section, third(section), sections) {
        Some(near) => format!("did you mean `[{near}]`?"),
        None => "remove it; configs/lore.toml lists every section".to_owned(),
    };
    Problem::new(section, "is not a section", remedy)
}

fn unknown_key(name: &str) -> Problem {
    let remedy = match nearest(name, third(name), KEYS.iter().map(|key| key.name)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "remove it; configs/lore.toml lists every key".to_owned(),
    };
    Problem::new(name, "is not a setting", remedy)
}

fn unknown_variable(name: &str) -> Option<Problem> {
    let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
    let short = KEYS.iter().filter_map(|key| key.short_variable);
    let near = nearest(name, TYPO, known.iter().map(String::as_str).chain(short))?;
    Some(Problem::new(
        name,
        "is not a setting",
        format!("did you mean `{near}`?"),
    ))
}
