//! The `lore` command: `serve` runs the services, everything else talks to a running server over HTTP.

mod cli;
mod command;
mod context;
mod exit;
mod serve;
mod terminal;

use clap::Parser;
use cli::{Cli, Command};
use context::Context;
use exit::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Not one of the commands, because it is not for people: `serve` starts it, one for each worker. A parser has neither a
    // runtime nor a log: it may be killed at any moment.
    if std::env::args().nth(1).as_deref() == Some("parse-worker") {
        return lore_ingest::parse::worker_main();
    }
    let cli = Cli::parse();
    let context = Context::new(cli.global);
    match run(&context, cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(context.output),
    }
}

fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|error| Failure::new(format!("cannot start the runtime: {error}")))?;
    let ended = runtime.block_on(command::run(context, command));
    // Blocking work that is still under way, such as a download, does not hold the process back.
    runtime.shutdown_background();
    ended
}
