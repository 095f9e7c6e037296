//! Here is a domain, give me an adapter: data sets, training, the registry of adapters.

pub mod dataset;
