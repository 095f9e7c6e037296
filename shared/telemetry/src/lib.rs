//! Logs and metrics: here is a filter and a format, give me log lines on standard error; here is a process, give me its
//! numbers as Prometheus text.
//!
//! *Useful for* a binary's first lines, and for the names of metrics everywhere else. *Not useful for* deciding anything:
//! nothing in Lore reads a metric back.

mod log;
mod metric;
pub mod names;

pub use log::{Format, init};
pub use metric::MetricsHandle;

/// Why logs or metrics cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be understood.
    #[error(
        "telemetry.log: `{filter}` is not a log filter ({reason}); write for example \"info\" or \"info,lore_ingest=debug\""
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody else in this process has already installed logs.
    #[error("this process already has a log subscriber")]
    LogTaken,
    /// Somebody else in this process has already installed metrics.
    #[error("this process already has a metrics recorder")]
    MetricsTaken,
    /// The table of metrics is wrong.
    #[error("metric `{name}` has no buckets")]
    Buckets {
        /// Which.
        name: &'static str,
    },
}
