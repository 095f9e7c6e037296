//! The model hub.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use hf_hub::repository::download::HFByteStream;
use hf_hub::repository::{HFRepository, RepoTypeModel};
use hf_hub::{HFClient, HFError};
use tokio::sync::mpsc;

use crate::catalogue::HubSource;
use crate::disk::{self, Measured, Measuring};
use crate::error::{SourceError, io};
use crate::source::{Fetch, blocking};
use crate::store::StoreSettings;

/// How long a hub that did not answer is left alone, so that a dead one costs one wait and not one a file.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest time without a byte, and for the answer to begin.
const STALL: Duration = Duration::from_secs(30);
/// Blocks between network and disk.
const IN_FLIGHT: usize = 16;

/// The hub and whether it answers.
pub(crate) struct Hub {
    settings: StoreSettings,
    silent_since: Mutex<Option<Instant>>,
}

impl Hub {
    pub(crate) fn new(settings: StoreSettings) -> Self {
        Self {
            settings,
            silent_since: Mutex::new(None),
        }
    }

    /// Takes the file from the hub's own cache on this machine if it is there and right, else downloads it.
    pub(crate) async fn fetch(
        &self,
        fetch: &Fetch,
        source: &HubSource,
    ) -> Result<Measured, SourceError> {
        let repository = self.repository(source)?;
        if let Some(path) = cached(&repository, source).await
            && let Ok(measured) = blocking(fetch, move |fetch| fetch.copy(&path)).await
        {
            return Ok(measured);
        }
        if self.is_silent() {
            return Err(SourceError::HubSkipped);
        }
        let result = download(fetch, source, &repository).await;
        if let Err(SourceError::HubSilent(_)) = result {
            *self
                .silent_since
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        result
    }

    fn repository(&self, source: &HubSource) -> Result<HFRepository<RepoTypeModel>, SourceError> {
        let http = reqwest::Client::builder()
            .connect_timeout(self.settings.hub_connect_timeout)
            .read_timeout(STALL)
            .user_agent(concat!("lore/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| SourceError::Hub(error.to_string()))?;
        let mut builder = HFClient::builder().client(http).retry_max_attempts(0);
        if let Some(endpoint) = &self.settings.hub_endpoint {
            builder = builder.endpoint(endpoint);
        }
        if let Some(cache) = &self.settings.hub_cache {
            builder = builder.cache_dir(cache);
        }
        let client = builder.build().map_err(said)?;
        let (owner, name) = source.repo.split_once('/').unwrap_or(("", &source.repo));
        Ok(client.model(owner, name))
    }

    /// Whether the hub did not answer a moment ago, so that it is not worth asking.
    fn is_silent(&self) -> bool {
        let since = *self
            .silent_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() < SILENCE)
    }
}

fn revision(source: &HubSource) -> String {
    source.revision.clone().unwrap_or_else(|| "main".to_owned())
}

/// The file in the hub's cache, as other tools left it there.
async fn cached(repository: &HFRepository<RepoTypeModel>, source: &HubSource) -> Option<PathBuf> {
    let found = repository
        .download_file()
        .filename(source.path.clone())
        .revision(revision(source))
        .local_files_only(true)
        .send()
        .await;
    found.ok().filter(|path| path.is_file())
}

/// Downloads into the `.part` file, continuing what an earlier pull left. A connection that breaks after bytes have come is
/// opened again where it stopped; what turns out wrong after a continued download is fetched once more from the start.
async fn download(
    fetch: &Fetch,
    source: &HubSource,
    repository: &HFRepository<RepoTypeModel>,
) -> Result<Measured, SourceError> {
    let mut restarted = false;
    loop {
        let before = resumable(fetch);
        match transfer(fetch, source, repository, before).await {
            Err(SourceError::WrongHash { .. } | SourceError::WrongSize { .. })
                if before > 0 && !restarted =>
            {
                restarted = true;
            }
            Err(SourceError::HubSilent(_)) if resumable(fetch) > before => {}
            result => return result,
        }
    }
}

/// Bytes of an unfinished file that can be continued: only where the whole length is known.
fn resumable(fetch: &Fetch) -> u64 {
    let length = std::fs::metadata(fetch.part()).map_or(0, |found| found.len());
    match fetch.expected.size {
        Some(size) if length < size => length,
        _ => 0,
    }
}

async fn transfer(
    fetch: &Fetch,
    source: &HubSource,
    repository: &HFRepository<RepoTypeModel>,
    from: u64,
) -> Result<Measured, SourceError> {
    let size = fetch.expected.size;
    let rest = size.map(|size| size - from).filter(|_| from > 0);
    let (mut length, mut stream) = open(
        source,
        repository,
        size.filter(|_| from > 0).map(|size| from..size),
    )
    .await?;
    let mut from = from;
    if rest.is_some() && length != rest {
        // The server does not know ranges and sends everything.
        from = 0;
        (length, stream) = open(source, repository, None).await?;
    }
    let total = size.or(length.map(|length| from + length));
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let writer = blocking(fetch, move |fetch| write(fetch, from, total, receiver));
    let (sent, written) = tokio::join!(forward(stream, sender), writer);
    let (file, measured) = written?;
    sent?;
    let settle = move |fetch: &Fetch| {
        disk::settle(
            &fetch.part(),
            &file,
            &measured,
            &fetch.expected,
            &fetch.target,
        )
        .map(|()| measured)
    };
    blocking(fetch, settle).await
}

async fn open(
    source: &HubSource,
    repository: &HFRepository<RepoTypeModel>,
    range: Option<std::ops::Range<u64>>,
) -> Result<(Option<u64>, HFByteStream), SourceError> {
    let request = repository
        .download_file_stream()
        .filename(source.path.clone())
        .revision(revision(source))
        .maybe_range(range)
        .send();
    match tokio::time::timeout(STALL, request).await {
        Ok(answer) => answer.map_err(said),
        Err(_) => Err(SourceError::HubSilent(format!(
            "no answer within {} s",
            STALL.as_secs()
        ))),
    }
}

/// Sends blocks on until the stream ends, breaks or stalls. A writer that went away ends it too; its own error says why.
async fn forward(
    mut stream: HFByteStream,
    sender: mpsc::Sender<Vec<u8>>,
) -> Result<(), SourceError> {
    loop {
        match tokio::time::timeout(STALL, stream.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(bytes))) => {
                if sender.send(bytes.to_vec()).await.is_err() {
                    return Ok(());
                }
            }
            Ok(Some(Err(error))) => return Err(said(error)),
            Err(_) => {
                return Err(SourceError::HubSilent(format!(
                    "nothing came for {} s",
                    STALL.as_secs()
                )));
            }
        }
    }
}

/// Appends blocks to the first `from` bytes of the `.part` file and hashes the whole.
fn write(
    fetch: &Fetch,
    from: u64,
    total: Option<u64>,
    mut blocks: mpsc::Receiver<Vec<u8>>,
) -> Result<(File, Measured), SourceError> {
    let part = fetch.part();
    let tell = |done| fetch.events.downloaded(done, total);
    let file = continued(&part, from).map_err(io("open", &part))?;
    let mut writer = Measuring::new(file, &tell);
    writer.skip(&part, from).map_err(io("read", &part))?;
    while let Some(block) = blocks.blocking_recv() {
        writer
            .write_all(&block)
            .map_err(|error| fetch.cannot_write(error))?;
    }
    Ok(writer.finish())
}

/// The `.part` file cut to `from` bytes, to be appended to.
fn continued(part: &Path, from: u64) -> std::io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(part)?;
    file.set_len(from)?;
    Ok(file)
}

/// The hub's error in the right kind: did it answer, or not?
fn said(error: HFError) -> SourceError {
    match &error {
        HFError::Request { source, .. } => SourceError::HubSilent(cause(source)),
        _ => SourceError::Hub(error.to_string()),
    }
}

/// The host and the deepest cause, which says what happened: a refused connection, a name that is not found.
fn cause(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(next) = deepest.source() {
        deepest = next;
    }
    let host = error.url().and_then(reqwest::Url::host_str);
    format!("{}: {deepest}", host.unwrap_or("connection"))
}
