use crate::ClientError;
use bytes::Bytes;
use futures::Stream;
use reqwest::Response;
use serde::de::DeserializeOwned;

/// One event of a `text/event-stream`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// Its name; `message` where the server gave none.
    pub event: String,
    /// Its data, lines joined by line feeds.
    pub data: String,
}

impl ServerEvent {
    /// Whether it is OpenAI's last line, `[DONE]`.
    pub fn is_end(&self) -> bool {
        self.data == "[DONE]"
    }

    /// The data as `T`.
    pub(crate) fn json<T: DeserializeOwned>(&self, url: &str) -> Result<T, ClientError> {
        serde_json::from_str(&self.data).map_err(|error| ClientError::Malformed {
            url: url.to_owned(),
            reason: format!("event `{}`: {error}", self.event),
        })
    }
}

/// The events of an answer as they come; keep-alive comments are left out.
pub fn server_events(
    mut response: Response,
) -> impl Stream<Item = Result<ServerEvent, ClientError>> + Send {
    let url = response.url().to_string();
    async_stream::try_stream! {
        let mut lines = Lines::default();
        let mut next = ServerEvent::default();
        while let Some(bytes) = chunk(&mut response, &url).await? {
            lines.push(&bytes);
            while let Some(line) = lines.next_line() {
                if let Some(event) = accept(&mut next, &line) {
                    yield event;
                }
            }
        }
    }
}

async fn chunk(response: &mut Response, url: &str) -> Result<Option<Bytes>, ClientError> {
    response
        .chunk()
        .await
        .map_err(|source| ClientError::Unreachable {
            url: url.to_owned(),
            source,
        })
}

/// Adds one line to the event under construction; an empty line finishes it.
fn accept(next: &mut ServerEvent, line: &str) -> Option<ServerEvent> {
    if line.is_empty() {
        return finish(std::mem::take(next));
    }
    let (field, value) = line.split_once(':').unwrap_or((line, ""));
    let value = value.strip_prefix(' ').unwrap_or(value);
    match field {
        "event" => value.clone_into(&mut next.event),
        "data" => {
            next.data.push_str(value);
            next.data.push('\n');
        }
        // Comments, ids and retry times say nothing of an answer.
        _ => {}
    }
    None
}

fn finish(mut event: ServerEvent) -> Option<ServerEvent> {
    event.data.pop()?;
    if event.event.is_empty() {
        "message".clone_into(&mut event.event);
    }
    Some(event)
}

/// Bytes that come in any cut, as whole lines.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    fn next_line(&mut self) -> Option<String> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        let text = String::from_utf8_lossy(&line);
        Some(
            text.trim_end_matches('\n')
                .trim_end_matches('\r')
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(parts: &[&[u8]]) -> Vec<ServerEvent> {
        let (mut lines, mut next, mut found) =
            (Lines::default(), ServerEvent::default(), Vec::new());
        for part in parts {
            lines.push(part);
            while let Some(line) = lines.next_line() {
                found.extend(accept(&mut next, &line));
            }
        }
        found
    }

    fn event(event: &str, data: &str) -> ServerEvent {
        ServerEvent {
            event: event.to_owned(),
            data: data.to_owned(),
        }
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let text = ": hello\r\n\r\nevent: token\ndata: {\"a\":\ndata: \"年\"}\n\ndata:[DONE]\n\nevent: lost\n\n".as_bytes();
        let expected = vec![
            event("token", "{\"a\":\n\"年\"}"),
            event("message", "[DONE]"),
        ];
        for size in 1..text.len() {
            let parts: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(events(&parts), expected, "cut into pieces of {size}");
        }
    }
}
