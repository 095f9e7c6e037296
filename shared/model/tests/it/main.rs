//! Tests of the decoder against numbers from elsewhere, and of what it promises.

mod folders;
mod parity;
mod training;
