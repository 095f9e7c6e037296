use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::terminal::{Output, Table, bytes, moment, one_line, paint, plain};
use clap::{Args, Subcommand};
use lore_client::{Client, DocumentQuery};
use lore_types::{Chunk, Document, DocumentId, DocumentStatus, List};
use std::path::{Path, PathBuf};

/// What to do with documents.
#[derive(Debug, Subcommand)]
pub enum DocumentsCommand {
    /// List a collection's documents
    List(ListArgs),
    /// Show one document
    Show(Which),
    /// Show the chunks of a document
    Chunks(Which),
    /// Download the original of a document
    Download(DownloadArgs),
    /// Delete documents from the catalog and from both indexes
    Delete {
        /// The collection
        #[arg(long, short)]
        collection: String,
        /// Ids or names
        #[arg(required = true)]
        documents: Vec<String>,
    },
}

/// Which documents to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The collection
    #[arg(long, short)]
    collection: String,
    /// Only those that stand like this
    #[arg(long, value_parser = ["pending", "ready", "failed"])]
    status: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only those after this id
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

/// One document.
#[derive(Debug, Args)]
pub struct Which {
    /// The collection
    #[arg(long, short)]
    collection: String,
    /// Its id or its name
    document: String,
}

/// What to download, and whereto.
#[derive(Debug, Args)]
pub struct DownloadArgs {
    #[command(flatten)]
    which: Which,
    /// The file to write; by default the document's own file name, in this folder
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long, short)]
    force: bool,
}

/// Runs it.
pub async fn run(context: &Context, command: &DocumentsCommand) -> Result<(), Failure> {
    let (client, output) = (context.client()?, context.output);
    match command {
        DocumentsCommand::List(args) => list(&client, output, args).await,
        DocumentsCommand::Show(which) => {
            let document = client.document(&which.collection, which.id()).await?;
            output.object(&document, || show(output, &document))
        }
        DocumentsCommand::Chunks(which) => {
            let chunks = client.chunks(&which.collection, which.id()).await?;
            output.object(&chunks, || show_chunks(output, &chunks))
        }
        DocumentsCommand::Download(args) => download(&client, output, args).await,
        DocumentsCommand::Delete {
            collection,
            documents,
        } => delete(&client, output, collection, documents).await,
    }
}

impl Which {
    fn id(&self) -> DocumentId {
        document_id(&self.collection, &self.document)
    }
}

/// A document's id, given as such or by name: the id derives from the name.
fn document_id(collection: &str, given: &str) -> DocumentId {
    given
        .parse()
        .unwrap_or_else(|_| DocumentId::derive(collection, given))
}

async fn list(client: &Client, output: Output, args: &ListArgs) -> Result<(), Failure> {
    let query = DocumentQuery {
        status: args.status.clone(),
        limit: Some(args.limit as usize),
        after: args.after.clone(),
        ..DocumentQuery::default()
    };
    let list = client.documents(&args.collection, &query).await?;
    output.object(&list, || {
        table(&list.data).print(output, "no documents")?;
        if let Some(last) = list.last_id.as_ref().filter(|_| list.has_more) {
            output.note(format!("more follow: --after {last}"));
        }
        Ok(())
    })
}

fn table(documents: &[Document]) -> Table {
    let mut table = Table::new(&[
        "NAME", "STATUS", "FORMAT", "LANGUAGE", "CHUNKS", "SIZE", "VERSION", "UPDATED",
    ]);
    for document in documents {
        table.row([
            one_line(&document.name, 60),
            status(document.status).to_owned(),
            document
                .format
                .map_or("", |format| format.word())
                .to_owned(),
            document.language.clone().unwrap_or_default(),
            document.chunks.to_string(),
            bytes(document.bytes),
            document.version.to_string(),
            moment(document.updated_at),
        ]);
    }
    table
}

fn status(status: DocumentStatus) -> &'static str {
    match status {
        DocumentStatus::Pending => "pending",
        DocumentStatus::Ready => "ready",
        DocumentStatus::Failed => "failed",
    }
}

fn show(output: Output, document: &Document) -> Result<(), Failure> {
    let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let rows = [
        ("name", plain(&document.name)),
        ("id", document.id.to_string()),
        ("collection", document.collection.clone()),
        ("status", status(document.status).to_owned()),
        ("error", known(document.error.as_deref().map(plain))),
        ("title", known(document.title.as_deref().map(plain))),
        (
            "format",
            known(document.format.map(|format| format.word().to_owned())),
        ),
        ("language", known(document.language.clone())),
        (
            "pages",
            known(document.pages.map(|pages| pages.to_string())),
        ),
        ("chunks", document.chunks.to_string()),
        ("size", bytes(document.bytes)),
        ("version", document.version.to_string()),
        ("sha256", document.content_hash.to_string()),
        (
            "metadata",
            serde_json::Value::Object(document.metadata.clone()).to_string(),
        ),
        ("created", moment(document.created_at)),
        ("updated", moment(document.updated_at)),
    ];
    rows.iter()
        .try_for_each(|(key, value)| output.line(format!("{:<12} {value}", paint(key).dim())))
}

fn show_chunks(output: Output, chunks: &List<Chunk>) -> Result<(), Failure> {
    for chunk in &chunks.data {
        let page = chunk
            .page
            .map(|page| format!("  page {page}"))
            .unwrap_or_default();
        let heading = plain(&chunk.heading.join(" > "));
        let span = format!("[{}, {})", chunk.span.start, chunk.span.end);
        let line = format!(
            "#{}  {span}  {} tokens{page}  {heading}",
            chunk.ordinal, chunk.tokens
        );
        output.line(paint(line.trim_end()).bold())?;
        output.line(plain(&chunk.text))?;
        output.line("")?;
    }
    Ok(())
}

async fn download(client: &Client, output: Output, args: &DownloadArgs) -> Result<(), Failure> {
    let which = &args.which;
    let document = client.document(&which.collection, which.id()).await?;
    let to = args
        .output
        .clone()
        .unwrap_or_else(|| own_file_name(&document));
    if to.exists() && !args.force {
        return Err(Failure::new(format!("{} exists already", to.display()))
            .hint("name another file with --output, or replace it with --force"));
    }
    let written = client.download(&which.collection, document.id, &to).await?;
    output.object(&document, || {
        output.line(format!("{}  {}", to.display(), bytes(written)))
    })
}

/// The last part of the document's name, so that nothing is written outside of this folder.
fn own_file_name(document: &Document) -> PathBuf {
    let name = Path::new(&document.name).file_name().map(PathBuf::from);
    name.unwrap_or_else(|| PathBuf::from(document.id.to_string()))
}

async fn delete(
    client: &Client,
    output: Output,
    collection: &str,
    documents: &[String],
) -> Result<(), Failure> {
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for name in documents {
        match client
            .delete_document(collection, document_id(collection, name))
            .await
        {
            Ok(done) => deleted.push(done),
            Err(error) => failed.push((name, Failure::from(error))),
        }
    }
    let deleted = List::whole(deleted);
    output.object(&deleted, || {
        output.line(format!(
            "deleted {}",
            crate::terminal::plural(deleted.data.len(), "document")
        ))
    })?;
    one_failure(output, failed)
}

/// The only failure as it is; several are told one by one.
fn one_failure(output: Output, mut failed: Vec<(&String, Failure)>) -> Result<(), Failure> {
    if failed.len() <= 1 {
        return failed.pop().map_or(Ok(()), |(_, failure)| Err(failure));
    }
    for (name, failure) in &failed {
        output.note(format!("{}: {}", plain(name), failure.message()));
    }
    Err(Failure::new(format!("{} documents were not deleted", failed.len())).exit(Exit::Failure))
}
