use crate::context::Context;
use crate::exit::Failure;
use crate::serve::models::{ModelStore, failure};
use crate::terminal::{Fetching, Output, Progress, Table, bytes, paint};
use clap::{Args, Subcommand};
use lore_models::{FileState, ModelStatus, Presence, Task, Verification};
use lore_types::List;
use serde::Serialize;
use std::path::PathBuf;

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models of the catalogue, and which are here
    List,
    /// Fetch models, by default those that the configuration names
    Pull(Names),
    /// Print the folder of a model that is here
    Path {
        /// Its name
        name: String,
    },
    /// Hash the files of models, by default of all that are here, and compare them with the catalogue
    Verify {
        #[command(flatten)]
        names: Names,
        /// Fetch damaged and missing files again
        #[arg(long)]
        repair: bool,
    },
}

/// Which models.
#[derive(Debug, Args)]
pub struct Names {
    /// Their names
    names: Vec<String>,
}

/// A model as `--json` shows it.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    task: Task,
    architecture: String,
    licence: String,
    languages: Vec<String>,
    context: usize,
    about: String,
    presence: &'static str,
    /// Whether the configuration names it.
    configured: bool,
    dir: PathBuf,
    size: Option<u64>,
    download: Option<u64>,
}

/// Runs it.
pub async fn run(context: &Context, command: &ModelsCommand) -> Result<(), Failure> {
    let config = context.config()?;
    let models = ModelStore::open(&config.models)?;
    match command {
        ModelsCommand::List => list(context.output, &models),
        ModelsCommand::Pull(names) => {
            let names = if names.names.is_empty() {
                models.configured(&config)
            } else {
                names.names.clone()
            };
            pull(context.output, &models, &names).await
        }
        ModelsCommand::Path { name } => path(context.output, &models, name),
        ModelsCommand::Verify { names, repair } => {
            verify(context.output, &models, &names.names, *repair).await
        }
    }
}

fn list(output: Output, models: &ModelStore) -> Result<(), Failure> {
    let configured = models.names_in_use();
    let listed: Vec<Listed> = models
        .store()
        .list()
        .into_iter()
        .map(|status| describe(status, &configured))
        .collect();
    let list = List::whole(listed);
    output.object(&list, || {
        let mut table = Table::new(&[
            "NAME",
            "TASK",
            "HERE",
            "SIZE",
            "LANGUAGES",
            "LICENCE",
            "ABOUT",
        ]);
        for model in &list.data {
            let name = if model.configured {
                format!("{} *", model.name)
            } else {
                model.name.clone()
            };
            let size = model.size.or(model.download).map(bytes).unwrap_or_default();
            let languages = model.languages.join(" ");
            let here = model.presence.to_owned();
            let (licence, about) = (model.licence.clone(), model.about.clone());
            table.row([
                name,
                model.task.to_string(),
                here,
                size,
                languages,
                licence,
                about,
            ]);
        }
        table.print(output, "the catalogue is empty")?;
        output.note(format!(
            "* named by the configuration; models lie in {}",
            models.store().dir().display()
        ));
        Ok(())
    })
}

fn describe(status: ModelStatus, configured: &[String]) -> Listed {
    let entry = status.entry;
    Listed {
        configured: configured.contains(&entry.name),
        name: entry.name,
        task: entry.task,
        architecture: entry.architecture,
        licence: entry.licence,
        languages: entry.languages,
        context: entry.context,
        about: entry.about,
        presence: presence(status.presence),
        dir: status.dir,
        size: status.size,
        download: status.download,
    }
}

fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Whole => "yes",
        Presence::Partial => "partly",
        Presence::Absent => "no",
        Presence::OtherPlatform => "other platform",
    }
}

async fn pull(output: Output, models: &ModelStore, names: &[String]) -> Result<(), Failure> {
    let fetching = Fetching::default();
    let mut dirs = Vec::new();
    for name in names {
        let files = models
            .store()
            .pull(name, &fetching.listener(|_| {}))
            .await
            .map_err(failure)?;
        if matches!(files.task, Task::Embed | Task::Rerank) {
            prepare(models, name).await?;
        }
        dirs.push(files.dir.clone());
        if !output.is_json() {
            output.line(format!("{name}  {}", files.dir.display()))?;
        }
    }
    if output.is_json() {
        output.json(&List::whole(dirs))
    } else {
        Ok(())
    }
}

/// Makes what the first use would have to make. It needs ONNX Runtime, which is fetched along.
async fn prepare(models: &ModelStore, name: &str) -> Result<(), Failure> {
    let progress = Progress::spinner(&format!("preparing {name}"));
    let runtime = models.runtime_name();
    models
        .store()
        .pull(&runtime, &Fetching::default().listener(|_| {}))
        .await
        .map_err(failure)?;
    let settings = models
        .embed_settings(name)
        .map_err(|error| Failure::of(&error))?;
    let prepared = tokio::task::spawn_blocking(move || lore_embed::prepare(&settings)).await;
    progress.finish();
    let prepared = prepared.map_err(|error| Failure::of(&error))?;
    prepared.map(drop).map_err(|error| Failure::of(&error))
}

fn path(output: Output, models: &ModelStore, name: &str) -> Result<(), Failure> {
    let files = models.store().path(name).map_err(failure)?;
    output.object(&files.dir, || output.line(files.dir.display()))
}

async fn verify(
    output: Output,
    models: &ModelStore,
    names: &[String],
    repair: bool,
) -> Result<(), Failure> {
    let names = if names.is_empty() {
        here(models)
    } else {
        names.to_vec()
    };
    let mut checked = Vec::new();
    for name in &names {
        if repair {
            models
                .store()
                .repair(name, &Fetching::default().listener(|_| {}))
                .await
                .map_err(failure)?;
        }
        let progress = Progress::spinner(&format!("verifying {name}"));
        checked.push(
            models
                .store()
                .verify(name, &lore_models::silent())
                .await
                .map_err(failure)?,
        );
        progress.finish();
    }
    let list = List::whole(checked);
    output.object(&list, || {
        list.data
            .iter()
            .try_for_each(|checked| show(output, checked))
    })?;
    let wrong: Vec<&str> = list
        .data
        .iter()
        .filter(|checked| !checked.is_whole())
        .map(|checked| checked.model.as_str())
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(
        Failure::new(format!("not whole: {}", wrong.join(", "))).hint(format!(
            "fetch them again with `lore models verify --repair {}`",
            wrong.join(" ")
        )),
    )
}

fn here(models: &ModelStore) -> Vec<String> {
    let listed = models.store().list().into_iter();
    listed
        .filter(|status| {
            status.presence != Presence::Absent && status.presence != Presence::OtherPlatform
        })
        .map(|status| status.entry.name)
        .collect()
}

fn show(output: Output, checked: &Verification) -> Result<(), Failure> {
    checked.files.iter().try_for_each(|(file, state)| {
        let word = match state {
            FileState::Whole | FileState::Made => paint(tell(state)).green(),
            FileState::Unpinned | FileState::MadeAtFirstUse => paint(tell(state)).dim(),
            _ => paint(tell(state)).red(),
        };
        output.line(format!("{}/{file}: {word}", checked.model))
    })
}

fn tell(state: &FileState) -> String {
    match state {
        FileState::Whole => "whole".to_owned(),
        FileState::Unpinned => "here; the catalogue pins no hash".to_owned(),
        FileState::Missing => "missing".to_owned(),
        FileState::WrongSize { expected, actual } => {
            format!("has {actual} bytes instead of {expected}")
        }
        FileState::WrongHash { expected, actual } => {
            format!("has sha256 {actual} instead of {expected}")
        }
        FileState::Unreadable { reason } => format!("cannot be read: {reason}"),
        FileState::Made => "made here".to_owned(),
        FileState::MadeAtFirstUse => "will be made at first use".to_owned(),
    }
}
