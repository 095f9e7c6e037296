use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::terminal::paint;
use clap::Subcommand;

/// What to do with the indexes.
#[derive(Debug, Subcommand)]
pub enum IndexCommand {
    /// Compare the catalog with both indexes
    Verify {
        /// Only this collection
        #[arg(long, short)]
        collection: Option<String>,
        /// Mend what differs
        #[arg(long)]
        repair: bool,
    },
}

/// Runs it.
pub async fn run(context: &Context, command: &IndexCommand) -> Result<(), Failure> {
    let IndexCommand::Verify { collection, repair } = command;
    let report = context.client()?.verify_index(collection.as_deref(), *repair).await?;
    todo!()
}
