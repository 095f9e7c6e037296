use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every answer that is not a success: `{"error": {…}}`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ApiError,
}

/// One error as a client sees it. `type` and `param` are there for OpenAI's clients, which look for them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ApiError {
    /// A stable word to branch on, such as `collection_not_found`.
    pub code: String,
    /// What is wrong, naming the thing.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The id under which the server's log holds the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// OpenAI's family of the error: `invalid_request_error`, `rate_limit_error`, `server_error`, …
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The field of the request that is wrong, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
}
