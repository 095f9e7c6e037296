//! Tests of the trainer: data sets.

mod dataset;
