//! Trained adapters and their versions.

mod export;
mod unpack;

use super::collections::confirm_deletion;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::terminal::{Output, Progress, adapter_table, describe_adapter};
use clap::Subcommand;
use lore_client::Client;
use lore_types::AdapterReference;
use std::path::PathBuf;

/// What to do with adapters.
#[derive(Debug, Subcommand)]
pub enum AdaptersCommand {
    /// List adapters
    List,
    /// Show an adapter: versions, lineage, what was measured
    Show {
        /// Its name
        name: String,
    },
    /// Serve a version, by default the newest, under the adapter's bare name, after a parity check
    Promote {
        /// NAME or NAME@VERSION
        adapter: String,
        /// The version
        #[arg(long, value_name = "N")]
        version: Option<u32>,
        /// Also a version whose documents have changed since; the parity check is never skipped
        #[arg(long)]
        force: bool,
    },
    /// Go back to the version that was promoted before
    Rollback {
        /// Its name
        name: String,
    },
    /// Write an adapter to disk: PEFT's files, or the model with the adapter in it
    Export(export::ExportArgs),
    /// Make a PEFT folder a new version of an adapter
    Import {
        /// Folder with adapter_config.json and adapter_model.safetensors
        folder: PathBuf,
        /// The adapter's name
        #[arg(long)]
        name: String,
        /// The base model that it was trained on
        #[arg(long, value_name = "MODEL")]
        base: String,
    },
    /// Delete an adapter, or one version of it
    Delete {
        /// NAME, or NAME@VERSION for one version
        adapter: String,
        /// The version; all of them by default
        #[arg(long, value_name = "N")]
        version: Option<u32>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Runs it.
pub async fn run(context: &Context, command: &AdaptersCommand) -> Result<(), Failure> {
    let (client, output) = (context.client()?, context.output);
    match command {
        AdaptersCommand::List => {
            let list = client.adapters().await?;
            let none = "no adapters yet: `lore finetune start` trains one";
            output.object(&list, || adapter_table(&list.data).print(output, none))
        }
        AdaptersCommand::Show { name } => {
            let found = client.adapter(name).await?;
            output.object(&found, || describe_adapter(output, &found))
        }
        AdaptersCommand::Promote {
            adapter,
            version,
            force,
        } => {
            let wanted = reference(adapter, *version)?;
            let waiting = checking(output);
            let promoted = client.promote_adapter(&wanted, *force).await;
            drop(waiting);
            let promoted = promoted?;
            output.object(&promoted, || describe_adapter(output, &promoted))
        }
        AdaptersCommand::Rollback { name } => {
            let waiting = checking(output);
            let now = client.rollback_adapter(name).await;
            drop(waiting);
            let now = now?;
            output.object(&now, || describe_adapter(output, &now))
        }
        AdaptersCommand::Export(args) => export::run(&client, output, args).await,
        AdaptersCommand::Import { folder, name, base } => {
            let made = client.import_adapter(name, base, folder).await?;
            output.object(&made, || {
                output.line(format!("{}  imported", made.reference()))
            })
        }
        AdaptersCommand::Delete {
            adapter,
            version,
            yes,
        } => delete(&client, output, &reference(adapter, *version)?, *yes).await,
    }
}

fn checking(output: Output) -> Progress {
    if output.is_json() {
        return Progress::hidden();
    }
    Progress::spinner("comparing what is served with what was trained")
}

/// `NAME`, `NAME@2`, or a name and a version beside it.
fn reference(text: &str, version: Option<u32>) -> Result<AdapterReference, Failure> {
    let wrong = |problem: String| Err(Failure::new(problem).exit(Exit::Usage));
    let Ok(mut reference) = text.parse::<AdapterReference>() else {
        return wrong(format!("`{text}` is neither NAME nor NAME@VERSION"));
    };
    if reference.version.is_some() && version.is_some() && reference.version != version {
        return wrong(format!("`{text}` names another version than --version"));
    }
    reference.version = reference.version.or(version);
    Ok(reference)
}

async fn delete(
    client: &Client,
    output: Output,
    adapter: &AdapterReference,
    yes: bool,
) -> Result<(), Failure> {
    if !yes {
        let found = client.adapter(&adapter.name).await?;
        let count = adapter.version.map_or(found.versions.len(), |_| 1);
        let more = format!(" ({})", crate::terminal::plural(count, "version"));
        confirm_deletion(output, &format!("adapter `{adapter}`"), &more)?;
    }
    let deleted = client.delete_adapter(adapter).await?;
    output.object(&deleted, || output.line(format!("deleted {adapter}")))
}
