//! The HTTP edge that every service shares: here is my failure, give me the answer a client understands.
//!
//! *Useful for* handlers: [`ApiFailure`] is their error type, [`JsonBody`], [`Params`] and [`Segments`] their
//! extractors, and [`sealed`] gives a finished router its request ids and makes every error, also those that axum or a
//! layer made, the one shape of `lore_types::ErrorBody`. *Not useful for* what the errors of a service are: each service
//! maps its own to [`ErrorCode`]s.

mod code;
mod extract;
mod failure;
mod host;
mod limit;
mod seal;
mod unread;

pub use code::ErrorCode;
pub use extract::{JsonBody, Params, Segments};
pub use failure::ApiFailure;
pub use host::is_loopback_host;
pub use limit::{BodyLimit, exceeds_limit, limited};
pub use seal::{RequestId, sealed, sealed_inside};
