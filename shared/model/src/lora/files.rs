use super::{Adapter, LoraConfig, LoraPair};
use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::weights::{read_safetensors, write_safetensors, write_whole};
use candle_core::{DType, Tensor};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What stands before module paths in PEFT's files.
const PREFIX: &str = "base_model.model.";
const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT has no place for: which base the adapter was trained on.
const LORE: &str = "lore.json";
const FINGERPRINT: &str = "base_fingerprint";

impl Adapter {
    /// Reads a PEFT folder for a base model. `name` and `base` are for messages.
    ///
    /// # Errors
    /// Missing or damaged files; what Lore does not compute, by its key; [`ModelError::WrongBase`] with both names when
    /// the shapes do not fit, or when `lore.json` beside it (which Lore writes and PEFT does not) names other weights.
    pub fn load(folder: &Path, decoder: &Decoder, name: &str, base: &str) -> Result<Self> {
        let config = LoraConfig::read(&folder.join(CONFIG))?;
        let path = folder.join(WEIGHTS);
        let mut tensors = by_module(&path, read_safetensors(&path, decoder.device())?)?;
        let wrong = |problem: String| ModelError::WrongBase {
            adapter: name.to_owned(),
            trained_on: config
                .base_model_name_or_path
                .clone()
                .unwrap_or_else(|| "an unnamed model".to_owned()),
            loaded: base.to_owned(),
            problem,
        };
        let mut pairs = Vec::new();
        for linear in decoder.linears() {
            let Some(halves) = tensors.remove(&linear.name) else {
                pairs.push(None);
                continue;
            };
            let (outputs, inputs) = linear.weight.dims()?;
            let (rank, scaling) = config.rank_and_scaling(&linear.name)?;
            let pair = halves.pair(&path, &linear.name, scaling)?;
            if pair.a.dims() != [rank, inputs] || pair.b.dims() != [outputs, rank] {
                let (a, b) = (pair.a.dims(), pair.b.dims());
                return Err(wrong(format!(
                    "at `{}` it has {a:?} and {b:?}, but rank {rank} asks for [{rank}, {inputs}] and [{outputs}, {rank}]",
                    linear.name
                )));
            }
            pairs.push(Some(pair));
        }
        if let Some(trained_on) = fingerprint(&folder.join(LORE))? {
            let loaded = decoder.fingerprint()?;
            if trained_on != loaded {
                return Err(wrong(format!(
                    "their weights differ: fingerprint {trained_on:.12}… against {loaded:.12}…"
                )));
            }
        }
        match tensors.keys().next() {
            Some(module) => Err(wrong(format!("the base has no linear layer `{module}`"))),
            None if pairs.iter().all(Option::is_none) => {
                Err(ModelError::damaged(&path, "it holds no tensors"))
            }
            None => Self::finished(config, pairs, decoder),
        }
    }

    /// Writes a PEFT folder; each file appears whole or not at all, the weights last.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn save(&self, folder: &Path, decoder: &Decoder) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(ModelError::write(folder))?;
        let mut tensors = BTreeMap::new();
        for linear in decoder.linears() {
            if let Some(pair) = self.pair(linear.slot) {
                tensors.insert(
                    format!("{PREFIX}{}.lora_A.weight", linear.name),
                    pair.a.contiguous()?,
                );
                tensors.insert(
                    format!("{PREFIX}{}.lora_B.weight", linear.name),
                    pair.b.contiguous()?,
                );
            }
        }
        let config = format!("{:#}\n", self.config.to_peft_json());
        let lore = serde_json::json!({ FINGERPRINT: decoder.fingerprint()? });
        write_whole(&folder.join(LORE), format!("{lore:#}\n").as_bytes())?;
        write_whole(&folder.join(CONFIG), config.as_bytes())?;
        write_safetensors(&folder.join(WEIGHTS), &tensors)
    }
}

/// The fingerprint in `lore.json`, where that is there.
fn fingerprint(path: &Path) -> Result<Option<String>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(ModelError::read(path))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| ModelError::damaged(path, error))?;
    Ok(value[FINGERPRINT].as_str().map(str::to_owned))
}

#[derive(Default)]
struct Halves {
    a: Option<Tensor>,
    b: Option<Tensor>,
}

impl Halves {
    fn pair(self, path: &Path, module: &str, scaling: f64) -> Result<LoraPair> {
        match (self.a, self.b) {
            (Some(a), Some(b)) => Ok(LoraPair {
                a: a.to_dtype(DType::F32)?,
                b: b.to_dtype(DType::F32)?,
                scaling,
            }),
            _ => Err(ModelError::damaged(
                path,
                format!("`{module}` has only one of lora_A and lora_B"),
            )),
        }
    }
}

fn by_module(path: &Path, tensors: HashMap<String, Tensor>) -> Result<BTreeMap<String, Halves>> {
    let mut modules: BTreeMap<String, Halves> = BTreeMap::new();
    for (key, tensor) in tensors {
        let parts = key
            .strip_prefix(PREFIX)
            .unwrap_or(&key)
            .strip_suffix(".weight")
            .map(|key| key.strip_suffix(".default").unwrap_or(key));
        let split = parts.and_then(|key| key.rsplit_once('.'));
        match split {
            Some((module, "lora_A")) => modules.entry(plain(module)).or_default().a = Some(tensor),
            Some((module, "lora_B")) => modules.entry(plain(module)).or_default().b = Some(tensor),
            _ => {
                return Err(ModelError::UnsupportedAdapter {
                    path: path.to_owned(),
                    setting: "tensor".to_owned(),
                    value: key,
                });
            }
        }
    }
    Ok(modules)
}

/// Multimodal files put the decoder one level down, on one side or the other of `model.`.
fn plain(module: &str) -> String {
    module.replacen("language_model.", "", 1)
}
