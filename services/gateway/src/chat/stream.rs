use super::response::{ChatChunk, ChunkChoice, Delta, Logprobs, TokenProbability, details};
use super::{Begun, Heading};
use crate::answer::{Events, Prepared, Written, cut_off};
use crate::ask::failure_body;
use crate::error::GatewayError;
use crate::measure;
use crate::state::GatewayState;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use lore_model::GenerateEvent;
use lore_retrieval::Draft;
use lore_types::{FinishReason, Usage};
use serde::Serialize;
use std::convert::Infallible;

/// The answer as server-sent events. A client that hangs up drops the stream, and with it the model's work.
pub(super) fn respond(state: GatewayState, heading: Heading, begun: Begun) -> Response {
    let keep_alive = KeepAlive::default();
    match begun {
        Begun::Plain(events) => Sse::new(plain(heading, events)).keep_alive(keep_alive).into_response(),
        Begun::Grounded(prepared, events) => {
            Sse::new(grounded(state, heading, *prepared, events)).keep_alive(keep_alive).into_response()
        }
    }
}

/// The model's own words as they come.
fn plain(heading: Heading, mut events: Events) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        yield Ok(data(&heading.opening()));
        loop {
            match events.recv().await {
                Some(Ok(GenerateEvent::Token { text, logprob })) => {
                    let logprobs = logprob.map(|token| Logprobs { content: vec![TokenProbability::from(token)] });
                    if !text.is_empty() || logprobs.is_some() {
                        yield Ok(data(&heading.text(text, logprobs)));
                    }
                }
                Some(Ok(GenerateEvent::Done { finish_reason, usage })) => {
                    measure::answer("chatted");
                    yield Ok(data(&heading.closing(finish_reason)));
                    if heading.include_usage {
                        yield Ok(data(&heading.usage(usage)));
                    }
                    yield Ok(Event::default().data("[DONE]"));
                    return;
                }
                Some(Err(error)) => {
                    yield Ok(data(&failure_body(error.into())));
                    return;
                }
                None => {
                    yield Ok(data(&failure_body(cut_off())));
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
    events: Option<Events>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        yield Ok(data(&heading.opening()));
        let mut draft = state.draft(&prepared);
        let mut written = None;
        if let Some(mut events) = events {
            loop {
                match step(&mut events).await {
                    Ok(Step::Token(text, logprobs)) => {
                        let settled = match pushed(draft, text).await {
                            Ok((same, settled)) => {
                                draft = same;
                                settled
                            }
                            Err(error) => {
                                yield Ok(data(&failure_body(error)));
                                return;
                            }
                        };
                        if !settled.is_empty() || logprobs.is_some() {
                            yield Ok(data(&heading.text(settled, logprobs)));
                        }
                    }
                    Ok(Step::Done(finish_reason, usage)) => {
                        written = Some(Written { text: draft.raw().to_owned(), finish_reason, usage });
                        break;
                    }
                    Err(error) => {
                        yield Ok(data(&failure_body(error)));
                        return;
                    }
                }
            }
        }
        let answer = match state.finish(prepared, written).await {
            Ok(answer) => answer,
            Err(error) => {
                yield Ok(data(&failure_body(error)));
                return;
            }
        };
        let (finish_reason, usage) = (answer.finish_reason, answer.usage);
        let (text, citations, lore) = details(answer);
        let rest = text.get(draft.sent()..).unwrap_or_default().to_owned();
        if !rest.is_empty() {
            yield Ok(data(&heading.text(rest, None)));
        }
        yield Ok(data(&ChatChunk { citations: Some(citations), lore: Some(lore), ..heading.closing(finish_reason) }));
        if heading.include_usage {
            yield Ok(data(&heading.usage(usage)));
        }
        yield Ok(Event::default().data("[DONE]"));
    }
}

/// Adds text to the draft; checking a sentence is work for the processor, so it runs on a thread of its own.
async fn pushed(mut draft: Draft, text: String) -> Result<(Draft, String), GatewayError> {
    let work = move || {
        let settled = draft.push(&text);
        (draft, settled)
    };
    tokio::task::spawn_blocking(work).await.map_err(GatewayError::Join)
}

enum Step {
    Token(String, Option<Logprobs>),
    Done(FinishReason, Usage),
}

async fn step(events: &mut Events) -> Result<Step, GatewayError> {
    Ok(match events.recv().await.ok_or_else(cut_off)?? {
        GenerateEvent::Token { text, logprob } => {
            Step::Token(text, logprob.map(|token| Logprobs { content: vec![TokenProbability::from(token)] }))
        }
        GenerateEvent::Done { finish_reason, usage } => Step::Done(finish_reason, usage),
    })
}

impl GatewayState {
    /// A strict answer may be withheld as a whole, so nothing of it is sent before its end.
    fn draft(&self, prepared: &Prepared) -> Draft {
        let settings = self.settings();
        Draft::new(&prepared.question, &prepared.passages, settings.citations, &settings.abstain_sentence, prepared.is_strict())
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

    fn delta(&self, delta: Delta, logprobs: Option<Logprobs>, finish_reason: Option<FinishReason>) -> ChatChunk {
        self.chunk(vec![ChunkChoice { index: 0, delta, logprobs, finish_reason }])
    }

    fn opening(&self) -> ChatChunk {
        self.delta(Delta { role: Some("assistant"), content: Some(String::new()) }, None, None)
    }

    fn text(&self, text: String, logprobs: Option<Logprobs>) -> ChatChunk {
        self.delta(Delta { role: None, content: Some(text) }, logprobs, None)
    }

    fn closing(&self, finish_reason: FinishReason) -> ChatChunk {
        self.delta(Delta::default(), None, Some(finish_reason))
    }

    fn usage(&self, usage: Usage) -> ChatChunk {
        ChatChunk { usage: Some(usage.into()), ..self.chunk(Vec::new()) }
    }
}

fn data(body: &impl Serialize) -> Event {
    Event::default().data(serde_json::to_string(body).unwrap_or_default())
}
