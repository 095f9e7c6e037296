//! What a client still sends when its answer is there already. A server that answers and closes the connection while the
//! client writes leaves it with a broken pipe in place of the answer: so the rest is read, for a while, and forgotten.

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long the rest of a refused body may take. A client on this machine sends gigabytes in it.
const LONGEST: Duration = Duration::from_secs(5);

/// Reads what is left of a body after a refusal, and only then lets the refusal go.
pub(crate) async fn read(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    // Such a client waits for a word before it sends anything; being refused, it does not send.
    let asks = request.headers().contains_key(header::EXPECT);
    let (back, left) = oneshot::channel();
    let request = request.map(|body| {
        Body::from_stream(Lent {
            body: Some(body.into_data_stream()),
            begun: !asks,
            back: Some(back),
        })
    });
    let response = next.run(request).await;
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        // Whether it came to its end makes no difference to the answer.
        let _ = timeout(LONGEST, finish(left)).await;
    }
    response
}

async fn finish(left: oneshot::Receiver<BodyDataStream>) {
    let Ok(mut body) = left.await else { return };
    while let Some(Ok(_)) = body.next().await {}
}

/// A body that is given back when its reader lets go of it before its end.
struct Lent {
    body: Option<BodyDataStream>,
    begun: bool,
    back: Option<oneshot::Sender<BodyDataStream>>,
}

impl Stream for Lent {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.begun = true;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = body.poll_next_unpin(context);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.body = None;
        }
        polled
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(back), true) = (self.body.take(), self.back.take(), self.begun) {
            // Nobody takes it back where the answer is out.
            let _ = back.send(body);
        }
    }
}
