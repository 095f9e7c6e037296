use crate::events::{self, ServerEvent};
use crate::{Client, ClientError};
use futures::{Stream, StreamExt};
use lore_types::{ErrorBody, Message};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

/// A conversation to go on with, in OpenAI's shape.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ChatRequest {
    /// The language model, an adapter, or a collection.
    pub model: String,
    /// What was said, the user last.
    pub messages: Vec<Message>,
    /// Whether the answer comes as it is written.
    pub stream: bool,
    /// The collection to answer from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// 0 always takes the likeliest token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Makes sampling repeatable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// At most this many tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
}

/// What a streamed answer brings.
#[derive(Clone, Debug, PartialEq)]
pub enum ChatEvent {
    /// More text.
    Text(String),
    /// The last chunk with a reason: `stop` or `length`.
    Finished(String),
}

impl Client {
    /// The whole answer, in OpenAI's shape.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn chat(&self, request: &ChatRequest) -> Result<Value, ClientError> {
        let body = ChatRequest {
            stream: false,
            ..request.clone()
        };
        self.post(&["v1", "chat", "completions"], &body).await
    }

    /// The answer as it is written. A stream that ends without OpenAI's last line ends with [`ClientError::Cut`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn chat_stream(
        &self,
        request: &ChatRequest,
    ) -> Result<impl Stream<Item = Result<ChatEvent, ClientError>> + Send + use<>, ClientError>
    {
        let body = ChatRequest {
            stream: true,
            ..request.clone()
        };
        let path = ["v1", "chat", "completions"];
        let response = self
            .send(|| self.request(Method::POST, &path, &[]).json(&body))
            .await?;
        let url = response.url().to_string();
        Ok(chat_events(events::server_events(response), url))
    }
}

fn chat_events(
    events: impl Stream<Item = Result<ServerEvent, ClientError>> + Send,
    url: String,
) -> impl Stream<Item = Result<ChatEvent, ClientError>> + Send {
    async_stream::try_stream! {
        let mut over = false;
        for await event in events.fuse() {
            let event: ServerEvent = event?;
            if event.is_end() {
                over = true;
                break;
            }
            let chunk: Value = event.json(&url)?;
            if chunk.get("error").is_some() {
                let error = Box::new(event.json::<ErrorBody>(&url)?.error);
                Err(ClientError::Api { status: 500, error, retry_after: None })?;
            }
            for event in of_chunk(&chunk) {
                yield event;
            }
        }
        if !over {
            Err(ClientError::Cut { url })?;
        }
    }
}

fn of_chunk(chunk: &Value) -> impl Iterator<Item = ChatEvent> {
    let choice = &chunk["choices"][0];
    let text = choice["delta"]["content"]
        .as_str()
        .filter(|text| !text.is_empty());
    let text = text.map(|text| ChatEvent::Text(text.to_owned()));
    let finished = choice["finish_reason"].as_str();
    let finished = finished.map(|reason| ChatEvent::Finished(reason.to_owned()));
    text.into_iter().chain(finished)
}
