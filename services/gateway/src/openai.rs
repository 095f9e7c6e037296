//! A generator that is another server: anything that speaks OpenAI's chat completions, vLLM or another Lore.

mod estimate;
mod events;
mod wire;

use crate::openai::wire::{ChatPiece, Failure, chat_request};
use async_trait::async_trait;
use futures::StreamExt;
use lore_model::{GenerateError, GenerateEvent, GenerateRequest, Generator, GeneratorInfo};
use lore_types::{FinishReason, Message, Usage};
use reqwest::{Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// How long the server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may say nothing in the middle of an answer; the first token may take long on a slow machine.
const SILENCE: Duration = Duration::from_secs(300);
/// Events that wait for a slow reader.
const CHANNEL: usize = 64;

/// Where the server is and how it is asked.
#[derive(Clone)]
pub struct OpenAiSettings {
    /// Address up to and including `/v1`, without a trailing slash.
    pub base_url: String,
    /// The model's name on that server.
    pub model: String,
    /// Its key, where it wants one.
    pub api_key: Option<String>,
    /// Requests under way at the same time; past it a request is refused as busy.
    pub max_queue: usize,
    /// Tokens of prompt and answer together that the model takes.
    pub context_length: usize,
}

impl OpenAiSettings {
    /// Settings with the defaults: no key, 32 requests, 8,192 tokens.
    pub fn new(base_url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            model: model.into(),
            api_key: None,
            max_queue: 32,
            context_length: 8_192,
        }
    }
}

/// A language model behind an OpenAI-compatible server.
///
/// # Guarantees
/// As [`Generator`]; dropping the receiver closes the connection, on which such servers end their work. Token counts are
/// estimates that rather overshoot, as the model's tokenizer is not at hand.
pub struct OpenAiGenerator {
    settings: OpenAiSettings,
    client: reqwest::Client,
    under_way: Arc<Semaphore>,
}

impl OpenAiGenerator {
    /// A generator that asks that server; the server is first contacted by the first request.
    ///
    /// # Errors
    /// Where the HTTP client cannot be built.
    pub fn new(settings: OpenAiSettings) -> Result<Self, GenerateError> {
        let mut client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE);
        if is_loopback(&settings.base_url) {
            // A proxy of the environment cannot reach this machine's own ports.
            client = client.no_proxy();
        }
        let client = client.build();
        let client = client.map_err(|error| GenerateError::Failed(error.to_string()))?;
        let under_way = Arc::new(Semaphore::new(settings.max_queue.max(1)));
        Ok(Self {
            settings,
            client,
            under_way,
        })
    }

    async fn ask(&self, request: &GenerateRequest) -> Result<Response, GenerateError> {
        let model = request.adapter.as_deref().unwrap_or(&self.settings.model);
        let url = format!(
            "{}/chat/completions",
            self.settings.base_url.trim_end_matches('/')
        );
        let mut ask = self.client.post(&url).json(&chat_request(model, request));
        if let Some(key) = &self.settings.api_key {
            ask = ask.bearer_auth(key);
        }
        let response = ask.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refused(response).await)
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> GenerateError {
        let url = &self.settings.base_url;
        let cause = std::error::Error::source(error)
            .map(|cause| format!(" ({cause})"))
            .unwrap_or_default();
        GenerateError::Failed(format!(
            "the server at {url} (`generator.base_url`) does not answer: {error}{cause}"
        ))
    }

    async fn refused(&self, response: Response) -> GenerateError {
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        let failure = Failure::read(&body);
        let url = &self.settings.base_url;
        match status {
            StatusCode::TOO_MANY_REQUESTS => GenerateError::Busy {
                queued: self.settings.max_queue,
            },
            StatusCode::BAD_REQUEST if failure.code == "context_length_exceeded" => {
                GenerateError::Invalid(failure.message)
            }
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                GenerateError::Invalid(failure.message)
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => GenerateError::Failed(format!(
                "the server at {url} refused the key (`generator.api_key`): {}",
                failure.message
            )),
            StatusCode::NOT_FOUND => GenerateError::Failed(format!(
                "the server at {url} has no model `{}` (`generator.model`): {}",
                self.settings.model, failure.message
            )),
            _ => GenerateError::Failed(format!(
                "the server at {url} answered {status}: {}",
                failure.message
            )),
        }
    }
}

fn is_loopback(url: &str) -> bool {
    let url = reqwest::Url::parse(url).ok();
    let host = url.as_ref().and_then(reqwest::Url::host_str);
    host.is_some_and(lore_http::is_loopback_host)
}

#[async_trait]
impl Generator for OpenAiGenerator {
    fn info(&self) -> GeneratorInfo {
        GeneratorInfo {
            model: self.settings.model.clone(),
            context_length: self.settings.context_length,
        }
    }

    fn count_tokens(&self, messages: &[Message]) -> Result<usize, GenerateError> {
        Ok(estimate::tokens(messages))
    }

    fn render(&self, messages: &[Message]) -> Result<String, GenerateError> {
        // The template is the server's; this is what it is given.
        serde_json::to_string_pretty(messages)
            .map_err(|error| GenerateError::Failed(error.to_string()))
    }

    async fn generate(
        &self,
        request: GenerateRequest,
    ) -> Result<mpsc::Receiver<Result<GenerateEvent, GenerateError>>, GenerateError> {
        let permit = Arc::clone(&self.under_way).try_acquire_owned();
        let permit = permit.map_err(|_| GenerateError::Busy {
            queued: self.settings.max_queue,
        })?;
        let response = self.ask(&request).await?;
        let (sender, receiver) = mpsc::channel(CHANNEL);
        let estimated = estimate::tokens(&request.messages);
        tokio::spawn(relay(response, sender, permit, estimated));
        Ok(receiver)
    }
}

type Sender = mpsc::Sender<Result<GenerateEvent, GenerateError>>;

/// Reads the server's events until they end or nobody listens any more.
async fn relay(
    response: Response,
    sender: Sender,
    _permit: OwnedSemaphorePermit,
    prompt_tokens: usize,
) {
    let mut reading = Reading {
        prompt_tokens,
        ..Reading::default()
    };
    let mut lines = events::Lines::default();
    let mut bytes = response.bytes_stream();
    loop {
        let next = tokio::select! {
            () = sender.closed() => return,
            next = bytes.next() => next,
        };
        let told = match next {
            Some(Ok(some)) => reading.accept(lines.push(&some)),
            Some(Err(error)) => vec![Err(GenerateError::Failed(format!(
                "the connection to the model broke: {error}"
            )))],
            None => vec![reading.end()],
        };
        for event in told {
            let last = !matches!(event, Ok(GenerateEvent::Token { .. }));
            if sender.send(event).await.is_err() || last {
                return;
            }
        }
    }
}

/// What has been read of one answer.
#[derive(Default)]
struct Reading {
    finish_reason: Option<FinishReason>,
    usage: Option<Usage>,
    tokens: usize,
    prompt_tokens: usize,
}

impl Reading {
    /// What the data of some events means; nothing after the last event or an error.
    fn accept(&mut self, datas: Vec<String>) -> Vec<Result<GenerateEvent, GenerateError>> {
        let mut out = Vec::new();
        for data in datas {
            if data.trim() == "[DONE]" {
                out.push(self.end());
                break;
            }
            match serde_json::from_str::<ChatPiece>(&data) {
                Ok(piece) => self.piece(piece, &mut out),
                Err(error) => out.push(Err(GenerateError::Failed(format!(
                    "the model's server sent `{data}`: {error}"
                )))),
            }
            if out.last().is_some_and(Result::is_err) {
                break;
            }
        }
        out
    }

    fn piece(&mut self, piece: ChatPiece, out: &mut Vec<Result<GenerateEvent, GenerateError>>) {
        if let Some(error) = piece.error {
            out.push(Err(GenerateError::Failed(error.message)));
            return;
        }
        self.usage = piece.usage.map(Usage::from).or(self.usage);
        for choice in piece.choices {
            self.finish_reason = choice
                .finish_reason
                .map(|reason| reason.plain())
                .or(self.finish_reason);
            let text = choice.delta.content.unwrap_or_default();
            let logprobs = choice
                .logprobs
                .map(|logprobs| logprobs.content.unwrap_or_default())
                .unwrap_or_default();
            if text.is_empty() && logprobs.is_empty() {
                continue;
            }
            self.tokens += logprobs.len().max(1);
            // One event may carry several tokens: the text goes with the first, the others bring their probabilities.
            let mut logprobs = logprobs.into_iter().map(wire::WireLogprob::plain);
            out.push(Ok(GenerateEvent::Token {
                text,
                logprob: logprobs.next(),
            }));
            out.extend(logprobs.map(|logprob| {
                Ok(GenerateEvent::Token {
                    text: String::new(),
                    logprob: Some(logprob),
                })
            }));
        }
    }

    fn end(&self) -> Result<GenerateEvent, GenerateError> {
        let Some(finish_reason) = self.finish_reason else {
            return Err(GenerateError::Failed(
                "the model's server ended the answer in the middle".to_owned(),
            ));
        };
        // A server that tells no usage is counted by its events.
        let counted = Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.tokens,
            total_tokens: self.prompt_tokens + self.tokens,
            cached_tokens: 0,
        };
        Ok(GenerateEvent::Done {
            finish_reason,
            usage: self.usage.unwrap_or(counted),
        })
    }
}
