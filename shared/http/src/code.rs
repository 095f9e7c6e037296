use axum::http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// The stable words that a client may branch on. A word never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word that stands in `error.code`.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

codes! {
    /// The request as a whole cannot be understood or makes no sense.
    InvalidRequest = "invalid_request",
    /// The body is not JSON, or not of the documented shape; `param` names the field.
    InvalidJson = "invalid_json",
    /// A collection's or document's name that is not allowed.
    InvalidName = "invalid_name",
    /// Metadata that is not a flat JSON object, or is too large.
    InvalidMetadata = "invalid_metadata",
    /// A filter that cannot be understood.
    InvalidFilter = "invalid_filter",
    /// The question and what goes with it do not fit into the model.
    ContextLengthExceeded = "context_length_exceeded",
    /// No or a wrong API key.
    Unauthorized = "unauthorized",
    /// The key does not allow this.
    Forbidden = "forbidden",
    /// No such route.
    NotFound = "not_found",
    /// No such collection.
    CollectionNotFound = "collection_not_found",
    /// No such document.
    DocumentNotFound = "document_not_found",
    /// No such job.
    JobNotFound = "job_not_found",
    /// No such model or adapter.
    ModelNotFound = "model_not_found",
    /// The route exists, but not for this method.
    MethodNotAllowed = "method_not_allowed",
    /// The request is for another host: a server without keys answers only to this machine's own names.
    MisdirectedRequest = "misdirected_request",
    /// What is asked for contradicts what is there.
    Conflict = "conflict",
    /// The document was not read yet, or could not be.
    DocumentNotReady = "document_not_ready",
    /// More bytes than the limit.
    BodyTooLarge = "body_too_large",
    /// More files in one upload than the limit.
    TooManyFiles = "too_many_files",
    /// A content type that the route does not take.
    UnsupportedMediaType = "unsupported_media_type",
    /// Too many jobs or requests wait already; `Retry-After` says when to come back.
    QueueFull = "queue_full",
    /// Something went wrong inside; the log has the cause under the request id.
    Internal = "internal",
    /// The disk is full, or cannot be written.
    StorageFailed = "storage_failed",
    /// Another service or server that is needed cannot be reached.
    UpstreamUnavailable = "upstream_unavailable",
    /// A model that is needed is not on this machine.
    ModelNotInstalled = "model_not_installed",
    /// The service starts or stops.
    NotReady = "not_ready",
    /// It took longer than the limit.
    Timeout = "timeout",
}

impl ErrorCode {
    /// The HTTP status that goes with it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest
            | Self::InvalidJson
            | Self::InvalidName
            | Self::InvalidMetadata
            | Self::InvalidFilter
            | Self::ContextLengthExceeded => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound
            | Self::CollectionNotFound
            | Self::DocumentNotFound
            | Self::JobNotFound
            | Self::ModelNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::MisdirectedRequest => StatusCode::MISDIRECTED_REQUEST,
            Self::Conflict | Self::DocumentNotReady => StatusCode::CONFLICT,
            Self::BodyTooLarge | Self::TooManyFiles => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::QueueFull => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::StorageFailed => StatusCode::INSUFFICIENT_STORAGE,
            Self::UpstreamUnavailable => StatusCode::BAD_GATEWAY,
            Self::ModelNotInstalled | Self::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The code that says most about a bare status, for answers that axum or a layer made.
    pub fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            408 | 504 => Self::Timeout,
            409 => Self::Conflict,
            413 => Self::BodyTooLarge,
            415 => Self::UnsupportedMediaType,
            421 => Self::MisdirectedRequest,
            429 => Self::QueueFull,
            502 => Self::UpstreamUnavailable,
            503 => Self::NotReady,
            507 => Self::StorageFailed,
            400..=499 => Self::InvalidRequest,
            _ => Self::Internal,
        }
    }

    /// OpenAI's family of the error, the `type` of its clients.
    pub fn kind(self) -> &'static str {
        let status = self.status();
        match status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            _ if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }
}
