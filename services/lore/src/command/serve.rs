use crate::context::Context;
use crate::exit::Failure;
use crate::serve::{Role, Server, Show, shutdown, telemetry};
use clap::{Args, ValueEnum};

/// Which services to run.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// One service alone; all three in one process where none is named
    service: Option<Service>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Service {
    /// Answers questions, and passes other requests on to the other services
    Gateway,
    /// Makes documents findable
    Ingest,
    /// Trains adapters
    Trainer,
}

impl ServeArgs {
    fn role(&self) -> Role {
        match self.service {
            None => Role::All,
            Some(Service::Gateway) => Role::Gateway,
            Some(Service::Ingest) => Role::Ingest,
            Some(Service::Trainer) => Role::Trainer,
        }
    }
}

/// Serves until it is told to stop.
pub async fn run(context: &Context, args: &ServeArgs) -> Result<(), Failure> {
    let config = context.config()?;
    let metrics = telemetry::start(&config)?;
    let server = Server::start(config, args.role(), metrics, Show::Log).await?;
    context
        .output
        .line(format!("listening on http://{}", server.bound()))?;
    tokio::select! {
        ended = server.until(shutdown::requested()) => ended,
        failure = shutdown::insisted() => Err(failure),
    }
}
