//! The files of one model on this machine.

use std::path::{Path, PathBuf};

use crate::catalogue::{ModelEntry, Role, Task};

/// A model that is here: every file that it needs exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    /// The catalogue's name, or the path that was given.
    pub name: String,
    /// What it is for.
    pub task: Task,
    /// The architecture, from the catalogue, `config.json` or, empty, from inside the GGUF file.
    pub architecture: String,
    /// The folder that holds the files; derived files go there too.
    pub dir: PathBuf,
    /// The catalogue's entry; none for a user's own path.
    pub entry: Option<ModelEntry>,
    pub(crate) files: Vec<(Role, PathBuf)>,
    pub(crate) derived: Vec<(Role, PathBuf)>,
}

impl ModelFiles {
    /// The file with this role; for a derived file only once it has been made.
    pub fn file(&self, role: Role) -> Option<&Path> {
        let is_role = |(found, _): &&(Role, PathBuf)| *found == role;
        let derived = self.derived.iter().filter(|(_, path)| path.is_file());
        self.files
            .iter()
            .find(is_role)
            .or_else(|| derived.into_iter().find(is_role))
            .map(|(_, path)| path.as_path())
    }

    /// Where the derived file with this role belongs, whether or not it has been made.
    pub fn derived(&self, role: Role) -> Option<&Path> {
        self.derived
            .iter()
            .find(|(found, _)| *found == role)
            .map(|(_, path)| path.as_path())
    }

    /// Every file that is here, with its role.
    pub fn files(&self) -> impl Iterator<Item = (Role, &Path)> {
        let derived = self.derived.iter().filter(|(_, path)| path.is_file());
        self.files
            .iter()
            .chain(derived)
            .map(|(role, path)| (*role, path.as_path()))
    }
}
