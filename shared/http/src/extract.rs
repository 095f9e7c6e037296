use crate::{ApiFailure, BodyLimit, ErrorCode};
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

/// The JSON body of a request. Like `axum::Json`, but refuses in Lore's shape and names the wrong field.
#[derive(Clone, Copy, Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiFailure;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiFailure> {
        if !is_json(request.headers()) {
            return Err(not_json(request.headers()));
        }
        let limit = request.extensions().get::<BodyLimit>().copied();
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| unread(&rejection, limit))?;
        parse(&bytes).map(Self)
    }
}

/// Whether the content type is JSON. One that is missing counts as JSON, because that is what people at a terminal mean;
/// but not where a web page sends it: a page can leave the content type out to pass without its browser's asking first.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return !headers.contains_key(header::ORIGIN);
    };
    let Ok(text) = value.to_str() else {
        return false;
    };
    let essence = text
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn not_json(headers: &HeaderMap) -> ApiFailure {
    let actual = headers
        .get(header::CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let actual = actual.unwrap_or_default();
    ApiFailure::new(
        ErrorCode::UnsupportedMediaType,
        format!("the body has the content type `{actual}`"),
    )
    .hint("send JSON with `content-type: application/json`")
}

fn unread(
    rejection: &axum::extract::rejection::BytesRejection,
    limit: Option<BodyLimit>,
) -> ApiFailure {
    let code = ErrorCode::of_status(rejection.status());
    if let (ErrorCode::BodyTooLarge, Some(limit)) = (code, limit) {
        return limit.exceeded().cause(rejection);
    }
    ApiFailure::new(code, "the body could not be read").cause(rejection)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiFailure> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let failure = ApiFailure::new(
            ErrorCode::InvalidJson,
            format!("the JSON body is wrong: {}", error.inner()),
        );
        if path == "." {
            failure
        } else {
            failure.param(path)
        }
    })?;
    reader.end().map_err(|error| {
        ApiFailure::new(
            ErrorCode::InvalidJson,
            format!("the JSON body is wrong: {error}"),
        )
    })?;
    Ok(value)
}

/// The query parameters of a request.
#[derive(Clone, Copy, Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiFailure> {
        let Query(value) = Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection| {
                ApiFailure::new(
                    ErrorCode::InvalidRequest,
                    rejection.body_text().to_lowercase(),
                )
            })?;
        Ok(Self(value))
    }
}

/// The variable segments of a request's path.
#[derive(Clone, Copy, Debug)]
pub struct Segments<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiFailure> {
        let Path(value) = Path::from_request_parts(parts, state)
            .await
            .map_err(|rejection| {
                ApiFailure::new(
                    ErrorCode::InvalidRequest,
                    format!("the path is wrong: {}", rejection.body_text()),
                )
            })?;
        Ok(Self(value))
    }
}
