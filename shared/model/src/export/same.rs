use crate::decoder::frequencies;
use crate::error::{ModelError, Result};
use crate::settings::{LayerSettings, Settings};

/// Whether two descriptions mean the same computation, though written in other words.
///
/// # Errors
/// Names the first setting that the format written to cannot express.
pub(super) fn check_same(wanted: &Settings, written: &Settings) -> Result<()> {
    let sizes = |s: &Settings| {
        [
            ("vocab_size", s.vocab_size),
            ("hidden_size", s.hidden_size),
            ("intermediate_size", s.intermediate_size),
            ("num_attention_heads", s.num_attention_heads),
            ("num_key_value_heads", s.num_key_value_heads),
            ("head_dim", s.head_dim),
            ("max_position_embeddings", s.max_position_embeddings),
            ("num_hidden_layers", s.layers.len()),
            ("tie_word_embeddings", usize::from(s.tie_word_embeddings)),
            ("attention_bias", usize::from(s.qkv_bias)),
            ("attention_bias", usize::from(s.output_bias)),
            ("mlp_bias", usize::from(s.mlp_bias)),
            ("qk_norm", usize::from(s.qk_norm)),
            ("sandwich_norms", usize::from(s.sandwich_norms)),
            ("hidden_act", s.activation as usize),
        ]
    };
    let numbers = |s: &Settings| {
        [
            ("rms_norm_eps", s.rms_norm_eps),
            ("query_pre_attn_scalar", s.attention_scale),
            ("embedding_scale", s.embedding_scale.unwrap_or(1.0)),
        ]
    };
    for ((setting, wanted), (_, written)) in sizes(wanted).into_iter().zip(sizes(written)) {
        if wanted != written {
            return Err(cannot(setting, wanted));
        }
    }
    for ((setting, wanted), (_, written)) in numbers(wanted).into_iter().zip(numbers(written)) {
        if !close(wanted, written) {
            return Err(cannot(setting, wanted));
        }
    }
    check_layers(wanted, written)
}

/// Windows and rotations of each layer. A window as long as the context is none.
fn check_layers(wanted: &Settings, written: &Settings) -> Result<()> {
    for (a, b) in wanted.layers.iter().zip(&written.layers) {
        let window = |layer: &LayerSettings, s: &Settings| {
            layer
                .window
                .filter(|window| *window < s.max_position_embeddings)
        };
        if window(a, wanted) != window(b, written) {
            return Err(cannot("sliding_window", format!("{:?}", a.window)));
        }
        let (one, other) = (wanted.ropes.get(a.rope), written.ropes.get(b.rope));
        let same = one.zip(other).is_some_and(|(one, other)| {
            let (one, other) = (
                frequencies(one, wanted.head_dim),
                frequencies(other, written.head_dim),
            );
            one.iter()
                .zip(&other)
                .all(|(one, other)| close(f64::from(*one), f64::from(*other)))
        });
        if !same {
            return Err(cannot("rope_scaling", format!("{one:?}")));
        }
    }
    Ok(())
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-4 * a.abs()
}

fn cannot(setting: &str, value: impl ToString) -> ModelError {
    ModelError::UnsupportedSetting {
        setting: setting.to_owned(),
        value: value.to_string(),
        remedy: Some("the format that is written has no words for it".to_owned()),
    }
}
