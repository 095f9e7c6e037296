use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::terminal::print_passages;
use clap::{Args, ValueEnum};
use lore_client::SearchRequest;
use lore_types::SearchMode;
use serde_json::Value;

/// What to look for.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// The collection
    #[arg(long, short)]
    collection: String,
    /// At most this many passages
    #[arg(long, short)]
    limit: Option<usize>,
    /// Show every score and rank
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    narrowing: Narrowing,
    /// The query
    #[arg(required = true, value_name = "QUERY")]
    query: Vec<String>,
}

/// Which passages are looked at, and how.
#[derive(Clone, Debug, Args)]
pub struct Narrowing {
    /// Which sides are asked
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// A condition on metadata, such as '{"team": "hr", "year": {"$gte": 2024}}'
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Both, joined by rank
    Hybrid,
    /// Vectors alone
    Dense,
    /// Words alone (BM25)
    Lexical,
}

impl Narrowing {
    /// The mode, where one was given.
    pub fn mode(&self) -> Option<SearchMode> {
        self.mode.map(|mode| match mode {
            Mode::Hybrid => SearchMode::Hybrid,
            Mode::Dense => SearchMode::Dense,
            Mode::Lexical => SearchMode::Lexical,
        })
    }

    /// The filter, where one was given; refused here already where it is not JSON.
    pub fn filter(&self) -> Result<Option<Value>, Failure> {
        let parse = |text: &String| {
            serde_json::from_str(text).map_err(|error| {
                Failure::new(format!("--filter is not JSON: {error}"))
                    .hint("write it as '{\"team\": \"hr\"}'")
                    .exit(Exit::Usage)
            })
        };
        self.filter.as_ref().map(parse).transpose()
    }
}

/// Runs it.
pub async fn run(context: &Context, args: &SearchArgs) -> Result<(), Failure> {
    let request = SearchRequest {
        collection: args.collection.clone(),
        query: args.query.join(" "),
        mode: args.narrowing.mode(),
        limit: args.limit,
        filter: args.narrowing.filter()?,
        explain: args.explain,
    };
    let passages = context.client()?.search(&request).await?;
    context
        .output
        .object(&passages, || print_passages(context.output, &passages.data))
}
