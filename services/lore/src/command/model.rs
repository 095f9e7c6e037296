use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::serve::models::{ModelStore, failure};
use crate::terminal::{Output, Progress, Table, paint, plain, word};
use clap::{Args, Subcommand};
use lore_model::{Inspection, LogitsFiles, ModelError, write_logits};
use lore_models::Role;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What to do with a model's files, without a server.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Show what a GGUF file or a folder of safetensors holds
    Inspect {
        /// The file or folder, or the name of a model that is here
        model: String,
    },
    /// Compute logits of token ids, so that anyone can compare them with another implementation
    Logits(LogitsArgs),
}

/// Which logits.
#[derive(Debug, Args)]
pub struct LogitsArgs {
    /// The GGUF file or folder of safetensors, or the name of a model that is here
    #[arg(long)]
    model: String,
    /// A PEFT folder
    #[arg(long, value_name = "FOLDER")]
    adapter: Option<PathBuf>,
    /// Safetensors file with `input_ids` (batch, tokens) or `ids`, of whole numbers
    #[arg(long, value_name = "FILE")]
    ids: PathBuf,
    /// Safetensors file to write `logits` (batch, tokens, vocabulary) to, in float32
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs it.
pub async fn run(context: &Context, command: &ModelCommand) -> Result<(), Failure> {
    let output = context.output;
    match command {
        ModelCommand::Inspect { model } => {
            let path = find(context, model)?;
            let found = blocking(move || lore_model::inspect(&path)).await?;
            output.object(&found, || show(output, &found))
        }
        ModelCommand::Logits(args) => logits(context, args).await,
    }
}

/// A path that is there, or the files of a model of that name.
fn find(context: &Context, model: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(model);
    if path.exists() {
        return Ok(path.to_owned());
    }
    if model.contains(['/', '\\']) {
        return Err(Failure::new(format!("there is no `{model}`")).exit(Exit::NotFound));
    }
    let models = ModelStore::open(&context.config()?.models)?;
    let files = models.store().path(model).map_err(failure)?;
    Ok(files
        .file(Role::Gguf)
        .map_or_else(|| files.dir.clone(), PathBuf::from))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ModelError> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| Failure::of(&error))?;
    done.map_err(|error| {
        let missing = matches!(&error, ModelError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
        Failure::of(&error).exit(if missing { Exit::NotFound } else { Exit::Failure })
    })
}

fn show(output: Output, found: &Inspection) -> Result<(), Failure> {
    let settings = &found.settings;
    let mut rows = vec![
        ("architecture", word(&settings.architecture)),
        ("format", found.format.to_owned()),
        (
            "parameters",
            format!(
                "{} in {} tensors",
                millions(found.parameters),
                found.tensors
            ),
        ),
        ("layers", settings.layers.len().to_string()),
        ("hidden size", settings.hidden_size.to_string()),
        ("vocabulary", settings.vocab_size.to_string()),
        ("context", settings.max_position_embeddings.to_string()),
    ];
    match (&found.tokenizer, &found.tokenizer_problem) {
        (Some(tokenizer), _) => {
            let template = if tokenizer.chat_template { "yes" } else { "no" };
            rows.push(("chat", template.to_owned()));
            rows.push(("stops", plain(&tokenizer.stops.join(" "))));
        }
        (None, problem) => rows.push((
            "tokenizer",
            problem.clone().unwrap_or_else(|| "none".to_owned()),
        )),
    }
    rows.iter()
        .try_for_each(|(key, value)| output.line(format!("{:<13} {value}", paint(key).dim())))?;
    output.line("")?;
    let mut table = Table::new(&["TENSORS", "TYPE", "WEIGHTS"]);
    for (class, types) in &found.classes {
        for (kind, count) in types {
            table.row([class.clone(), kind.clone(), millions(*count)]);
        }
    }
    table.print(output, "no tensors")
}

fn millions(count: usize) -> String {
    if count < 100_000 {
        return count.to_string();
    }
    format!("{:.1} M", count as f64 / 1e6)
}

/// What was written.
#[derive(Serialize)]
struct Written {
    path: PathBuf,
    /// Batch, tokens, vocabulary.
    shape: [usize; 3],
}

async fn logits(context: &Context, args: &LogitsArgs) -> Result<(), Failure> {
    let files = LogitsFiles {
        model: find(context, &args.model)?,
        adapter: args.adapter.clone(),
        ids: args.ids.clone(),
        out: args.out.clone(),
    };
    let waiting = Progress::spinner("computing");
    let shape = blocking(move || write_logits(&files)).await;
    drop(waiting);
    let written = Written {
        path: args.out.clone(),
        shape: shape?,
    };
    let [batch, tokens, vocabulary] = written.shape;
    context.output.object(&written, || {
        let line = format!(
            "{}  logits ({batch}, {tokens}, {vocabulary}) float32",
            args.out.display()
        );
        context.output.line(line)
    })
}
