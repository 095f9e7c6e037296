use super::response::{ChatChunk, ChunkChoice, Delta, Logprobs, TokenProbability, details};
use super::{Begun, Heading};
use crate::answer::Prepared;
use crate::ask::failure_body;
use crate::error::GatewayError;
use crate::generation::{Generation, Step, Written};
use crate::state::GatewayState;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use lore_model::TokenLogprob;
use lore_retrieval::Draft;
use lore_types::{Answer, FinishReason, Usage};
use serde::Serialize;
use std::convert::Infallible;

/// The answer as server-sent events. A client that hangs up drops the stream, and with it the model's work.
pub(super) fn respond(state: GatewayState, heading: Heading, begun: Begun) -> Response {
    let keep_alive = KeepAlive::default();
    match begun {
        Begun::Plain(generation, _) => Sse::new(plain(heading, generation))
            .keep_alive(keep_alive)
            .into_response(),
        Begun::Grounded(prepared, generation) => {
            Sse::new(grounded(state, heading, *prepared, generation))
                .keep_alive(keep_alive)
                .into_response()
        }
    }
}

/// The model's own words as they come.
fn plain(
    heading: Heading,
    mut generation: Generation,
) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        yield Ok(data(&heading.opening()));
        loop {
            match generation.next().await {
                Ok(Step::Token { text, logprob }) if text.is_empty() && logprob.is_none() => {}
                Ok(Step::Token { text, logprob }) => yield Ok(data(&heading.text(text, logprobs(logprob)))),
                Ok(Step::Done { finish_reason, usage }) => {
                    yield Ok(data(&heading.closing(finish_reason)));
                    for event in heading.ending(usage) {
                        yield Ok(event);
                    }
                    return;
                }
                Err(error) => {
                    yield Ok(data(&failure_body(error)));
                    return;
                }
            }
        }
    }
}

/// An answer from documents, sentence by sentence: each is checked before it is sent, and never changes afterwards.
fn grounded(
    state: GatewayState,
    heading: Heading,
    prepared: Prepared,
    generation: Option<Generation>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        yield Ok(data(&heading.opening()));
        let mut draft = state.draft(&prepared);
        let mut written = None;
        if let Some(mut generation) = generation {
            while written.is_none() {
                match advance(&mut generation, draft).await {
                    Ok((same, Advance::Settled(text, logprobs))) => {
                        draft = same;
                        if !text.is_empty() || logprobs.is_some() {
                            yield Ok(data(&heading.text(text, logprobs)));
                        }
                    }
                    Ok((same, Advance::Over(all))) => {
                        draft = same;
                        written = Some(all);
                    }
                    Err(error) => {
                        yield Ok(data(&failure_body(error)));
                        return;
                    }
                }
            }
        }
        match state.finish(prepared, written).await {
            Ok(answer) => {
                for event in heading.last(answer, draft.sent()) {
                    yield Ok(event);
                }
            }
            Err(error) => yield Ok(data(&failure_body(error))),
        }
    }
}

/// What one step of the model brings to a draft.
enum Advance {
    /// Text that is certain now, and the log probabilities of the tokens read.
    Settled(String, Option<Logprobs>),
    /// The end.
    Over(Written),
}

async fn advance(
    generation: &mut Generation,
    draft: Draft,
) -> Result<(Draft, Advance), GatewayError> {
    match generation.next().await? {
        Step::Token { text, logprob } => {
            let (draft, settled) = pushed(draft, text).await?;
            Ok((draft, Advance::Settled(settled, logprobs(logprob))))
        }
        Step::Done {
            finish_reason,
            usage,
        } => {
            let written = Written {
                text: draft.raw().to_owned(),
                finish_reason,
                usage,
            };
            Ok((draft, Advance::Over(written)))
        }
    }
}

fn logprobs(token: Option<TokenLogprob>) -> Option<Logprobs> {
    token.map(|token| Logprobs {
        content: vec![TokenProbability::from(token)],
    })
}

/// Adds text to the draft; checking a sentence is work for the processor, so it runs on a thread of its own.
async fn pushed(mut draft: Draft, text: String) -> Result<(Draft, String), GatewayError> {
    let work = move || {
        let settled = draft.push(&text);
        (draft, settled)
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(GatewayError::Join)
}

impl GatewayState {
    /// A strict answer may be withheld as a whole, so nothing of it is sent before its end.
    fn draft(&self, prepared: &Prepared) -> Draft {
        let settings = self.settings();
        Draft::new(
            &prepared.question,
            &prepared.passages,
            settings.citations,
            &settings.abstain_sentence,
            prepared.is_strict(),
        )
    }
}

impl Heading {
    fn chunk(&self, choices: Vec<ChunkChoice>) -> ChatChunk {
        ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk",
            created: self.created,
            model: self.model.clone(),
            choices,
            usage: None,
            citations: None,
            lore: None,
        }
    }

    fn delta(
        &self,
        delta: Delta,
        logprobs: Option<Logprobs>,
        finish_reason: Option<FinishReason>,
    ) -> ChatChunk {
        self.chunk(vec![ChunkChoice {
            index: 0,
            delta,
            logprobs,
            finish_reason,
        }])
    }

    fn opening(&self) -> ChatChunk {
        self.delta(
            Delta {
                role: Some("assistant"),
                content: Some(String::new()),
            },
            None,
            None,
        )
    }

    fn text(&self, text: String, logprobs: Option<Logprobs>) -> ChatChunk {
        self.delta(
            Delta {
                role: None,
                content: Some(text),
            },
            logprobs,
            None,
        )
    }

    fn closing(&self, finish_reason: FinishReason) -> ChatChunk {
        self.delta(Delta::default(), None, Some(finish_reason))
    }

    /// What follows the last choice.
    fn ending(&self, usage: Usage) -> Vec<Event> {
        let told = ChatChunk {
            usage: Some(usage.into()),
            ..self.chunk(Vec::new())
        };
        let told = self.include_usage.then(|| data(&told));
        told.into_iter()
            .chain([Event::default().data("[DONE]")])
            .collect()
    }

    /// The end of an answer of which `sent` bytes were sent.
    fn last(&self, answer: Answer, sent: usize) -> Vec<Event> {
        let (finish_reason, usage) = (answer.finish_reason, answer.usage);
        let (text, citations, lore) = details(answer);
        let rest = text.get(sent..).filter(|rest| !rest.is_empty());
        let rest = rest.map(|rest| data(&self.text(rest.to_owned(), None)));
        let closing = ChatChunk {
            citations: Some(citations),
            lore: Some(lore),
            ..self.closing(finish_reason)
        };
        rest.into_iter()
            .chain([data(&closing)])
            .chain(self.ending(usage))
            .collect()
    }
}

fn data(body: &impl Serialize) -> Event {
    Event::default().data(serde_json::to_string(body).unwrap_or_default())
}
