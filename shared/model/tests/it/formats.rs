//! GGUF files, written here from the parity checkpoints as llama.cpp's converter does, give the checkpoints' logits.

use crate::folders::{decoder, distance, ids, parity, tensors};
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use lore_model::{Architecture, Decoder, RopeScaling, Settings, Source};
use std::path::Path;

/// The converter's names, from Hugging Face's.
fn gguf_name(name: &str, gemma: bool) -> String {
    let pairs = [
        ("model.layers.", "blk."),
        ("model.embed_tokens", "token_embd"),
        ("lm_head", "output"),
        ("model.norm", "output_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("input_layernorm", "attn_norm"),
        (
            "post_attention_layernorm",
            if gemma {
                "post_attention_norm"
            } else {
                "ffn_norm"
            },
        ),
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
    ];
    pairs
        .iter()
        .fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// The converter's order of query and key rows in llama files.
fn interleave(weight: &Tensor, heads: usize) -> Tensor {
    let (rows, columns) = weight.dims2().expect("a matrix");
    let split = weight
        .reshape((heads, 2, rows / heads / 2, columns))
        .expect("heads")
        .transpose(1, 2)
        .expect("halves");
    split
        .contiguous()
        .and_then(|split| split.reshape((rows, columns)))
        .expect("a matrix")
}

fn metadata(settings: &Settings) -> Vec<(String, Value)> {
    let prefix = match settings.architecture {
        Architecture::Llama | Architecture::Mistral => "llama",
        Architecture::Qwen2 => "qwen2",
        Architecture::Qwen3 => "qwen3",
        Architecture::Gemma3 => "gemma3",
    };
    let size = |key: &str, value: usize| {
        (
            format!("{prefix}.{key}"),
            Value::U32(u32::try_from(value).expect("a size")),
        )
    };
    let number = |key: &str, value: f64| (format!("{prefix}.{key}"), Value::F32(value as f32));
    let mut all = vec![
        (
            "general.architecture".to_owned(),
            Value::String(prefix.to_owned()),
        ),
        size("block_count", settings.layers.len()),
        size("context_length", settings.max_position_embeddings),
        size("embedding_length", settings.hidden_size),
        size("feed_forward_length", settings.intermediate_size),
        size("attention.head_count", settings.num_attention_heads),
        size("attention.head_count_kv", settings.num_key_value_heads),
        size("attention.key_length", settings.head_dim),
        size("attention.value_length", settings.head_dim),
        number("attention.layer_norm_rms_epsilon", settings.rms_norm_eps),
        number("rope.freq_base", settings.ropes[0].theta),
    ];
    if let Some(window) = settings.layers.iter().find_map(|layer| layer.window) {
        all.push(size("attention.sliding_window", window));
        all.push(size("attention.sliding_window_pattern", 3)); // the layers of the checkpoint: sliding, sliding, full
    }
    all
}

/// Writes the checkpoint of `folder` with matrices of `dtype`.
fn convert(folder: &Path, dtype: GgmlDType, out: &Path) {
    let settings = Settings::from_config_json(
        &std::fs::read_to_string(folder.join("config.json")).expect("config.json"),
    )
    .expect("settings");
    assert_eq!(settings.ropes[0].scaling, RopeScaling::None);
    let gemma = settings.architecture == Architecture::Gemma3;
    let llama = matches!(
        settings.architecture,
        Architecture::Llama | Architecture::Mistral
    );
    let mut all = Vec::new();
    for (name, tensor) in tensors(&folder.join("model.safetensors")) {
        let heads = if name.contains("q_proj") {
            settings.num_attention_heads
        } else {
            settings.num_key_value_heads
        };
        let tensor = match tensor.rank() {
            2 if llama && (name.contains("q_proj") || name.contains("k_proj")) => {
                interleave(&tensor, heads)
            }
            1 if gemma => (tensor + 1.0).expect("norms"),
            _ => tensor,
        };
        let dtype = if tensor.rank() == 2 {
            dtype
        } else {
            GgmlDType::F32
        };
        all.push((
            gguf_name(&name, gemma),
            QTensor::quantize(&tensor, dtype).expect("a quantised tensor"),
        ));
    }
    let metadata = metadata(&settings);
    let metadata: Vec<(&str, &Value)> = metadata
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .collect();
    let tensors: Vec<(&str, &QTensor)> = all
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    gguf_file::write(
        &mut std::fs::File::create(out).expect("a file"),
        &metadata,
        &tensors,
    )
    .expect("writing");
}

fn logits(path: &Path, ids: &[Vec<u32>]) -> Tensor {
    let source = Source::open(path).expect("the file opens");
    Decoder::load(&source, None, 0, &Device::Cpu)
        .expect("the model loads")
        .all_logits(ids, None)
        .expect("logits")
}

/// The checkpoint of `folder` with matrices as `dtype` holds them, in float32 again.
fn rounded(folder: &Path, dtype: GgmlDType, out: &Path) {
    let round = |(name, tensor): (String, Tensor)| match tensor.rank() {
        2 => (
            name,
            QTensor::quantize(&tensor, dtype)
                .and_then(|tensor| tensor.dequantize(&Device::Cpu))
                .expect("rounding"),
        ),
        _ => (name, tensor),
    };
    let all = tensors(&folder.join("model.safetensors"))
        .into_iter()
        .map(round)
        .collect();
    lore_model::write_safetensors(&out.join("model.safetensors"), &all).expect("writing");
    std::fs::copy(folder.join("config.json"), out.join("config.json")).expect("copying");
}

#[test]
fn a_float_gguf_file_gives_the_checkpoints_logits() {
    let out = tempfile::tempdir().expect("a folder");
    for folder in parity() {
        let reference = tensors(&folder.join("reference.safetensors"));
        let path = out.path().join("model.gguf");
        convert(&folder, GgmlDType::F32, &path);
        let off = distance(
            &logits(&path, &ids(&reference["input_ids"])),
            &reference["logits"],
        );
        assert!(off < 1e-4, "{}: logits are off by {off}", folder.display());
    }
}

#[test]
fn every_format_gives_the_logits_of_the_weights_that_it_holds() {
    use GgmlDType::{BF16, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
    let out = tempfile::tempdir().expect("a folder");
    for folder in parity() {
        let ids = ids(&tensors(&folder.join("reference.safetensors"))["input_ids"]);
        for dtype in [F16, BF16, Q8_0, Q5_0, Q5_1, Q4_0, Q4_1] {
            let path = out.path().join("model.gguf");
            convert(&folder, dtype, &path);
            rounded(&folder, dtype, out.path());
            let expected = decoder(out.path()).all_logits(&ids, None).expect("logits");
            let off = distance(&logits(&path, &ids), &expected);
            assert!(
                off < 1e-4,
                "{} {dtype:?}: logits are off by {off}",
                folder.display()
            );
            std::fs::remove_file(out.path().join("config.json")).expect("removing");
        }
    }
}

#[test]
fn a_checkpoint_in_several_files_is_the_same_model() {
    let Some(folder) = parity().into_iter().next() else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder");
    let (mut first, mut second) = (
        std::collections::BTreeMap::new(),
        std::collections::BTreeMap::new(),
    );
    let mut index = serde_json::Map::new();
    for (name, tensor) in tensors(&folder.join("model.safetensors")) {
        let (part, file) = if name.contains("layers.1.") {
            (&mut second, "b.safetensors")
        } else {
            (&mut first, "a.safetensors")
        };
        index.insert(name.clone(), file.into());
        part.insert(name, tensor);
    }
    lore_model::write_safetensors(&out.path().join("a.safetensors"), &first).expect("writing");
    lore_model::write_safetensors(&out.path().join("b.safetensors"), &second).expect("writing");
    std::fs::write(
        out.path().join("model.safetensors.index.json"),
        serde_json::json!({ "weight_map": index }).to_string(),
    )
    .expect("writing");
    std::fs::copy(folder.join("config.json"), out.path().join("config.json")).expect("copying");
    let rows = [vec![1, 2, 3]];
    let whole = decoder(&folder).all_logits(&rows, None).expect("logits");
    assert_eq!(
        distance(
            &whole,
            &decoder(out.path()).all_logits(&rows, None).expect("logits")
        ),
        0.0
    );
}
