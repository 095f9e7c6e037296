//! The parser's child process by itself, for the tests of the pool: `lore` runs the same code as `lore parse-worker`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lore_ingest::parse::worker_main()
}
