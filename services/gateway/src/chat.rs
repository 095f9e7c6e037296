//! OpenAI's chat completions: plain, or answered from a collection's documents.

mod request;
mod response;
mod stream;

pub use request::{ChatMessage, ChatRequest, Content, Part, Stop, StreamOptions};
pub use response::{
    Alternative, AssistantMessage, ChatChunk, ChatCompletion, ChatUsage, Choice, ChunkChoice,
    Delta, Logprobs, LoreDetails, PromptTokens, TokenProbability,
};

use crate::adapters::Chosen;
use crate::answer::{Asking, Prepared};
use crate::ask;
use crate::error::GatewayError;
use crate::generation::{Generation, Step, Written};
use crate::search::{checked_limit, parsed_filter, said};
use crate::state::GatewayState;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use lore_http::{ApiFailure, JsonBody};
use lore_model::GenerateRequest;
use lore_types::{Answer, Collection, ErrorBody, FinishReason, Message, Role, Sampling, Usage};
use response::details;
use uuid::Uuid;

/// What every piece of one answer carries.
#[derive(Clone)]
pub(crate) struct Heading {
    id: String,
    created: i64,
    model: String,
    include_usage: bool,
}

/// A request that has been accepted, its model at work.
pub(crate) enum Begun {
    /// From documents.
    Grounded(Box<Prepared>, Option<Generation>),
    /// From the model alone.
    Plain(Generation, Chosen),
}

/// What answers, and from what.
struct Ground {
    chosen: Chosen,
    notice: Option<String>,
    collection: Option<Collection>,
}

/// Goes on with a conversation.
///
/// `model` names the language model or one of its adapters (`name`, which is the promoted version, or `name@version`).
/// Where `collection` is given, or `model` names a collection, the last message is answered from its documents, with
/// `citations` and `lore` beside OpenAI's fields. A streamed answer from documents comes sentence by sentence, each with
/// its checked markers, so that the pieces joined are the whole answer.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "answers", request_body = ChatRequest, responses(
    (status = 200, description = "The answer; with `stream`, server-sent `ChatChunk`s and `[DONE]`", content(
        (ChatCompletion = "application/json"),
        (ChatChunk = "text/event-stream"),
    )),
    (status = 400, description = "A field that cannot be used or is not supported, or a prompt that does not fit", body = ErrorBody),
    (status = 404, description = "No such model or collection", body = ErrorBody),
    (status = 429, description = "Too many answers are waiting; `Retry-After` says when to come back", body = ErrorBody),
    (status = 409, description = "An adapter that the loaded model cannot serve", body = ErrorBody),
    (status = 502, description = "The Qdrant server does not answer", body = ErrorBody),
    (status = 503, description = "The language model or the embedder is not installed, or the server stops", body = ErrorBody),
))]
pub(crate) async fn complete(
    State(state): State<GatewayState>,
    JsonBody(request): JsonBody<ChatRequest>,
) -> Result<Response, ApiFailure> {
    request.check()?;
    let heading = Heading {
        id: format!("chatcmpl-{}", Uuid::now_v7().simple()),
        created: time::OffsetDateTime::now_utc().unix_timestamp(),
        model: request.model.clone(),
        include_usage: request
            .stream_options
            .and_then(|options| options.include_usage)
            == Some(true),
    };
    let stream = request.stream == Some(true);
    let begun = state.begin(request).await?;
    let heading = match &begun {
        // An adapter's version is told, as OpenAI tells which snapshot an alias meant.
        Begun::Plain(_, chosen) if chosen.name != heading.model => Heading {
            model: chosen.name.clone(),
            ..heading
        },
        _ => heading,
    };
    if stream {
        return Ok(stream::respond(state, heading, begun));
    }
    Ok(Json(state.whole(heading, begun).await?).into_response())
}

impl GatewayState {
    async fn begin(&self, request: ChatRequest) -> Result<Begun, GatewayError> {
        let messages = request.conversation()?;
        let base = self.sampling();
        let sampling = request.sampling(&base)?;
        let ground = self.ground(&request).await?;
        let Some(collection) = ground.collection else {
            // The model as it is: what was tuned is what is served.
            let frequency_penalty = request.frequency_penalty.unwrap_or_default();
            let sampling = Sampling {
                frequency_penalty,
                ..sampling
            };
            return self.plain(messages, sampling, ground.chosen).await;
        };
        let mut asking = self.asking_of(request, messages, sampling, collection, ground.chosen)?;
        asking.notice = ground.notice;
        let prepared = self.prepare(asking).await?;
        let generation = self.generate(&prepared).await?;
        Ok(Begun::Grounded(Box::new(prepared), generation))
    }

    async fn plain(
        &self,
        messages: Vec<Message>,
        sampling: Sampling,
        chosen: Chosen,
    ) -> Result<Begun, GatewayError> {
        let request = GenerateRequest {
            messages,
            adapter: chosen.adapter.clone(),
            sampling,
        };
        let generation = Generation::start(&*chosen.generator, request, self.ending()).await?;
        Ok(Begun::Plain(generation, chosen))
    }

    /// What answers, and from what: `model` names the base, an adapter, or a collection (whose default answers then). A
    /// collection and an adapter of one name: the collection is meant, and `name@version` is the adapter.
    async fn ground(&self, request: &ChatRequest) -> Result<Ground, GatewayError> {
        let named = match &request.collection {
            Some(name) => Some(self.collection(name).await?),
            None => None,
        };
        let base = self.base()?;
        let is_named = |one: &Collection| one.name == request.model;
        if request.model != base.name && !named.as_ref().is_some_and(is_named) {
            return self.ground_of_other(request, named).await;
        }
        let (chosen, notice) = match &named {
            Some(collection) if request.model != base.name => self.default_of(collection).await?,
            _ => (base, None),
        };
        Ok(Ground {
            chosen,
            notice,
            collection: named,
        })
    }

    /// `model` is neither the base model nor the collection that is named beside it.
    async fn ground_of_other(
        &self,
        request: &ChatRequest,
        named: Option<Collection>,
    ) -> Result<Ground, GatewayError> {
        let other = match named {
            None => self.parts().catalog.collection(&request.model).await.ok(),
            Some(_) => None,
        };
        if let Some(collection) = other {
            let (chosen, notice) = self.default_of(&collection).await?;
            return Ok(Ground {
                chosen,
                notice,
                collection: Some(collection),
            });
        }
        let Some(chosen) = self.choose(&request.model).await? else {
            return Err(self.no_model_or_collection(&request.model).await?);
        };
        Ok(Ground {
            chosen,
            notice: None,
            collection: named,
        })
    }

    async fn no_model_or_collection(&self, name: &str) -> Result<GatewayError, GatewayError> {
        let collections = self.collection_names().await?;
        let mut error = self.no_model(name);
        if let GatewayError::NoModel { known, .. } = &mut error {
            known.extend(collections);
        }
        Ok(error)
    }

    fn asking_of(
        &self,
        request: ChatRequest,
        mut messages: Vec<Message>,
        sampling: Sampling,
        collection: Collection,
        chosen: Chosen,
    ) -> Result<Asking, GatewayError> {
        let settings = self.settings();
        let question = messages
            .pop()
            .filter(|message| message.role == Role::User)
            .ok_or_else(|| GatewayError::Invalid {
                field: "messages",
                problem: "has to end with a message of the user, the question".to_owned(),
            })?;
        Ok(Asking {
            question: said("messages", &question.content)?.to_owned(),
            history: messages,
            mode: request.mode,
            filter: parsed_filter(request.filter.as_ref())?,
            limit: checked_limit(
                request.limit.unwrap_or(settings.passages),
                ask::MAX_PASSAGES,
            )?,
            strict: request.strict.unwrap_or(settings.strict),
            explain: request.explain,
            sampling,
            collection,
            chosen,
            notice: None,
        })
    }

    /// The answer in one piece.
    async fn whole(&self, heading: Heading, begun: Begun) -> Result<ChatCompletion, GatewayError> {
        match begun {
            Begun::Plain(generation, _) => {
                let (written, logprobs) = read(generation).await?;
                Ok(completion(
                    heading,
                    written.text,
                    written.finish_reason,
                    written.usage,
                    logprobs,
                ))
            }
            Begun::Grounded(prepared, Some(generation)) => {
                let (written, logprobs) = read(generation).await?;
                Ok(from_documents(
                    heading,
                    self.finish(*prepared, Some(written)).await?,
                    logprobs,
                ))
            }
            Begun::Grounded(prepared, None) => Ok(from_documents(
                heading,
                self.finish(*prepared, None).await?,
                None,
            )),
        }
    }
}

fn from_documents(heading: Heading, answer: Answer, logprobs: Option<Logprobs>) -> ChatCompletion {
    let (finish_reason, usage) = (answer.finish_reason, answer.usage);
    let (text, citations, lore) = details(answer);
    let completion = completion(heading, text, finish_reason, usage, logprobs);
    ChatCompletion {
        citations: Some(citations),
        lore: Some(lore),
        ..completion
    }
}

async fn read(mut generation: Generation) -> Result<(Written, Option<Logprobs>), GatewayError> {
    let (mut all, mut probabilities) = (String::new(), Vec::new());
    loop {
        match generation.next().await? {
            Step::Token { text, logprob } => {
                all.push_str(&text);
                probabilities.extend(logprob.map(TokenProbability::from));
            }
            Step::Done {
                finish_reason,
                usage,
            } => {
                let logprobs = (!probabilities.is_empty()).then_some(Logprobs {
                    content: probabilities,
                });
                return Ok((
                    Written {
                        text: all,
                        finish_reason,
                        usage,
                    },
                    logprobs,
                ));
            }
        }
    }
}

fn completion(
    heading: Heading,
    content: String,
    finish_reason: FinishReason,
    usage: Usage,
    logprobs: Option<Logprobs>,
) -> ChatCompletion {
    let message = AssistantMessage {
        role: "assistant",
        content,
        refusal: None,
    };
    ChatCompletion {
        id: heading.id,
        object: "chat.completion",
        created: heading.created,
        model: heading.model,
        choices: vec![Choice {
            index: 0,
            message,
            logprobs,
            finish_reason,
        }],
        usage: usage.into(),
        citations: None,
        lore: None,
    }
}
