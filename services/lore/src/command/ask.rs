use super::search::Narrowing;
use crate::context::Context;
use crate::exit::Failure;
use crate::terminal::{Output, Progress, Streamed, print_answer};
use clap::Args;
use futures::StreamExt;
use lore_client::{AskEvent, AskRequest, Client};
use std::pin::pin;

/// What to ask.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// The collection
    #[arg(long, short)]
    collection: String,
    /// Show at most this many passages to the model
    #[arg(long, short)]
    limit: Option<usize>,
    /// The model that answers; the server's own by default
    #[arg(long)]
    model: Option<String>,
    /// Withhold the answer where a sentence of it has no support
    #[arg(long)]
    strict: bool,
    /// Print the passages with their scores, the prompt, and where the time went
    #[arg(long)]
    explain: bool,
    /// At most this many tokens
    #[arg(long, value_name = "N")]
    max_new_tokens: Option<usize>,
    #[command(flatten)]
    narrowing: Narrowing,
    /// The question
    #[arg(required = true, value_name = "QUESTION")]
    question: Vec<String>,
}

/// Runs it.
pub async fn run(context: &Context, args: &AskArgs) -> Result<(), Failure> {
    let request = AskRequest {
        collection: args.collection.clone(),
        question: args.question.join(" "),
        stream: false,
        mode: args.narrowing.mode(),
        limit: args.limit,
        filter: args.narrowing.filter()?,
        model: args.model.clone(),
        strict: args.strict.then_some(true),
        explain: args.explain,
        max_new_tokens: args.max_new_tokens,
    };
    ask(&context.client()?, context.output, &request).await
}

/// Asks and prints the answer: word by word on a terminal, at once elsewhere.
pub async fn ask(client: &Client, output: Output, request: &AskRequest) -> Result<(), Failure> {
    if output.is_live() {
        return live(client, output, request).await;
    }
    let answer = client.ask(request).await?;
    output.object(&answer, || print_answer(output, &answer, request.explain))
}

async fn live(client: &Client, output: Output, request: &AskRequest) -> Result<(), Failure> {
    let waiting = Progress::spinner("looking and reading");
    let mut events = pin!(client.ask_stream(request).await?);
    let mut streamed = Streamed::new(output);
    while let Some(event) = events.next().await {
        let event = event?;
        waiting.finish();
        match event {
            AskEvent::Token(text) => streamed.push(&text)?,
            AskEvent::Answer(answer) => {
                streamed.erase()?;
                return print_answer(output, &answer, request.explain);
            }
        }
    }
    Ok(())
}
