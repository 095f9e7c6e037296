use super::health;
use crate::exit::Failure;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, Response,
    ResponseBuilder, SecurityRequirement,
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
    tell_of_keys(&mut document);
    document
}

/// Every route that wants a key may refuse one.
fn tell_of_keys(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        let methods = [
            &mut item.get,
            &mut item.post,
            &mut item.put,
            &mut item.patch,
            &mut item.delete,
        ];
        // A route that says something of security itself says that it needs no key.
        let keyed = methods
            .into_iter()
            .flatten()
            .filter(|operation| operation.security.is_none());
        for operation in keyed {
            let responses = &mut operation.responses.responses;
            responses
                .entry("401".to_owned())
                .or_insert_with(|| unauthorized().into());
        }
    }
}

fn unauthorized() -> Response {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody")));
    ResponseBuilder::new()
        .description("The server has keys, and none of them came with the request")
        .content("application/json", body.build())
        .build()
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
