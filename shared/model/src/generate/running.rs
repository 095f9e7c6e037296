use crate::decoder::KvCache;
use crate::generate::sampler::{Choice, Sampler};
use crate::generate::stop::StopMatcher;
use crate::generator::{GenerateError, GenerateEvent, TokenLogprob};
use crate::lora::Adapter;
use crate::tokenizer::{Tokenizer, Utf8Stream};
use lore_types::{FinishReason, Sampling, Usage};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A request as the engine gets it.
pub(super) struct Job {
    pub(super) prompt: Vec<u32>,
    pub(super) adapter: Option<Arc<Adapter>>,
    pub(super) sampling: Sampling,
    pub(super) events: mpsc::Sender<Result<GenerateEvent, GenerateError>>,
}

/// A request that is being answered.
pub(super) struct Running {
    pub(super) job: Job,
    pub(super) cache: KvCache,
    /// The token that was chosen last and is not in the cache yet; `None` while the prompt is computed.
    pub(super) next: Option<u32>,
    pub(super) finished: bool,
    sampler: Sampler,
    stream: Utf8Stream,
    stops: StopMatcher,
    produced: usize,
    cached: usize,
}

impl Running {
    pub(super) fn new(job: Job, cache: KvCache, tokenizer: &Tokenizer) -> Self {
        Self {
            next: None,
            finished: false,
            sampler: Sampler::new(job.sampling.clone(), &job.prompt),
            stream: tokenizer.stream(),
            stops: StopMatcher::new(job.sampling.stop.clone()),
            produced: 0,
            cached: cache.len(),
            cache,
            job,
        }
    }

    /// Tokens of the prompt that are not computed yet.
    pub(super) fn left(&self) -> &[u32] {
        self.job.prompt.get(self.cache.len()..).unwrap_or_default()
    }

    /// Chooses the next token from logits and tells the caller.
    pub(super) fn advance(&mut self, logits: &[f32], tokenizer: &Tokenizer, context: usize) {
        match self.sampler.choose(logits) {
            Ok(choice) => self.accept(&choice, tokenizer, context),
            Err(error) => self.fail(error.to_string()),
        }
    }

    fn accept(&mut self, choice: &Choice, tokenizer: &Tokenizer, context: usize) {
        if tokenizer.stops().contains(&choice.token) {
            return self.finish(FinishReason::Stop, None, tokenizer);
        }
        self.produced += 1;
        let (text, stopped) = self
            .stops
            .push(&tokenizer.push(&mut self.stream, choice.token));
        let event = GenerateEvent::Token {
            text,
            logprob: logprob(choice, tokenizer),
        };
        let full = self.produced >= self.job.sampling.max_new_tokens
            || self.job.prompt.len() + self.produced >= context;
        match (stopped, full) {
            (true, _) => self.end(FinishReason::Stop, Some(event)),
            (false, true) => self.finish(FinishReason::Length, Some(event), tokenizer),
            (false, false) => {
                self.next = Some(choice.token);
                self.send(Ok(event));
            }
        }
    }

    /// Ends the answer with the text that was held back.
    fn finish(
        &mut self,
        reason: FinishReason,
        event: Option<GenerateEvent>,
        tokenizer: &Tokenizer,
    ) {
        let (mut rest, stopped) = self.stops.push(&tokenizer.finish(&mut self.stream));
        rest.push_str(&self.stops.finish());
        let reason = if stopped { FinishReason::Stop } else { reason };
        let event = match event {
            Some(GenerateEvent::Token { text, logprob }) => Some(GenerateEvent::Token {
                text: text + &rest,
                logprob,
            }),
            _ if rest.is_empty() => None,
            _ => Some(GenerateEvent::Token {
                text: rest,
                logprob: None,
            }),
        };
        self.end(reason, event);
    }

    fn end(&mut self, finish_reason: FinishReason, event: Option<GenerateEvent>) {
        if let Some(event) = event {
            self.send(Ok(event));
        }
        let usage = Usage {
            prompt_tokens: self.job.prompt.len(),
            completion_tokens: self.produced,
            total_tokens: self.job.prompt.len() + self.produced,
            cached_tokens: self.cached,
        };
        self.send(Ok(GenerateEvent::Done {
            finish_reason,
            usage,
        }));
        self.finished = true;
    }

    pub(super) fn fail(&mut self, problem: String) {
        self.send(Err(GenerateError::Failed(problem)));
        self.finished = true;
    }

    /// The channel holds every event that the request can make, so a slow reader never holds up the others.
    fn send(&mut self, event: Result<GenerateEvent, GenerateError>) {
        if self.job.events.try_send(event).is_err() {
            self.finished = true;
        }
    }
}

fn logprob(choice: &Choice, tokenizer: &Tokenizer) -> Option<TokenLogprob> {
    let (logprob, top) = choice.logprobs.as_ref()?;
    let named = |(token, logprob): &(u32, f32)| (tokenizer.token_text(*token), *logprob);
    Some(TokenLogprob {
        token: tokenizer.token_text(choice.token),
        logprob: *logprob,
        top: top.iter().map(named).collect(),
    })
}
