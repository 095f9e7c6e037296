use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::terminal::{Output, Table, paint};
use clap::Subcommand;
use lore_types::{IndexReport, SideReport};

/// What to do with the indexes.
#[derive(Debug, Subcommand)]
pub enum IndexCommand {
    /// Compare the catalog with both indexes
    Verify {
        /// Only this collection
        #[arg(long, short)]
        collection: Option<String>,
        /// Mend what differs: remove what is too much, and queue a job for each document that lacks chunks
        #[arg(long)]
        repair: bool,
    },
}

/// Runs it. What differs and was not mended is exit code 1.
pub async fn run(context: &Context, command: &IndexCommand) -> Result<(), Failure> {
    let IndexCommand::Verify { collection, repair } = command;
    let report = context
        .client()?
        .verify_index(collection.as_deref(), *repair)
        .await?;
    context
        .output
        .object(&report, || show(context.output, &report, *repair))?;
    if report.consistent || *repair {
        Ok(())
    } else {
        Err(Failure::silent(Exit::Failure))
    }
}

fn show(output: Output, report: &IndexReport, repair: bool) -> Result<(), Failure> {
    let mut table = Table::new(&["COLLECTION", "CHUNKS", "DENSE", "LEXICAL", "JOBS"]);
    for collection in &report.collections {
        table.row([
            collection.collection.clone(),
            collection.chunks.to_string(),
            side(&collection.dense),
            side(&collection.lexical),
            collection.jobs.len().to_string(),
        ]);
    }
    table.print(output, "no collections")?;
    for orphan in &report.orphans {
        output.line(format!("index without a collection: {}", orphan.collection))?;
    }
    match (report.consistent, repair) {
        (true, _) => output.line(paint("catalog and indexes hold the same chunks").green()),
        (false, true) => output.line("mended; wait for the jobs, then verify again"),
        (false, false) => {
            output.line(paint("they differ: `lore index verify --repair` mends it").red())
        }
    }
}

fn side(side: &SideReport) -> String {
    if side.missing == 0 && side.extra == 0 {
        return "the same".to_owned();
    }
    format!("{} missing, {} too many", side.missing, side.extra)
}
