//! Parsing, chunking, and the whole service with real parts over HTTP.
mod chunk;
mod parse;
mod pipeline;
