use crate::events::{self, ServerEvent};
use crate::{Client, ClientError};
use futures::{Stream, StreamExt};
use lore_types::{Answer, ErrorBody, List, Passage, SearchMode};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A search.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SearchRequest {
    /// The collection.
    pub collection: String,
    /// What to look for.
    pub query: String,
    /// Which sides are asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<SearchMode>,
    /// At most this many passages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// A condition on metadata, as `lore_types::Filter` reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// Whether every score and rank is told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub explain: bool,
}

/// A question.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AskRequest {
    /// The collection.
    pub collection: String,
    /// The question.
    pub question: String,
    /// Whether tokens are sent as they come.
    pub stream: bool,
    /// Which sides are asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<SearchMode>,
    /// At most this many passages for the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// A condition on metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// The model that answers; the server's default where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether an answer with a sentence that no passage backs is withheld.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    /// Whether scores and the prompt are told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub explain: bool,
    /// At most this many tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_new_tokens: Option<usize>,
}

/// What a streamed answer brings.
#[derive(Clone, Debug)]
pub enum AskEvent {
    /// More text of the answer, as the model writes it; markers may still change in the whole answer.
    Token(String),
    /// The whole answer; the last event.
    Answer(Box<Answer>),
}

#[derive(Deserialize)]
struct Token {
    text: String,
}

impl Client {
    /// The passages that answer a query best.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn search(&self, request: &SearchRequest) -> Result<List<Passage>, ClientError> {
        self.post(&["v1", "search"], request).await
    }

    /// The answer to a question, when it is whole.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn ask(&self, request: &AskRequest) -> Result<Answer, ClientError> {
        self.post(
            &["v1", "ask"],
            &AskRequest {
                stream: false,
                ..request.clone()
            },
        )
        .await
    }

    /// The answer to a question as it is written. The last event is [`AskEvent::Answer`]; a stream that ends without
    /// it ends with [`ClientError::Cut`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn ask_stream(
        &self,
        request: &AskRequest,
    ) -> Result<impl Stream<Item = Result<AskEvent, ClientError>> + Send + use<>, ClientError> {
        let body = AskRequest {
            stream: true,
            ..request.clone()
        };
        let response = self
            .send(|| self.request(Method::POST, &["v1", "ask"], &[]).json(&body))
            .await?;
        let url = response.url().to_string();
        Ok(answer_events(events::server_events(response), url))
    }
}

fn answer_events(
    events: impl Stream<Item = Result<ServerEvent, ClientError>> + Send,
    url: String,
) -> impl Stream<Item = Result<AskEvent, ClientError>> + Send {
    async_stream::try_stream! {
        let mut over = false;
        for await event in events.fuse() {
            let Some(event) = answer_event(&event?, &url)? else { continue };
            over = matches!(event, AskEvent::Answer(_));
            yield event;
            if over {
                break;
            }
        }
        if !over {
            Err(ClientError::Cut { url })?;
        }
    }
}

fn answer_event(event: &ServerEvent, url: &str) -> Result<Option<AskEvent>, ClientError> {
    match event.event.as_str() {
        "token" => Ok(Some(AskEvent::Token(event.json::<Token>(url)?.text))),
        "answer" => Ok(Some(AskEvent::Answer(Box::new(event.json(url)?)))),
        "error" => Err(ClientError::Api {
            status: 500,
            error: Box::new(event.json::<ErrorBody>(url)?.error),
            retry_after: None,
        }),
        // Other events tell of the way to the answer.
        _ => Ok(None),
    }
}
