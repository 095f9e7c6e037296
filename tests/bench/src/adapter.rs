//! Adapters of random values: as much arithmetic as trained ones.

use anyhow::Result;
use lore_model::{Adapter, Decoder, Device, Random, Tensor, write_safetensors};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// Small enough that the base model still writes words.
const SPREAD: f32 = 0.01;

/// An adapter of this rank on every linear layer but the output projection.
pub fn random(decoder: &Decoder, rank: usize, seed: u64) -> Result<Adapter> {
    let folder = tempfile::tempdir()?;
    write(folder.path(), decoder, rank, seed)?;
    Ok(Adapter::load(folder.path(), decoder, "random", "base")?)
}

/// The same as a PEFT folder.
pub fn write(folder: &Path, decoder: &Decoder, rank: usize, seed: u64) -> Result<()> {
    let mut random = Random::new(seed);
    let mut tensor = |rows: usize, columns: usize| {
        let values = (0..rows * columns).map(|_| (random.uniform() - 0.5) * 2.0 * SPREAD);
        Tensor::from_vec(values.collect::<Vec<f32>>(), (rows, columns), &Device::Cpu)
    };
    let mut tensors = BTreeMap::new();
    for linear in decoder.linears().filter(|one| one.name != "lm_head") {
        let (outputs, inputs) = linear.weight.dims()?;
        let key = |half: &str| format!("base_model.model.{}.{half}.weight", linear.name);
        tensors.insert(key("lora_A"), tensor(rank, inputs)?);
        tensors.insert(key("lora_B"), tensor(outputs, rank)?);
    }
    let config = json!({
        "peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": "all-linear", "bias": "none",
    });
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("adapter_config.json"), config.to_string())?;
    Ok(write_safetensors(
        &folder.join("adapter_model.safetensors"),
        &tensors,
    )?)
}
