use crate::exit::Failure;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM. Where they cannot be listened for, the system's default ends the process.
pub struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Signals {
    /// Listens from now on.
    pub fn listen() -> Self {
        Self {
            interrupt: listen(SignalKind::interrupt()),
            terminate: listen(SignalKind::terminate()),
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            () = one(&mut self.interrupt) => {}
            () = one(&mut self.terminate) => {}
        }
    }
}

/// Waits for SIGINT or SIGTERM.
pub async fn requested() {
    Signals::listen().next().await;
}

/// Waits for the second SIGINT or SIGTERM: whoever sends it does not want to wait for an orderly end.
pub async fn insisted() -> Failure {
    let mut signals = Signals::listen();
    signals.next().await;
    signals.next().await;
    Failure::new("stopped at once by a second signal")
        .hint("jobs under way are on disk and continue at the next start")
}

fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind)
        .inspect_err(|error| tracing::warn!(%error, "cannot listen for a signal"))
        .ok()
}

async fn one(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
