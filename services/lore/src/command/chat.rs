use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::terminal::{Output, Progress, paint, plain};
use clap::Args;
use futures::StreamExt;
use lore_client::{ChatEvent, ChatRequest, Client};
use lore_types::{Message, Role};
use std::io::{self, IsTerminal, Read};
use std::pin::pin;

/// With whom to talk, and how.
#[derive(Debug, Args)]
pub struct ChatArgs {
    /// The adapter that answers: NAME (its promoted version) or NAME@VERSION; the base model by default
    #[arg(long, short, value_name = "NAME")]
    adapter: Option<String>,
    /// Answer from the documents of this collection
    #[arg(long, short)]
    collection: Option<String>,
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// 0 always takes the likeliest token
    #[arg(long)]
    temperature: Option<f32>,
    /// Makes sampling repeatable
    #[arg(long)]
    seed: Option<u64>,
    /// At most this many tokens an answer
    #[arg(long, value_name = "N")]
    max_new_tokens: Option<usize>,
    /// What to say; without it a conversation begins, or all of stdin is one message
    #[arg(value_name = "MESSAGE")]
    message: Vec<String>,
}

/// What a conversation's lines may be besides messages.
const HELP: &str = "/clear begins anew, /exit ends, Ctrl-C interrupts";

/// Runs it.
pub async fn run(context: &Context, args: &ChatArgs) -> Result<(), Failure> {
    let (client, output) = (context.client()?, context.output);
    let mut chat = Chat::new(&client, output, args).await?;
    if !args.message.is_empty() {
        return chat.say(&args.message.join(" ")).await;
    }
    if output.can_ask() {
        return chat.converse().await;
    }
    if io::stdin().is_terminal() {
        return Err(Failure::new("there is no message")
            .hint("name one, or pipe it into stdin")
            .exit(Exit::Usage));
    }
    let mut text = String::new();
    let read = io::stdin().lock().read_to_string(&mut text);
    read.map_err(|error| Failure::new(format!("cannot read stdin: {error}")))?;
    chat.say(text.trim()).await
}

struct Chat<'a> {
    client: &'a Client,
    output: Output,
    request: ChatRequest,
    system: Option<Message>,
}

impl<'a> Chat<'a> {
    async fn new(client: &'a Client, output: Output, args: &ChatArgs) -> Result<Self, Failure> {
        let model = match &args.adapter {
            Some(adapter) => adapter.clone(),
            None => base(client).await?,
        };
        let system = args
            .system
            .clone()
            .map(|text| Message::new(Role::System, text));
        let request = ChatRequest {
            model,
            messages: system.iter().cloned().collect(),
            stream: true,
            collection: args.collection.clone(),
            temperature: args.temperature,
            seed: args.seed,
            max_tokens: args.max_new_tokens,
        };
        Ok(Self {
            client,
            output,
            request,
            system,
        })
    }

    /// One message and its answer, which the conversation keeps.
    async fn say(&mut self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Err(Failure::new("the message is empty").exit(Exit::Usage));
        }
        self.request.messages.push(Message::new(Role::User, text));
        if self.output.is_json() {
            let answer = self.client.chat(&self.request).await?;
            return self.output.json(&answer);
        }
        match self.stream().await {
            Ok(answer) => {
                self.request
                    .messages
                    .push(Message::new(Role::Assistant, answer));
                Ok(())
            }
            Err(failure) => {
                self.request.messages.pop();
                Err(failure)
            }
        }
    }

    async fn stream(&self) -> Result<String, Failure> {
        let waiting = Progress::spinner("");
        let mut events = pin!(self.client.chat_stream(&self.request).await?);
        let mut answer = String::new();
        while let Some(event) = events.next().await {
            waiting.finish();
            match event? {
                ChatEvent::Text(text) => {
                    self.output.raw(plain(&text))?;
                    answer.push_str(&text);
                }
                ChatEvent::Finished(reason) if reason == "length" => {
                    self.output.raw(paint(" …").dim().to_string())?;
                }
                ChatEvent::Finished(_) => {}
            }
        }
        self.output.line("")?;
        Ok(answer)
    }

    /// A conversation with a person, until its end.
    async fn converse(&mut self) -> Result<(), Failure> {
        self.output
            .note(paint(format!("talking with {}; {HELP}", self.request.model)).dim());
        loop {
            self.output.raw(paint("> ").bold().to_string())?;
            let Some(line) = read_line().await? else {
                return self.output.line("");
            };
            match line.trim() {
                "" => {}
                "/exit" | "/quit" => return Ok(()),
                "/clear" => self.request.messages = self.system.iter().cloned().collect(),
                "/help" => self.output.note(HELP),
                text => self.answer_or_tell(text).await,
            }
        }
    }

    /// A failed answer does not end a conversation; Ctrl-C ends an answer alone.
    async fn answer_or_tell(&mut self, text: &str) {
        let output = self.output;
        let said = self.request.messages.len();
        tokio::select! {
            answered = self.say(text) => {
                if let Err(failure) = answered {
                    let _ = failure.report(output);
                }
                return;
            }
            _ = tokio::signal::ctrl_c() => {}
        }
        self.request.messages.truncate(said);
        output.note(paint("\n(interrupted; the message is forgotten)").dim());
    }
}

async fn read_line() -> Result<Option<String>, Failure> {
    let read = || {
        let mut line = String::new();
        io::stdin()
            .read_line(&mut line)
            .map(|bytes| (bytes > 0).then_some(line))
    };
    let line = tokio::task::spawn_blocking(read).await;
    let line = line.map_err(|error| Failure::of(&error))?;
    line.map_err(|error| Failure::new(format!("cannot read stdin: {error}")))
}

/// The name of the server's language model.
async fn base(client: &Client) -> Result<String, Failure> {
    let models = client.served_models().await?;
    let list = models["data"].as_array().into_iter().flatten();
    let base = list
        .filter(|model| model["owned_by"] == "lore")
        .find_map(|model| model["id"].as_str());
    base.map(str::to_owned).ok_or_else(|| {
        Failure::new("the server has no language model")
            .hint("`lore doctor` says what to do")
            .exit(Exit::Busy)
    })
}
