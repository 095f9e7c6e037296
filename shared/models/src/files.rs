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
    /// The folder that holds the files.
    pub dir: PathBuf,
    /// The catalogue's entry; none for a user's own path.
    pub entry: Option<ModelEntry>,
    pub(crate) files: Vec<(Role, PathBuf)>,
}

impl ModelFiles {
    /// The file with this role. An ONNX graph that `lore-embed` makes from weights is not among them: it knows its own.
    pub fn file(&self, role: Role) -> Option<&Path> {
        self.files()
            .find(|(found, _)| *found == role)
            .map(|(_, path)| path)
    }

    /// Every file with its role.
    pub fn files(&self) -> impl Iterator<Item = (Role, &Path)> {
        self.files
            .iter()
            .map(|(role, path)| (*role, path.as_path()))
    }
}
