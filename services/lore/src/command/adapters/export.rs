use super::{reference, unpack};
use crate::exit::{Exit, Failure};
use crate::terminal::{Output, Progress, bytes};
use clap::{Args, ValueEnum};
use lore_client::{AdapterExport, AdapterFormat, Client};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What to export, and whereto.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// NAME (the promoted version, or else the newest) or NAME@VERSION
    adapter: String,
    /// The version
    #[arg(long, value_name = "N")]
    version: Option<u32>,
    /// The form
    #[arg(long, value_enum, default_value_t = Form::Peft)]
    format: Form,
    /// The numbers of a GGUF file
    #[arg(long = "type", value_parser = ["f16", "q8_0"], value_name = "TYPE")]
    kind: Option<String>,
    /// The folder to make (peft, merged) or the file to write (gguf)
    #[arg(long, short, value_name = "PATH")]
    out: PathBuf,
    /// Replace what is there
    #[arg(long)]
    force: bool,
}

/// Forms of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// PEFT's folder: adapter_config.json and adapter_model.safetensors
    Peft,
    /// A folder of safetensors with the adapter in the weights
    Merged,
    /// One GGUF file with the adapter in the weights, f16 or q8_0
    Gguf,
}

/// What was written.
#[derive(Serialize)]
struct Written<'a> {
    adapter: String,
    path: &'a Path,
    bytes: u64,
}

/// Exports an adapter.
pub async fn run(client: &Client, output: Output, args: &ExportArgs) -> Result<(), Failure> {
    let adapter = reference(&args.adapter, args.version)?;
    if args.kind.is_some() && args.format != Form::Gguf {
        return Err(Failure::new("--type is for --format gguf").exit(Exit::Usage));
    }
    if args.out.exists() && !args.force {
        return Err(
            Failure::new(format!("{} exists already", args.out.display()))
                .hint("name another place with --out, or replace it with --force"),
        );
    }
    let export = AdapterExport {
        adapter: adapter.clone(),
        format: match args.format {
            Form::Peft => AdapterFormat::Peft,
            Form::Merged => AdapterFormat::Merged,
            Form::Gguf => AdapterFormat::Gguf,
        },
        kind: args.kind.clone(),
    };
    let waiting = Progress::spinner("exporting");
    let written = write(client, &export, args).await;
    drop(waiting);
    let written = Written {
        adapter: adapter.to_string(),
        path: &args.out,
        bytes: written?,
    };
    output.object(&written, || {
        output.line(format!("{}  {}", args.out.display(), bytes(written.bytes)))
    })
}

async fn write(client: &Client, export: &AdapterExport, args: &ExportArgs) -> Result<u64, Failure> {
    if args.format == Form::Gguf {
        return Ok(client.export_adapter(export, &args.out).await?);
    }
    let archive = args.out.with_added_extension("tar");
    client.export_adapter(export, &archive).await?;
    let (from, to) = (archive.clone(), args.out.clone());
    let unpacked = tokio::task::spawn_blocking(move || unpack::unpack(&from, &to)).await;
    let removed = std::fs::remove_file(&archive);
    let bytes = unpacked.map_err(|error| Failure::of(&error))??;
    removed
        .map_err(|error| Failure::new(format!("cannot remove {}: {error}", archive.display())))?;
    Ok(bytes)
}
