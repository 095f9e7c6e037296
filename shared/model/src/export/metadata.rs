use super::gguf::{GgufType, needs_divisors};
use super::tokens;
use super::weights::Weights;
use crate::decoder::frequencies;
use crate::error::Result;
use crate::settings::{Architecture, RopeScaling, RopeSettings, Settings};
use crate::weights::Source;
use candle_core::quantized::gguf_file::Value;

/// Keys of a GGUF base that say how its weights are stored, not what they are.
const STORAGE: [&str; 4] = [
    "general.file_type",
    "general.alignment",
    "general.quantization_version",
    "general.size_label",
];

/// Everything that stands before the tensors: a GGUF base's own words, or those that its format has for a folder.
pub(super) fn metadata(weights: &Weights<'_>, kind: GgufType) -> Result<Vec<(String, Value)>> {
    let mut all = match weights.source {
        Source::Gguf(file) => {
            let stored = |key: &str| {
                STORAGE.contains(&key) || key.starts_with("quantize.") || key.starts_with("split.")
            };
            let own = file.content().metadata.iter();
            own.filter(|(key, _)| !stored(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        }
        Source::Folder(folder) => {
            let name = folder.path().file_name().unwrap_or_default();
            let mut all = model(&weights.settings, &name.to_string_lossy());
            all.extend(tokens::gguf(folder.path(), &weights.settings)?);
            all
        }
    };
    let file_type = match kind {
        GgufType::F16 => 1,
        GgufType::Q8_0 => 7,
    };
    all.push(("general.file_type".to_owned(), Value::U32(file_type)));
    all.push(("general.quantization_version".to_owned(), Value::U32(2)));
    // Readers want the architecture first; the rest in one order, so that equal models are equal files.
    all.sort_by(|a, b| {
        let rank = |key: &str| (key != "general.architecture", !key.starts_with("general."));
        rank(&a.0).cmp(&rank(&b.0)).then_with(|| a.0.cmp(&b.0))
    });
    Ok(all)
}

fn model(s: &Settings, name: &str) -> Vec<(String, Value)> {
    let prefix = match s.architecture {
        Architecture::Llama | Architecture::Mistral => "llama",
        Architecture::Qwen2 => "qwen2",
        Architecture::Qwen3 => "qwen3",
        Architecture::Gemma3 => "gemma3",
    };
    let text = |key: &str, value: &str| (key.to_owned(), Value::String(value.to_owned()));
    let size = |key: &str, value: usize| {
        (
            format!("{prefix}.{key}"),
            Value::U32(u32::try_from(value).unwrap_or(u32::MAX)),
        )
    };
    let number = |key: &str, value: f64| (format!("{prefix}.{key}"), Value::F32(value as f32));
    let mut all = vec![
        text("general.architecture", prefix),
        text("general.type", "model"),
        text("general.name", name),
        size("block_count", s.layers.len()),
        size("context_length", s.max_position_embeddings),
        size("embedding_length", s.hidden_size),
        size("feed_forward_length", s.intermediate_size),
        size("attention.head_count", s.num_attention_heads),
        size("attention.head_count_kv", s.num_key_value_heads),
        size("attention.key_length", s.head_dim),
        size("attention.value_length", s.head_dim),
        number("attention.layer_norm_rms_epsilon", s.rms_norm_eps),
        size("rope.dimension_count", s.head_dim),
        size("vocab_size", s.vocab_size),
    ];
    if let Some(rope) = s.ropes.first() {
        all.push(number("rope.freq_base", rope.theta));
        if let RopeScaling::Linear(factor) = rope.scaling {
            all.push((
                format!("{prefix}.rope.scaling.type"),
                Value::String("linear".to_owned()),
            ));
            all.push(number("rope.scaling.factor", factor));
        }
    }
    if let Some(local) = s.ropes.get(1) {
        all.push(number("rope.freq_base_swa", local.theta));
    }
    all.extend(windows(s).into_iter().map(|(key, value)| size(key, value)));
    all
}

/// The sliding window, where it is shorter than the context, and how often a layer does without it.
fn windows(s: &Settings) -> Vec<(&'static str, usize)> {
    let gemma = s.architecture == Architecture::Gemma3;
    let window = s.layers.iter().find_map(|layer| layer.window);
    let Some(window) = window.filter(|window| gemma || *window < s.max_position_embeddings) else {
        return Vec::new();
    };
    let mut all = vec![("attention.sliding_window", window)];
    if gemma {
        let full = s.layers.iter().position(|layer| layer.window.is_none());
        let pattern = full.map_or(s.layers.len() + 1, |full| full + 1);
        all.push(("attention.sliding_window_pattern", pattern));
    }
    all
}

/// By what each frequency is divided, where GGUF keeps that as a tensor.
pub(super) fn rope_divisors(s: &Settings) -> Option<Vec<f32>> {
    let rope = s
        .ropes
        .first()
        .filter(|rope| needs_divisors(&rope.scaling))?;
    let plain = RopeSettings {
        theta: rope.theta,
        scaling: RopeScaling::None,
    };
    let (plain, scaled) = (
        frequencies(&plain, s.head_dim),
        frequencies(rope, s.head_dim),
    );
    Some(plain.iter().zip(&scaled).map(|(a, b)| a / b).collect())
}
