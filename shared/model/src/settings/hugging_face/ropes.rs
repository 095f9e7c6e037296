use super::{Config, number};
use crate::error::{ModelError, Result};
use crate::settings::{Architecture, RopeScaling, RopeSettings};
use serde_json::{Map, Value};

impl Config {
    /// The rotations, and which of them full (0) and sliding (1) layers use.
    pub(super) fn ropes(
        &self,
        architecture: Architecture,
        head_dim: usize,
    ) -> Result<(Vec<RopeSettings>, [usize; 2])> {
        let parameters = self.get("rope_parameters").and_then(Value::as_object);
        if architecture != Architecture::Gemma3 {
            let parameters = parameters.or(self.get("rope_scaling").and_then(Value::as_object));
            return Ok((vec![self.rope(parameters, 10_000.0, "rope_theta")?], [0, 0]));
        }
        let _ = head_dim;
        let nested = |key: &str| {
            parameters
                .and_then(|map| map.get(key))
                .and_then(Value::as_object)
        };
        let flat = parameters
            .filter(|map| map.contains_key("rope_type") || map.contains_key("rope_theta"));
        let full = nested("full_attention")
            .or(flat)
            .or(self.get("rope_scaling").and_then(Value::as_object));
        let full = self.rope(full, 1_000_000.0, "rope_theta")?;
        let sliding = match nested("sliding_attention") {
            Some(map) => self.rope(Some(map), 10_000.0, "rope_local_base_freq")?,
            None => RopeSettings {
                theta: self.number("rope_local_base_freq")?.unwrap_or(10_000.0),
                scaling: RopeScaling::None,
            },
        };
        Ok((vec![full, sliding], [0, 1]))
    }

    fn rope(
        &self,
        parameters: Option<&Map<String, Value>>,
        theta: f64,
        theta_key: &str,
    ) -> Result<RopeSettings> {
        let own = parameters
            .map(|map| number(map, "rope_theta"))
            .transpose()?
            .flatten();
        let theta = own.or(self.number(theta_key)?).unwrap_or(theta);
        let scaling = parameters.map_or(Ok(RopeScaling::None), |map| self.rope_scaling(map))?;
        Ok(RopeSettings { theta, scaling })
    }

    fn rope_scaling(&self, map: &Map<String, Value>) -> Result<RopeScaling> {
        if let Some(part) = number(map, "partial_rotary_factor")?.filter(|part| *part != 1.0) {
            return Err(ModelError::unsupported(
                "rope_parameters.partial_rotary_factor",
                part,
            ));
        }
        let kind = map
            .get("rope_type")
            .or(map.get("type"))
            .and_then(Value::as_str)
            .unwrap_or("default");
        let needed = |key: &str| {
            number(map, key)?
                .ok_or_else(|| ModelError::MissingSetting(format!("rope_scaling.{key}")))
        };
        match kind {
            "default" => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear(needed("factor")?)),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: needed("factor")?,
                low_freq_factor: needed("low_freq_factor")?,
                high_freq_factor: needed("high_freq_factor")?,
                original_max_position_embeddings: needed("original_max_position_embeddings")?,
            }),
            other => Err(ModelError::UnsupportedSetting {
                setting: "rope_type".to_owned(),
                value: other.to_owned(),
                remedy: Some("supported are default, linear and llama3".to_owned()),
            }),
        }
    }
}
