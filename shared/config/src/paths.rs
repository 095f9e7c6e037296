//! Where things lie when nobody says otherwise.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folders that the XDG base directory specification names, read from a given environment.
pub(crate) struct BaseDirs<'a> {
    env: &'a BTreeMap<String, String>,
}

impl<'a> BaseDirs<'a> {
    pub(crate) fn new(env: &'a BTreeMap<String, String>) -> Self {
        Self { env }
    }

    /// `$XDG_DATA_HOME/lore` or `~/.local/share/lore`.
    pub(crate) fn data(&self) -> Option<PathBuf> {
        self.base("XDG_DATA_HOME", ".local/share")
            .map(|dir| dir.join("lore"))
    }

    /// `$XDG_CACHE_HOME/lore/models` or `~/.cache/lore/models`.
    pub(crate) fn models(&self) -> Option<PathBuf> {
        self.base("XDG_CACHE_HOME", ".cache")
            .map(|dir| dir.join("lore").join("models"))
    }

    /// `path` made absolute, with a leading `~/` replaced by the home folder. Relative paths start at the working folder.
    pub(crate) fn resolve(&self, path: &str) -> Option<PathBuf> {
        let expanded = match path.strip_prefix("~/") {
            Some(rest) => self.home()?.join(rest),
            None => PathBuf::from(path),
        };
        std::path::absolute(expanded).ok()
    }

    /// A non-empty absolute folder from the environment, else below the home folder. The specification says that a
    /// relative one is ignored.
    fn base(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let named = self
            .env
            .get(variable)
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute());
        named.or_else(|| self.home().map(|home| home.join(below_home)))
    }

    fn home(&self) -> Option<&'a Path> {
        self.env
            .get("HOME")
            .map(Path::new)
            .filter(|home| home.is_absolute())
    }
}
