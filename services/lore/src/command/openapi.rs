use crate::context::Context;
use crate::exit::Failure;
use crate::serve::openapi;

/// Prints the API's description; `docs/openapi.json` is made with it.
pub fn run(context: &Context) -> Result<(), Failure> {
    context.output.raw(openapi::text()?)
}
