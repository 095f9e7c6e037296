//! A served router and a client to it.

use axum::Router;
use reqwest::Method;
use serde_json::Value;

/// Talks to one server on a port of its own.
#[derive(Clone)]
pub struct Client {
    pub url: String,
    http: reqwest::Client,
}

/// An answer with a JSON body.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: Value,
}

/// One server-sent event.
#[derive(Debug, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: String,
}

impl Event {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).expect("an event with JSON")
    }
}

impl Client {
    /// Serves `router` on port 0 for as long as the test's runtime lives.
    pub async fn serving(router: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url,
            http: reqwest::Client::new(),
        }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub async fn get(&self, path: &str) -> Reply {
        reply(
            self.request(Method::GET, path)
                .send()
                .await
                .expect("an answer"),
        )
        .await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        reply(
            self.request(Method::POST, path)
                .json(&body)
                .send()
                .await
                .expect("an answer"),
        )
        .await
    }

    /// Posts and gives the answer as it comes.
    pub async fn open(&self, path: &str, body: Value) -> reqwest::Response {
        let sent = self.request(Method::POST, path).json(&body).send().await;
        sent.expect("an answer")
    }

    /// Posts and reads server-sent events to their end.
    pub async fn stream(&self, path: &str, body: Value) -> Vec<Event> {
        let response = self
            .request(Method::POST, path)
            .json(&body)
            .send()
            .await
            .expect("an answer");
        let text = response.text().await.expect("a body");
        text.split("\n\n").filter_map(event).collect()
    }
}

async fn reply(response: reqwest::Response) -> Reply {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let text = response.text().await.expect("a body");
    Reply {
        status,
        retry_after,
        body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
    }
}

fn event(block: &str) -> Option<Event> {
    let field = |name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|value| value.trim_start().to_owned())
    };
    Some(Event {
        name: field("event:").unwrap_or_default(),
        data: field("data:")?,
    })
}
