use crate::IndexError;

/// Runs work that blocks, on a collection, off the async threads.
///
/// # Errors
/// The work's own, and [`IndexError::Stopped`] where it panicked or the runtime went away.
pub(crate) async fn blocking<T: Send + 'static>(
    collection: &str,
    work: impl FnOnce() -> Result<T, IndexError> + Send + 'static,
) -> Result<T, IndexError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(IndexError::Stopped {
            collection: collection.to_owned(),
            reason: error.to_string(),
        }),
    }
}
