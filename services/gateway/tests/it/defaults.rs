//! The defaults of the configuration are those that were measured where they act.

use lore_config::{Config, LoadOptions};
use lore_embed::Precision;
use lore_gateway::GatewaySettings;
use lore_retrieval::{CitationSettings, FusionSettings};

fn defaults() -> Config {
    let options = LoadOptions::default().env([("HOME", "/nowhere")]);
    Config::load(options).expect("the defaults are a configuration")
}

#[test]
fn support_and_fusion_begin_with_the_measured_values() {
    let settings = GatewaySettings::from(&defaults());
    assert_eq!(settings.citations, CitationSettings::default());
    assert_eq!(settings.fusion, FusionSettings::default());
}

#[test]
fn embedders_compute_in_the_precision_that_was_measured_as_best() {
    let configured = match defaults().models.precision {
        lore_config::Precision::Float32 => Precision::Float32,
        lore_config::Precision::Int8 => Precision::Int8,
    };
    assert_eq!(configured, Precision::default());
}
