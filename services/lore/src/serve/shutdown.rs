use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGINT or SIGTERM. Where signals cannot be listened for, it waits for ever and the system's default ends
/// the process.
pub async fn requested() {
    let interrupt = wait(SignalKind::interrupt());
    let terminate = wait(SignalKind::terminate());
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}

async fn wait(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(error) => {
            tracing::warn!(%error, "cannot listen for a signal");
            std::future::pending::<()>().await;
        }
    }
}
