//! Where files come from.

mod hub;
mod package;
mod pip;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::catalogue::Source;
use crate::disk::{self, CopyError, Expected, Measured, Measuring};
use crate::error::{SourceError, io};
use crate::event::FileEvents;
use crate::source::hub::Hub;
use crate::source::pip::Pip;
use crate::store::StoreSettings;

/// What all sources share: who they are and what was learnt about them.
pub(crate) struct Sources {
    hub: Hub,
    pip: Pip,
}

/// One file to fetch.
#[derive(Clone)]
pub(crate) struct Fetch {
    /// Its final path.
    pub(crate) target: PathBuf,
    /// The model's folder for downloads that are still to be assembled.
    pub(crate) staging: PathBuf,
    /// What is known of it.
    pub(crate) expected: Expected,
    /// Whom to tell.
    pub(crate) events: FileEvents,
}

impl Fetch {
    /// The file under the name it has while it is written.
    pub(crate) fn part(&self) -> PathBuf {
        let mut name = self.target.clone().into_os_string();
        name.push(".part");
        name.into()
    }

    /// Lets `fill` write a file and gives it its final name, if it is what is expected.
    pub(crate) fn write(
        &self,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), SourceError>,
    ) -> Result<Measured, SourceError> {
        let part = self.part();
        let file = File::create(&part).map_err(io("create", &part))?;
        let tell = |done| self.events.written(done, self.expected.size);
        let mut writer = Measuring::new(file, &tell);
        fill(&mut writer)?;
        let (file, measured) = writer.finish();
        disk::settle(&part, &file, &measured, &self.expected, &self.target)?;
        Ok(measured)
    }

    /// Copies a file of this machine to the final path.
    pub(crate) fn copy(&self, path: &Path) -> Result<Measured, SourceError> {
        let mut file = File::open(path).map_err(io("open", path))?;
        self.write(|writer| {
            disk::copy(&mut file, writer).map_err(|error| match error {
                CopyError::Read(error) => io("read", path)(error),
                CopyError::Write(error) => self.cannot_write(error),
            })
        })
    }

    /// Writing the unfinished file failed, for example because the disk is full.
    pub(crate) fn cannot_write(&self, error: std::io::Error) -> SourceError {
        io("write", &self.part())(error)
    }
}

impl Sources {
    pub(crate) fn new(settings: StoreSettings) -> Self {
        Self {
            pip: Pip::new(settings.pip.clone(), settings.pip_arguments.clone()),
            hub: Hub::new(settings),
        }
    }

    /// Gets one file from one source to its final path.
    pub(crate) async fn fetch(
        &self,
        fetch: &Fetch,
        source: &Source,
    ) -> Result<Measured, SourceError> {
        match source {
            Source::Local { path } => {
                let path = path.clone();
                blocking(fetch, move |fetch| fetch.copy(&path)).await
            }
            Source::Inline { content } => write_inline(fetch, content).await,
            Source::Hub(hub) => self.hub.fetch(fetch, hub).await,
            Source::Package(package) => package::fetch(&self.pip, fetch, package).await,
        }
    }
}

async fn write_inline(fetch: &Fetch, content: &str) -> Result<Measured, SourceError> {
    let content = content.to_owned();
    let write = move |fetch: &Fetch| {
        fetch.write(|writer| {
            writer
                .write_all(content.as_bytes())
                .map_err(|error| fetch.cannot_write(error))
        })
    };
    blocking(fetch, write).await
}

/// The pin of a file whose text stands in the catalogue.
pub(crate) fn inline_expected(content: &str) -> Expected {
    let mut measuring = Measuring::new(std::io::sink(), &|_| {});
    // Writing to a sink cannot fail.
    let _ = measuring.write_all(content.as_bytes());
    let (_, measured) = measuring.finish();
    Expected {
        sha256: Some(measured.sha256),
        size: Some(measured.size),
    }
}

/// Runs disk work on the blocking pool.
async fn blocking<T: Send + 'static>(
    fetch: &Fetch,
    work: impl FnOnce(&Fetch) -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let fetch = fetch.clone();
    tokio::task::spawn_blocking(move || work(&fetch))
        .await
        .map_err(|_| SourceError::Stopped)?
}
