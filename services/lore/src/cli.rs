use crate::command::{
    adapters::AdaptersCommand, ask::AskArgs, chat::ChatArgs, collections::CollectionsCommand,
    completions::CompletionsArgs, demo::DemoArgs, documents::DocumentsCommand,
    finetune::FinetuneCommand, index::IndexCommand, ingest::IngestArgs, jobs::JobsCommand,
    model::ModelCommand, models::ModelsCommand, search::SearchArgs, serve::ServeArgs,
};
use crate::exit::EXIT_CODES;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Answers questions about your documents, with cited sources.
#[derive(Debug, Parser)]
#[command(name = "lore", version, after_help = EXIT_CODES, max_term_width = 110)]
pub struct Cli {
    /// Settings that every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Settings that every command takes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Configuration file; configs/lore.toml shows every key
    #[arg(long, global = true, value_name = "FILE", env = "LORE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Folder of documents, catalog and indexes [env: LORE_DATA_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Folder of models [env: LORE_MODELS_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub models_dir: Option<PathBuf>,
    /// Address that `serve` and `demo` listen on; port 0 lets the system choose [env: LORE_LISTEN]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// Any other key of the configuration, such as `models.offline=true`; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
    /// Address of the server to talk to; by default the one that runs on the data folder, or the configured address
    #[arg(long, global = true, value_name = "URL", env = "LORE_URL")]
    pub url: Option<String>,
    /// API key: sent by the client commands, accepted by `serve`
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "LORE_API_KEY",
        hide_env_values = true
    )]
    pub api_key: Option<String>,
    /// Print the API's own JSON objects, and nothing else, on stdout; a failure as {"error": …}
    #[arg(long, global = true)]
    pub json: bool,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Everything that `lore` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: all three services in one process, or one of them
    Serve(ServeArgs),
    /// Fetch the models, start a server, ingest a folder, ask three questions, and keep serving
    Demo(DemoArgs),
    /// Make files, folders and globs findable
    Ingest(IngestArgs),
    /// Ask a question and get an answer with cited sources
    Ask(AskArgs),
    /// Talk with the language model or one of its adapters, without documents
    Chat(ChatArgs),
    /// Find the passages that match a query
    Search(SearchArgs),
    /// List, show, download and delete documents
    #[command(subcommand)]
    Documents(DocumentsCommand),
    /// List, create, show and delete collections
    #[command(subcommand)]
    Collections(CollectionsCommand),
    /// List, show and watch jobs
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Check the indexes against the catalog
    #[command(subcommand)]
    Index(IndexCommand),
    /// Train an adapter on examples: start, list, show, watch, cancel, pause and resume jobs
    #[command(subcommand)]
    Finetune(FinetuneCommand),
    /// List, show, promote, roll back, export, import and delete trained adapters
    #[command(subcommand)]
    Adapters(AdaptersCommand),
    /// Look into a model's files, and compute logits with them, without a server
    #[command(subcommand)]
    Model(ModelCommand),
    /// List, fetch, locate and verify models
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Check this machine, the configuration and the server, and say how to fix what is wrong
    Doctor,
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the OpenAPI description of the HTTP API
    #[command(hide = true)]
    Openapi,
}
