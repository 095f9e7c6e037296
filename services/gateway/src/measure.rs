//! What the gateway counts, for `/metrics`.

use lore_telemetry::names;
use std::time::Duration;

/// Records how long one stage of an answer took; returns milliseconds.
pub(crate) fn stage(stage: &'static str, took: Duration) -> f64 {
    metrics::histogram!(names::ANSWER_STAGE_SECONDS, "stage" => stage).record(took.as_secs_f64());
    took.as_secs_f64() * 1_000.0
}

/// Counts an answer from documents by what became of it.
pub(crate) fn answer(outcome: &'static str) {
    metrics::counter!(names::ANSWERS, "outcome" => outcome).increment(1);
}

/// Records one search.
pub(crate) fn search(mode: &'static str, took: Duration) {
    metrics::histogram!(names::SEARCH_SECONDS, "mode" => mode).record(took.as_secs_f64());
}
