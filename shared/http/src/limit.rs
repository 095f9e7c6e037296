use crate::{ApiFailure, ErrorCode};

/// The most bytes that a server takes in one request. As an extension of the request it lets errors name the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit(pub u64);

impl BodyLimit {
    /// The refusal of a body that is larger.
    pub fn exceeded(self) -> ApiFailure {
        ApiFailure::new(
            ErrorCode::BodyTooLarge,
            format!("the request has more than {} bytes", self.0),
        )
        .hint("send less at a time, or raise `server.max_body`")
    }
}
