//! What the gateway counts, for `/metrics`.

use std::time::Duration;

/// Records how long one stage of an answer took; returns milliseconds.
pub(crate) fn stage(stage: &'static str, took: Duration) -> f64 {
    metrics::histogram!("lore_answer_stage_seconds", "stage" => stage).record(took.as_secs_f64());
    took.as_secs_f64() * 1_000.0
}

/// Counts an answer by what became of it: `answered`, `abstained`, `chatted` or `failed`.
pub(crate) fn answer(outcome: &'static str) {
    metrics::counter!("lore_answers_total", "outcome" => outcome).increment(1);
}
