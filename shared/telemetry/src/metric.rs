//! The numbers of this process.

use std::sync::{Mutex, PoisonError};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::TelemetryError;
use crate::names::{ALL, Kind};

/// Seconds, from a cached search to a long answer on a slow machine.
const SECONDS: [f64; 14] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0,
];

static INSTALLED: Mutex<Option<MetricsHandle>> = Mutex::new(None);

/// Renders what the process has counted. Cheap to clone.
#[derive(Clone)]
pub struct MetricsHandle {
    prometheus: PrometheusHandle,
}

impl MetricsHandle {
    /// Starts counting, for the whole process. A second call gives the same handle.
    ///
    /// # Errors
    /// Another recorder has been installed by somebody else.
    pub fn install() -> Result<Self, TelemetryError> {
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = installed.as_ref() {
            return Ok(handle.clone());
        }
        let recorder = builder()?.build_recorder();
        let handle = Self {
            prometheus: recorder.handle(),
        };
        metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::MetricsTaken)?;
        ALL.iter().for_each(|metric| metric.describe());
        *installed = Some(handle.clone());
        Ok(handle)
    }

    /// Everything counted so far in Prometheus' text format, version 0.0.4.
    pub fn render(&self) -> String {
        self.prometheus.render()
    }

    /// Folds recorded times into their buckets. To be called now and then (every few seconds) where nobody may be scraping,
    /// or the memory of unfolded values grows.
    pub fn upkeep(&self) {
        self.prometheus.run_upkeep();
    }
}

fn builder() -> Result<PrometheusBuilder, TelemetryError> {
    let times = ALL.iter().filter(|metric| metric.kind == Kind::Histogram);
    times
        .into_iter()
        .try_fold(PrometheusBuilder::new(), |builder, metric| {
            builder
                .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), &SECONDS)
                .map_err(|_| TelemetryError::Buckets { name: metric.name })
        })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::names;

    #[test]
    fn what_is_counted_is_rendered_with_help_and_buckets() {
        let handle = MetricsHandle::install().unwrap();
        metrics::counter!(names::INGEST_DOCUMENTS, "outcome" => "indexed").increment(3);
        metrics::histogram!(names::SEARCH_SECONDS, "mode" => "hybrid").record(0.02);
        metrics::gauge!(names::INGEST_QUEUE_LENGTH).set(7.0);
        handle.upkeep();
        let text = handle.render();
        assert!(
            text.contains("lore_ingest_documents_total{outcome=\"indexed\"} 3"),
            "{text}"
        );
        assert!(
            text.contains("lore_search_seconds_bucket{mode=\"hybrid\",le=\"0.025\"} 1"),
            "{text}"
        );
        assert!(text.contains("lore_ingest_queue_length 7"), "{text}");
        assert!(text.contains("# HELP lore_search_seconds "), "{text}");
    }

    #[test]
    fn installing_twice_gives_the_same_numbers() {
        let first = MetricsHandle::install().unwrap();
        let second = MetricsHandle::install().unwrap();
        metrics::counter!(names::GENERATE_NEW_TOKENS).increment(5);
        assert!(first.render().contains("lore_generate_new_tokens_total 5"));
        assert!(second.render().contains("lore_generate_new_tokens_total 5"));
    }
}
