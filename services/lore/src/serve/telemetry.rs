use crate::exit::{Exit, Failure};
use lore_config::{Config, LogFormat};
use lore_telemetry::{Format, MetricsHandle, TelemetryError};
use std::time::Duration;

/// How often recorded times are folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(10);

/// Starts the log, on stderr, and the metrics of the process. To be called inside the runtime.
pub fn start(config: &Config) -> Result<MetricsHandle, Failure> {
    let format = match config.telemetry.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    lore_telemetry::init(&config.telemetry.log, format).map_err(failure)?;
    let metrics = MetricsHandle::install().map_err(failure)?;
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.upkeep();
        }
    });
    Ok(metrics)
}

fn failure(error: TelemetryError) -> Failure {
    let failure = Failure::of(&error);
    match error {
        TelemetryError::Filter { .. } => failure.exit(Exit::Config),
        TelemetryError::LogTaken
        | TelemetryError::MetricsTaken
        | TelemetryError::Buckets { .. } => failure,
    }
}
