use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use std::sync::Arc;
use tokio::sync::watch;
use tower::ServiceExt;

/// A router that can be exchanged while the server runs: first the one that says "loading", then the whole one.
#[derive(Clone)]
pub struct Switch {
    current: Arc<watch::Sender<Router>>,
}

impl Switch {
    /// Serves `router` for now.
    pub fn new(router: Router) -> Self {
        Self {
            current: Arc::new(watch::Sender::new(router)),
        }
    }

    /// Serves `router` from now on. Requests under way end on the one before.
    pub fn set(&self, router: Router) {
        drop(self.current.send_replace(router));
    }

    /// The service that passes each request to the router of the moment.
    pub fn router(&self) -> Router {
        Router::new().fallback(dispatch).with_state(self.clone())
    }
}

async fn dispatch(State(switch): State<Switch>, request: Request) -> Response {
    let router = switch.current.borrow().clone();
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
