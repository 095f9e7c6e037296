//! One file per command.

pub mod adapters;
pub mod ask;
pub mod chat;
pub mod collections;
pub mod completions;
pub mod demo;
pub mod doctor;
pub mod documents;
pub mod finetune;
pub mod index;
pub mod ingest;
pub mod jobs;
pub mod model;
pub mod models;
pub mod openapi;
pub mod search;
pub mod serve;

use crate::cli::Command;
use crate::context::Context;
use crate::exit::Failure;

/// Runs one command.
pub async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve::run(context, &args).await,
        Command::Demo(args) => demo::run(context, &args).await,
        Command::Ingest(args) => ingest::run(context, &args).await,
        Command::Ask(args) => ask::run(context, &args).await,
        Command::Chat(args) => chat::run(context, &args).await,
        Command::Search(args) => search::run(context, &args).await,
        Command::Documents(command) => documents::run(context, &command).await,
        Command::Collections(command) => collections::run(context, &command).await,
        Command::Jobs(command) => jobs::run(context, &command).await,
        Command::Index(command) => index::run(context, &command).await,
        Command::Finetune(command) => finetune::run(context, &command).await,
        Command::Adapters(command) => adapters::run(context, &command).await,
        Command::Model(command) => model::run(context, &command).await,
        Command::Models(command) => models::run(context, &command).await,
        Command::Doctor => doctor::run(context).await,
        Command::Completions(args) => completions::run(context, &args),
        Command::Openapi => openapi::run(context),
    }
}
