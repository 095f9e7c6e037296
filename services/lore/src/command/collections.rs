use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::terminal::{Output, Table, moment};
use clap::Subcommand;
use lore_client::NewCollection;
use lore_types::Collection;
use std::io::{self, BufRead};

/// What to do with collections.
#[derive(Debug, Subcommand)]
pub enum CollectionsCommand {
    /// List every collection
    List,
    /// Make a collection
    Create {
        /// Its name: 1–64 of a-z A-Z 0-9 _ - .
        name: String,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
        /// The embedder of its vectors; it cannot change afterwards
        #[arg(long, value_name = "MODEL")]
        embedder: Option<String>,
    },
    /// Show one collection
    Show {
        /// Its name
        name: String,
    },
    /// Choose the adapter that answers a collection's questions where none is asked for
    Set {
        /// The collection
        name: String,
        /// The adapter
        #[arg(
            long,
            value_name = "ADAPTER",
            required_unless_present = "no_default_adapter"
        )]
        default_adapter: Option<String>,
        /// Answer with the base model
        #[arg(long, conflicts_with = "default_adapter")]
        no_default_adapter: bool,
    },
    /// Delete a collection with all its documents
    Delete {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Runs it.
pub async fn run(context: &Context, command: &CollectionsCommand) -> Result<(), Failure> {
    match command {
        CollectionsCommand::List => list(context).await,
        CollectionsCommand::Create {
            name,
            description,
            embedder,
        } => {
            let new = NewCollection {
                name: name.clone(),
                description: description.clone(),
                embedder: embedder.clone(),
            };
            let made = context.client()?.create_collection(&new).await?;
            context.output.object(&made, || show(context.output, &made))
        }
        CollectionsCommand::Show { name } => {
            let found = context.client()?.collection(name).await?;
            context
                .output
                .object(&found, || show(context.output, &found))
        }
        CollectionsCommand::Set {
            name,
            default_adapter,
            ..
        } => {
            let adapter = default_adapter.as_deref();
            let set = context.client()?.set_default_adapter(name, adapter).await?;
            context.output.object(&set, || show(context.output, &set))
        }
        CollectionsCommand::Delete { name, yes } => delete(context, name, *yes).await,
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let list = context.client()?.collections().await?;
    context.output.object(&list, || {
        let mut table = Table::new(&["NAME", "DOCUMENTS", "CHUNKS", "EMBEDDER", "CREATED"]);
        for item in &list.data {
            let counts = [item.documents.to_string(), item.chunks.to_string()];
            let [documents, chunks] = counts;
            table.row([
                item.name.clone(),
                documents,
                chunks,
                item.embedder.clone(),
                moment(item.created_at),
            ]);
        }
        table.print(
            context.output,
            "no collections yet: `lore ingest --collection NAME PATH` makes one",
        )
    })
}

fn show(output: Output, collection: &Collection) -> Result<(), Failure> {
    output.line(format!("name         {}", collection.name))?;
    if !collection.description.is_empty() {
        output.line(format!(
            "description  {}",
            crate::terminal::plain(&collection.description)
        ))?;
    }
    output.line(format!(
        "embedder     {} ({} dimensions)",
        collection.embedder, collection.dimensions
    ))?;
    if let Some(adapter) = &collection.default_adapter {
        output.line(format!("adapter      {adapter}"))?;
    }
    output.line(format!("documents    {}", collection.documents))?;
    output.line(format!("chunks       {}", collection.chunks))?;
    output.line(format!("created      {}", moment(collection.created_at)))
}

async fn delete(context: &Context, name: &str, yes: bool) -> Result<(), Failure> {
    let client = context.client()?;
    if !yes {
        let found = client.collection(name).await?;
        confirm(context.output, &found)?;
    }
    let deleted = client.delete_collection(name).await?;
    context
        .output
        .object(&deleted, || context.output.line(format!("deleted {name}")))
}

fn confirm(output: Output, collection: &Collection) -> Result<(), Failure> {
    let what = format!("collection `{}`", collection.name);
    let more = format!(" with {} documents", collection.documents);
    confirm_deletion(output, &what, &more)
}

/// Asks a person before something is deleted; nobody there is a refusal.
pub fn confirm_deletion(output: Output, what: &str, more: &str) -> Result<(), Failure> {
    if !output.can_ask() {
        return Err(
            Failure::new(format!("{what} was not deleted: nobody can be asked"))
                .hint("add --yes to delete without a question")
                .exit(Exit::Usage),
        );
    }
    output.note(format!("delete {what}{more}? [y/N]"));
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::new(format!("cannot read the answer: {error}")))?;
    if matches!(line.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::new("nothing was deleted"))
    }
}
