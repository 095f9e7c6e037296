use crate::error::{ModelError, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Which linear layers an adapter is on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// The last parts of module paths, such as `q_proj`.
    List(Vec<String>),
    /// `all-linear` (every one but the output projection), or a regular expression for whole module paths.
    Pattern(String),
}

/// The settings of a LoRA adapter; names and meaning are PEFT's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank.
    pub r: usize,
    /// Numerator of the scaling.
    pub lora_alpha: f64,
    /// Which linear layers.
    pub target_modules: TargetModules,
    /// Share of inputs that training leaves out.
    #[serde(default)]
    pub lora_dropout: f64,
    /// Scaling by alpha / √r instead of alpha / r.
    #[serde(default)]
    pub use_rslora: bool,
    /// Other ranks for module paths that end in a match.
    #[serde(default)]
    pub rank_pattern: BTreeMap<String, usize>,
    /// Other alphas for module paths that end in a match.
    #[serde(default)]
    pub alpha_pattern: BTreeMap<String, f64>,
    /// The base model that the adapter names.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            r: 16,
            lora_alpha: 32.0,
            target_modules: TargetModules::Pattern("all-linear".to_owned()),
            lora_dropout: 0.0,
            use_rslora: false,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            base_model_name_or_path: None,
        }
    }
}

/// Keys of `adapter_config.json` that [`LoraConfig`] holds.
const KNOWN: [&str; 8] = [
    "r",
    "lora_alpha",
    "target_modules",
    "lora_dropout",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "base_model_name_or_path",
];

/// Keys that say nothing about the numbers, or that only chose what the file of weights already shows.
const HARMLESS: [&str; 13] = [
    "auto_mapping",
    "ensure_weight_tying",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
];

impl LoraConfig {
    /// Reads `adapter_config.json`.
    ///
    /// # Errors
    /// [`ModelError::UnsupportedAdapter`] with the key that asks for something that Lore does not compute.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(ModelError::read(path))?;
        let value: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| ModelError::damaged(path, error))?;
        value
            .iter()
            .try_for_each(|(key, value)| check(path, key, value))?;
        let known = value
            .into_iter()
            .filter(|(key, value)| KNOWN.contains(&key.as_str()) && !value.is_null());
        let config: Self = serde_json::from_value(Value::Object(known.collect()))
            .map_err(|error| ModelError::damaged(path, error))?;
        if config.r == 0 {
            return Err(refused(path, "r", &json!(0)));
        }
        Ok(config)
    }

    /// The text of `adapter_config.json` for PEFT.
    pub fn to_peft_json(&self) -> Value {
        json!({
            "alpha_pattern": self.alpha_pattern,
            "auto_mapping": null,
            "base_model_name_or_path": self.base_model_name_or_path,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": whole(self.lora_alpha),
            "lora_dropout": self.lora_dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.r,
            "rank_pattern": self.rank_pattern,
            "target_modules": self.target_modules,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": self.use_rslora,
        })
    }
}

/// PEFT writes alpha as an integer where it is one.
fn whole(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e9 {
        json!(value as i64)
    } else {
        json!(value)
    }
}

fn refused(path: &Path, setting: &str, value: &Value) -> ModelError {
    ModelError::UnsupportedAdapter {
        path: path.to_owned(),
        setting: setting.to_owned(),
        value: value.to_string(),
    }
}

/// Refuses every key that asks for more than plain LoRA, those that do not exist yet included.
fn check(path: &Path, key: &str, value: &Value) -> Result<()> {
    let off = match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let fine = match key {
        "peft_type" => value == "LORA",
        "bias" => value == "none",
        // Other ways to begin change the base weights or are over when an adapter is saved.
        "init_lora_weights" => {
            value.is_boolean()
                || ["gaussian", "eva", "orthogonal"]
                    .iter()
                    .any(|kind| value == kind)
        }
        _ => off || KNOWN.contains(&key) || HARMLESS.contains(&key),
    };
    if fine {
        Ok(())
    } else {
        Err(refused(path, key, value))
    }
}
