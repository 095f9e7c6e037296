use crate::error::GatewayError;
use lore_model::{GenerateError, GenerateEvent, GenerateRequest, Generator, TokenLogprob};
use lore_telemetry::names;
use lore_types::{FinishReason, Usage};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// One step of a model's answer.
pub(crate) enum Step {
    /// More text.
    Token {
        text: String,
        logprob: Option<TokenLogprob>,
    },
    /// The end.
    Done {
        finish_reason: FinishReason,
        usage: Usage,
    },
}

/// What a model wrote.
pub(crate) struct Written {
    pub text: String,
    pub finish_reason: FinishReason,
    pub usage: Usage,
}

/// A model at work. Dropping it ends the work.
pub(crate) struct Generation {
    events: mpsc::Receiver<Result<GenerateEvent, GenerateError>>,
    started: Instant,
    spoke: bool,
    outcome: &'static str,
    ending: CancellationToken,
}

impl Generation {
    /// Sets the model to work, until `ending` at the latest.
    pub async fn start(
        generator: &dyn Generator,
        request: GenerateRequest,
        ending: CancellationToken,
    ) -> Result<Self, GatewayError> {
        let started = Instant::now();
        let events = generator
            .generate(request)
            .await
            .inspect_err(|_| count("refused"))?;
        Ok(Self {
            events,
            started,
            spoke: false,
            outcome: "cancelled",
            ending,
        })
    }

    /// The next step; an error where the model fails or stops in the middle, and where the server ends.
    pub async fn next(&mut self) -> Result<Step, GatewayError> {
        let event = tokio::select! {
            () = self.ending.cancelled() => return Err(GatewayError::Stopping),
            event = self.events.recv() => event,
        };
        let event = event.unwrap_or_else(|| {
            Err(GenerateError::Failed(
                "the model stopped in the middle of an answer".to_owned(),
            ))
        });
        let event = event.inspect_err(|_| self.outcome = "failed")?;
        self.measure(&event);
        Ok(match event {
            GenerateEvent::Token { text, logprob } => Step::Token { text, logprob },
            GenerateEvent::Done {
                finish_reason,
                usage,
            } => Step::Done {
                finish_reason,
                usage,
            },
        })
    }

    /// Everything it writes, to the end.
    pub async fn written(mut self) -> Result<Written, GatewayError> {
        let mut all = String::new();
        loop {
            match self.next().await? {
                Step::Token { text, .. } => all.push_str(&text),
                Step::Done {
                    finish_reason,
                    usage,
                } => {
                    return Ok(Written {
                        text: all,
                        finish_reason,
                        usage,
                    });
                }
            }
        }
    }

    fn measure(&mut self, event: &GenerateEvent) {
        let seconds = self.started.elapsed().as_secs_f64();
        if !self.spoke {
            self.spoke = true;
            metrics::histogram!(names::GENERATE_FIRST_TOKEN_SECONDS).record(seconds);
        }
        if let GenerateEvent::Done {
            finish_reason,
            usage,
        } = event
        {
            self.outcome = match finish_reason {
                FinishReason::Stop => "stop",
                FinishReason::Length => "length",
            };
            metrics::histogram!(names::GENERATE_SECONDS).record(seconds);
            metrics::counter!(names::GENERATE_PROMPT_TOKENS).increment(usage.prompt_tokens as u64);
            metrics::counter!(names::GENERATE_NEW_TOKENS).increment(usage.completion_tokens as u64);
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        count(self.outcome);
    }
}

fn count(outcome: &'static str) {
    metrics::counter!(names::GENERATE_REQUESTS, "outcome" => outcome).increment(1);
}
