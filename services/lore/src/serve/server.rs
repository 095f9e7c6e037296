use super::edge::{self, Edge};
use super::listen::listen;
use super::load::{self, Loading};
use super::lock::DataDirLock;
use super::parts::Running;
use super::readiness::Readiness;
use super::switch::Switch;
use super::{Role, Show, openapi};
use crate::context::local_url;
use crate::exit::Failure;
use axum::Router;
use lore_config::Config;
use lore_telemetry::MetricsHandle;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long handing jobs back, and ending answers, may take after the grace period.
const HANDING_BACK: Duration = Duration::from_secs(5);

/// A server of this process: it listens from the start, and loads its parts in the background.
pub struct Server {
    bound: SocketAddr,
    url: String,
    grace: Duration,
    readiness: Readiness,
    running: Running,
    http: JoinHandle<std::io::Result<()>>,
    load: Option<JoinHandle<Result<(), Failure>>>,
    _lock: DataDirLock,
}

impl Server {
    /// Locks the data folder, listens, and begins to load.
    ///
    /// # Errors
    /// Where the data folder is in use or cannot be written, and where the address cannot be listened on.
    pub async fn start(
        config: Config,
        role: Role,
        metrics: MetricsHandle,
        show: Show,
    ) -> Result<Self, Failure> {
        let data_dir = config.storage.data_dir.clone();
        let mut lock = DataDirLock::acquire(&data_dir, role.locks()).await?;
        let (listener, bound) = listen(config.server.listen).await?;
        let url = local_url(bound);
        lock.announce(&data_dir, &url)?;
        let readiness = Readiness::new(role.waits_for());
        let edge = Edge {
            server: config.server.clone(),
            readiness: readiness.clone(),
            metrics,
            openapi: Arc::from(openapi::text()?),
        };
        let switch = Switch::new(edge::loading(edge.clone()));
        let (grace, running) = (config.server.shutdown_grace, Running::default());
        let stop = running.stopping.clone();
        let http = tokio::spawn(serve_http(listener, switch.router(), stop));
        let loading = Loading {
            config,
            role,
            show,
            edge,
            switch,
            running: running.clone(),
        };
        let load = Some(tokio::spawn(load::load(loading)));
        Ok(Self {
            bound,
            url,
            grace,
            readiness,
            running,
            http,
            load,
            _lock: lock,
        })
    }

    /// The address it listens on.
    pub fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Its address for clients on this machine.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until every part is loaded.
    ///
    /// # Errors
    /// Where a part cannot be loaded.
    pub async fn ready(&mut self) -> Result<(), Failure> {
        match self.load.take() {
            Some(load) => flat(load.await),
            None => Ok(()),
        }
    }

    /// Serves until `signal`, then stops: no new work, what runs is finished or handed back within the grace period.
    ///
    /// # Errors
    /// Where a part cannot be loaded, or listening ends by itself.
    pub async fn until(mut self, signal: impl Future<Output = ()>) -> Result<(), Failure> {
        let served = self.serve(signal).await;
        self.stop().await.and(served)
    }

    async fn serve(&mut self, signal: impl Future<Output = ()>) -> Result<(), Failure> {
        let mut signal = std::pin::pin!(signal);
        if let Some(load) = &mut self.load {
            tokio::select! {
                () = &mut signal => return Ok(()),
                loaded = load => {
                    self.load = None;
                    flat(loaded)?;
                }
            }
        }
        tokio::select! {
            () = &mut signal => Ok(()),
            ended = &mut self.http => Err(http_ended(ended)),
            () = self.running.broken.cancelled() => Err(broken()),
        }
    }

    /// Stops: finishes requests under way and hands running jobs back, at most for the grace period. An answer that is not
    /// whole by then ends with an error.
    ///
    /// # Errors
    /// Where jobs took longer.
    pub async fn stop(mut self) -> Result<(), Failure> {
        tracing::info!("stopping");
        self.readiness.stop();
        if let Some(load) = self.load.take() {
            load.abort();
        }
        self.running.stopping.cancel();
        let (running, longest) = (self.running.clone(), self.grace + HANDING_BACK);
        let jobs = timeout(longest, running.stop(self.grace));
        let (jobs, ()) = tokio::join!(jobs, self.end_http());
        jobs.map_err(|_| {
            Failure::new(format!("jobs were still running after {}", crate::terminal::elapsed(self.grace)))
                .hint("they are on disk and continue at the next start; server.shutdown_grace gives them more time")
        })
    }

    /// Lets requests under way finish within the grace period; ends their answers after it, and then their connections.
    async fn end_http(&mut self) {
        // Its result was looked at where it matters: while serving.
        if self.http.is_finished() || timeout(self.grace, &mut self.http).await.is_ok() {
            return;
        }
        tracing::warn!("the grace period is over: answers under way end with an error");
        self.running.ending.cancel();
        if timeout(HANDING_BACK, &mut self.http).await.is_err() {
            tracing::warn!("connections that did not end are closed");
            self.http.abort();
        }
    }
}

async fn serve_http(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

fn flat(loaded: Result<Result<(), Failure>, JoinError>) -> Result<(), Failure> {
    loaded.unwrap_or_else(|error| Err(Failure::new(format!("loading stopped early: {error}"))))
}

fn broken() -> Failure {
    Failure::new("the indexer ended, so no document can be indexed or deleted any more")
        .hint("start again: nothing that was accepted is lost; the log has the cause")
}

fn http_ended(ended: Result<std::io::Result<()>, JoinError>) -> Failure {
    match ended {
        Ok(Ok(())) => Failure::new("the server stopped listening"),
        Ok(Err(error)) => Failure::new(format!("the server stopped listening: {error}")),
        Err(error) => Failure::new(format!("the server stopped listening: {error}")),
    }
}
