use super::health;
use crate::exit::Failure;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, SecurityRequirement,
};

/// The description of the whole API, however the services are spread over processes.
pub fn document() -> OpenApi {
    let mut document = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Lore")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Answers questions about your documents, with cited sources.",
                ))
                .build(),
        )
        .components(Some(
            ComponentsBuilder::new()
                .security_scheme("api_key", bearer())
                .build(),
        ))
        .security(Some([SecurityRequirement::new(
            "api_key",
            Vec::<String>::new(),
        )]))
        .build();
    document.merge(lore_ingest::openapi());
    document.merge(lore_trainer::openapi());
    document.merge(lore_gateway::openapi());
    document.merge(health::description());
    document
}

/// The description as indented JSON, with a line feed at its end.
///
/// # Errors
/// Where it cannot be written as JSON.
pub fn text() -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(&document()).map_err(|error| Failure::of(&error))?;
    Ok(text + "\n")
}

fn bearer() -> SecurityScheme {
    SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build())
}
