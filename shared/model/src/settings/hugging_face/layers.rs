use super::Config;
use crate::error::{ModelError, Result};
use crate::settings::{Architecture, LayerSettings};
use serde_json::Value;

impl Config {
    pub(super) fn layers(
        &self,
        architecture: Architecture,
        count: usize,
        rope_of: [usize; 2],
    ) -> Result<Vec<LayerSettings>> {
        let sliding = self.sliding_layers(architecture, count)?;
        let window = self.window(architecture)?;
        let layer = |sliding: bool| -> Result<LayerSettings> {
            let window = match (sliding, window) {
                (false, _) => None,
                (true, Some(window)) => Some(window),
                (true, None) => {
                    return Err(ModelError::MissingSetting("sliding_window".to_owned()));
                }
            };
            Ok(LayerSettings {
                window,
                rope: rope_of[usize::from(sliding)],
            })
        };
        sliding.into_iter().map(layer).collect()
    }

    fn window(&self, architecture: Architecture) -> Result<Option<usize>> {
        let default = matches!(
            architecture,
            Architecture::Mistral
                | Architecture::Gemma3
                | Architecture::Qwen2
                | Architecture::Qwen3
        );
        match self.map.get("sliding_window") {
            None if default => Ok(Some(4096)),
            _ => self.size("sliding_window"),
        }
    }

    /// Which layers slide, from `layer_types` or from the older settings.
    fn sliding_layers(&self, architecture: Architecture, count: usize) -> Result<Vec<bool>> {
        if let Some(types) = self.get("layer_types") {
            return sliding_from_types(types, count);
        }
        let window = self.window(architecture)?.is_some();
        match architecture {
            Architecture::Llama if self.size("sliding_window")?.is_some() => {
                Err(ModelError::unsupported("sliding_window", "set on llama"))
            }
            Architecture::Llama => Ok(vec![false; count]),
            Architecture::Mistral => Ok(vec![window; count]),
            Architecture::Qwen2 | Architecture::Qwen3 => {
                let from = self.size("max_window_layers")?.unwrap_or(28);
                let on = window && self.flag("use_sliding_window", false)?;
                Ok((0..count).map(|layer| on && layer >= from).collect())
            }
            Architecture::Gemma3 => {
                let pattern = self
                    .size("sliding_window_pattern")?
                    .or(self.size("_sliding_window_pattern")?)
                    .unwrap_or(6)
                    .max(1);
                Ok((0..count)
                    .map(|layer| !(layer + 1).is_multiple_of(pattern))
                    .collect())
            }
        }
    }
}

fn sliding_from_types(types: &Value, count: usize) -> Result<Vec<bool>> {
    let types = types
        .as_array()
        .filter(|types| types.len() == count)
        .ok_or_else(|| ModelError::MissingSetting("layer_types".to_owned()))?;
    let sliding = |kind: &Value| match kind.as_str() {
        Some("full_attention") => Ok(false),
        Some("sliding_attention") => Ok(true),
        _ => Err(ModelError::unsupported("layer_types", kind)),
    };
    types.iter().map(sliding).collect()
}
