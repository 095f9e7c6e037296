//! What a person sees: texts with colours on a terminal, plain texts in a pipe, JSON for programs.

mod adapters;
mod answer;
mod chart;
mod fetching;
mod jobs;
mod output;
mod passages;
mod progress;
mod table;
mod text;
mod training;
mod tuning;

pub use adapters::{adapter_table, describe_adapter};
pub use answer::{Streamed, print_answer};
pub use fetching::Fetching;
pub use jobs::{describe_job, job_table, word};
pub use output::{Output, paint, paint_note};
pub use passages::print_passages;
pub use progress::Progress;
pub use table::Table;
pub use text::{bytes, elapsed, moment, one_line, plain, plural};
pub use training::Training;
pub use tuning::{describe_tuning, tuning_table};
