use super::files::FoundFile;
use crate::exit::Failure;
use crate::terminal::Progress;
use futures::{StreamExt, stream};
use lore_client::{Client, ClientError, Upload};
use lore_types::{Accepted, Metadata};

/// Files that are on their way at the same time.
const PARALLEL: usize = 4;

/// What became of one file.
#[derive(Debug)]
pub struct Sent {
    /// The file.
    pub file: FoundFile,
    /// What the server said.
    pub outcome: Result<Accepted, Failure>,
}

/// Sends files, a few at a time, and returns what became of each, in their order.
///
/// # Errors
/// Where the server goes away or refuses the key, because then no other file can be sent either.
pub async fn send(
    client: &Client,
    collection: &str,
    files: Vec<FoundFile>,
    metadata: Option<&Metadata>,
    progress: &Progress,
) -> Result<Vec<Sent>, Failure> {
    let uploads = files.into_iter().map(|file| async move {
        let upload = Upload {
            path: file.path.clone(),
            name: file.name.clone(),
            metadata: metadata.cloned(),
        };
        let outcome = send_one(client, collection, &upload).await?;
        progress.advance();
        progress.say(file.name.clone());
        Ok(Sent { file, outcome })
    });
    let results: Vec<Result<Sent, Failure>> =
        stream::iter(uploads).buffered(PARALLEL).collect().await;
    results.into_iter().collect()
}

/// The outer error ends the command, the inner one concerns this file alone.
async fn send_one(
    client: &Client,
    collection: &str,
    upload: &Upload,
) -> Result<Result<Accepted, Failure>, Failure> {
    match client.upload(collection, upload).await {
        Ok(uploaded) => Ok(uploaded
            .data
            .into_iter()
            .next()
            .ok_or_else(|| Failure::new("the server accepted nothing"))),
        Err(error) if concerns_all(&error) => Err(Failure::from(error)),
        Err(error) => Ok(Err(Failure::from(error))),
    }
}

/// Whether no other file can be sent either. A connection that breaks in the middle is this file's affair: a server may
/// stop reading what is far too large.
fn concerns_all(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } => error.is_absent(),
        ClientError::Malformed { .. } => true,
        _ => matches!(error.status(), Some(401 | 403 | 404)),
    }
}
