//! What a configuration is made from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::check::check;
use crate::layers::Layers;
use crate::{Config, ConfigErrors};

/// The layers above the defaults. Later ones win: file, environment, flags.
///
/// ```
/// use lore_config::{Config, LoadOptions};
/// let options = LoadOptions::default().env([("HOME", "/home/ada")]).flag("--listen", "server.listen", "127.0.0.1:0");
/// let config = Config::load(options)?;
/// assert_eq!(config.server.listen.port(), 0);
/// # Ok::<(), lore_config::ConfigErrors>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    file: Option<PathBuf>,
    env: BTreeMap<String, String>,
    flags: Vec<Flag>,
}

/// One command-line flag that stands for a key.
#[derive(Debug, Clone)]
pub(crate) struct Flag {
    /// As typed, for example `--listen`.
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) value: String,
}

impl LoadOptions {
    /// Reads this file; it must exist.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Reads these variables: the `LORE_…` ones as settings, `HOME` and `XDG_…` for the default folders.
    #[must_use]
    pub fn env<K: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.env.extend(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        self
    }

    /// Reads the variables of this process. Bytes that are not UTF-8 become `\u{fffd}`, so such a value is refused by its
    /// key like any other wrong one.
    #[must_use]
    pub fn process_env(self) -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        self.env(variables)
    }

    /// Sets `key` from the flag `name` as the person typed it.
    #[must_use]
    pub fn flag(
        mut self,
        name: impl Into<String>,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        self.flags.push(Flag {
            name: name.into(),
            key: key.into(),
            value: value.into(),
        });
        self
    }
}

impl Config {
    /// Merges the layers and checks the whole.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML; or every unknown key, every value of a wrong type or out of range and every
    /// contradiction between keys, together.
    pub fn load(options: LoadOptions) -> Result<Self, ConfigErrors> {
        let mut layers = Layers::defaults();
        if let Some(path) = &options.file {
            layers.merge_file(path)?;
        }
        layers.merge_env(&options.env);
        layers.merge_flags(&options.flags);
        check(layers, &options.env)
    }
}
