use crate::answer::{Asking, Prepared};
use crate::error::GatewayError;
use crate::generation::{Generation, Step, Written};
use crate::search::{checked_limit, parsed_filter, said};
use crate::state::GatewayState;
use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use lore_http::{ApiFailure, JsonBody};
use lore_types::{Answer, ErrorBody, Message, Passage, Sampling, SearchMode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::convert::Infallible;
use utoipa::ToSchema;

/// Most passages for one answer.
pub(crate) const MAX_PASSAGES: usize = 50;

/// A question to one collection.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskRequest {
    /// The collection.
    pub collection: String,
    /// The question. It may refer to `messages`.
    pub question: String,
    /// What was said before the question, oldest first.
    #[serde(default, deserialize_with = "crate::absent::or_default")]
    pub messages: Vec<Message>,
    /// Whether the answer comes as server-sent events while it is written.
    #[serde(default, deserialize_with = "crate::absent::or_default")]
    pub stream: bool,
    /// A condition on metadata, as in a search.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
    /// At most this many passages for the model, 1 to 50.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Which sides are asked for passages.
    #[serde(default, deserialize_with = "crate::absent::or_default")]
    pub mode: SearchMode,
    /// The model that answers, the base or an adapter (`name` or `name@version`); where absent, the collection's default adapter
    /// or else the base.
    #[serde(default)]
    pub model: Option<String>,
    /// Whether an answer is withheld in which a sentence has no passage that backs it.
    #[serde(default)]
    pub strict: Option<bool>,
    /// Whether every score, every rank and the rendered prompt are told.
    #[serde(default, deserialize_with = "crate::absent::or_default")]
    pub explain: bool,
    /// At most this many tokens.
    #[serde(default)]
    pub max_new_tokens: Option<usize>,
    /// 0 always takes the likeliest token.
    #[serde(default)]
    pub temperature: Option<f32>,
    /// Makes sampling repeatable.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// Answers a question with cited sources.
///
/// With `stream`, server-sent events: `retrieved` (the question as it was searched for, and the passages), `token` (more
/// text as the model writes it; markers may still change), then `answer` with the whole answer, or `error`. A strict answer,
/// which may be withheld, comes without `token`s. Where nothing relevant is found the answer is the configured sentence,
/// without citations and with `abstained`.
#[utoipa::path(post, path = "/v1/ask", tag = "answers", request_body = AskRequest, responses(
    (status = 200, description = "The answer; with `stream`, server-sent events", content(
        (Answer = "application/json"),
        (String = "text/event-stream"),
    )),
    (status = 400, description = "An empty question, a wrong limit or filter, or a prompt that does not fit", body = ErrorBody),
    (status = 404, description = "No such collection or model", body = ErrorBody),
    (status = 429, description = "Too many answers are waiting; `Retry-After` says when to come back", body = ErrorBody),
    (status = 502, description = "The Qdrant server does not answer", body = ErrorBody),
    (status = 503, description = "The language model or the embedder is not installed, or the server stops", body = ErrorBody),
))]
pub(crate) async fn ask(
    State(state): State<GatewayState>,
    JsonBody(request): JsonBody<AskRequest>,
) -> Result<Response, ApiFailure> {
    let stream = request.stream;
    let prepared = state.prepare(state.asking(request).await?).await?;
    let generation = state.generate(&prepared).await?;
    if stream {
        let keep_alive = KeepAlive::default();
        return Ok(Sse::new(told(state, prepared, generation))
            .keep_alive(keep_alive)
            .into_response());
    }
    let written = match generation {
        Some(generation) => Some(generation.written().await?),
        None => None,
    };
    Ok(Json(state.finish(prepared, written).await?).into_response())
}

impl GatewayState {
    async fn asking(&self, request: AskRequest) -> Result<Asking, GatewayError> {
        let question = said("question", &request.question)?.to_owned();
        let settings = self.settings();
        let limit = checked_limit(request.limit.unwrap_or(settings.passages), MAX_PASSAGES)?;
        let filter = parsed_filter(request.filter.as_ref())?;
        let base = self.sampling();
        let sampling = Sampling {
            temperature: request.temperature.unwrap_or(base.temperature),
            max_new_tokens: request.max_new_tokens.unwrap_or(base.max_new_tokens),
            seed: request.seed.unwrap_or_default(),
            ..base
        };
        check_sampling(&sampling)?;
        let collection = self.collection(&request.collection).await?;
        let (chosen, notice) = match &request.model {
            None => self.default_of(&collection).await?,
            Some(model) => match self.choose(model).await? {
                Some(chosen) => (chosen, None),
                None => return Err(self.no_model(model)),
            },
        };
        Ok(Asking {
            collection,
            chosen,
            notice,
            question,
            history: request.messages,
            mode: request.mode,
            filter,
            limit,
            strict: request.strict.unwrap_or(settings.strict),
            explain: request.explain,
            sampling,
        })
    }
}

/// Refuses settings that no model can follow.
pub(crate) fn check_sampling(sampling: &Sampling) -> Result<(), GatewayError> {
    let wrong = |field, problem: String| Err(GatewayError::Invalid { field, problem });
    if !(0.0..=2.0).contains(&sampling.temperature) {
        return wrong(
            "temperature",
            format!("is {}, but has to be 0 to 2", sampling.temperature),
        );
    }
    for (field, value) in [
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
    ] {
        if !(-2.0..=2.0).contains(&value) {
            return wrong(field, format!("is {value}, but has to be -2 to 2"));
        }
    }
    if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
        return wrong(
            "top_p",
            format!("is {}, but has to be over 0 and at most 1", sampling.top_p),
        );
    }
    if sampling.max_new_tokens == 0 {
        return wrong(
            "max_new_tokens",
            "is 0, but has to be at least 1".to_owned(),
        );
    }
    Ok(())
}

#[derive(Serialize)]
struct Retrieved<'a> {
    question: &'a str,
    passages: &'a [Passage],
}

#[derive(Serialize)]
struct Token<'a> {
    text: &'a str,
}

/// The events of one answer. Dropping the stream, as a client that hangs up does, drops the generation and so ends its
/// work.
fn told(
    state: GatewayState,
    prepared: Prepared,
    generation: Option<Generation>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        yield Ok(event("retrieved", &Retrieved { question: &prepared.question, passages: &prepared.passages }));
        // A strict answer may be withheld as a whole, so nothing of it is sent before its end.
        let withheld = prepared.is_strict();
        let mut text = String::new();
        let mut written = None;
        if let Some(mut generation) = generation {
            while written.is_none() {
                match generation.next().await {
                    Ok(Step::Token { text: more, .. }) if more.is_empty() => {}
                    Ok(Step::Token { text: more, .. }) => {
                        text.push_str(&more);
                        if !withheld {
                            yield Ok(event("token", &Token { text: &more }));
                        }
                    }
                    Ok(Step::Done { finish_reason, usage }) => {
                        written = Some(Written { text: std::mem::take(&mut text), finish_reason, usage });
                    }
                    Err(error) => {
                        yield Ok(failure(error));
                        return;
                    }
                }
            }
        }
        yield Ok(match state.finish(prepared, written).await {
            Ok(answer) => event("answer", &answer),
            Err(error) => failure(error),
        });
    }
}

/// A server-sent event with a JSON object in one line.
pub(crate) fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default()
        .event(name)
        .data(serde_json::to_string(data).unwrap_or_default())
}

/// What a client gets where an answer fails after it began.
fn failure(error: GatewayError) -> Event {
    event("error", &failure_body(error))
}

/// The body of a failure after the answer began, which the log gets here because no status can tell it any more.
pub(crate) fn failure_body(error: GatewayError) -> ErrorBody {
    crate::measure::answer("failed");
    let failure = ApiFailure::from(error);
    tracing::error!(
        cause = failure.cause_text().unwrap_or_default(),
        "an answer failed half way: {failure}"
    );
    ErrorBody {
        error: failure.error().clone(),
    }
}
