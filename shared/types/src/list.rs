use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of things, in OpenAI's shape.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// Always `list`.
    pub object: String,
    /// The things of this page.
    pub data: Vec<T>,
    /// Whether more follow; ask again with `after` set to `last_id`.
    #[serde(default)]
    pub has_more: bool,
    /// The id of the last thing of this page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_id: Option<String>,
}

impl<T> List<T> {
    /// A list that holds everything there is.
    pub fn whole(data: Vec<T>) -> Self {
        Self {
            object: "list".to_owned(),
            data,
            has_more: false,
            last_id: None,
        }
    }
}

/// What a deletion answers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Deleted {
    /// The id or the name of what was deleted.
    pub id: String,
    /// Always true: a deletion that cannot be done is an error.
    pub deleted: bool,
}
