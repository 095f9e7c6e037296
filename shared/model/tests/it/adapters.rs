//! LoRA in all its settings: what an adapter's configuration makes of its factors.

use crate::folders::{decoder, distance, gguf, parity};
use candle_core::{Device, Tensor};
use lore_model::train::{Example, InitB, Parameters, train_logits};
use lore_model::{Adapter, Decoder, LoraConfig, Products, Segment, Source, Wanted};

fn adapter(decoder: &Decoder, config: LoraConfig) -> Adapter {
    Parameters::new(decoder, config, InitB::Random, 9)
        .and_then(|parameters| parameters.snapshot(decoder))
        .expect("an adapter")
}

#[test]
fn rank_and_scaling_follow_peft() {
    let plain = LoraConfig {
        r: 4,
        lora_alpha: 8.0,
        ..LoraConfig::default()
    };
    let patterns = LoraConfig {
        rank_pattern: [("q_proj".to_owned(), 16)].into(),
        alpha_pattern: [(r"layers\.1\..*v_proj".to_owned(), 2.0)].into(),
        ..plain.clone()
    };
    let stable = LoraConfig {
        use_rslora: true,
        ..patterns.clone()
    };
    for (config, path, rank, scaling) in [
        (&plain, "model.layers.0.self_attn.q_proj", 4, 2.0),
        (&patterns, "model.layers.0.self_attn.q_proj", 16, 0.5),
        (&patterns, "model.layers.1.self_attn.v_proj", 4, 0.5),
        (&patterns, "model.layers.2.self_attn.v_proj", 4, 2.0),
        (&stable, "model.layers.0.self_attn.q_proj", 16, 2.0),
        (&stable, "model.layers.0.mlp.up_proj", 4, 4.0),
    ] {
        assert_eq!(
            config.rank_and_scaling(path).expect("a pattern"),
            (rank, scaling),
            "{path}"
        );
    }
}

#[test]
fn rslora_is_the_same_adapter_with_another_alpha() {
    for folder in parity() {
        let decoder = decoder(&folder);
        let config = |lora_alpha: f64, use_rslora: bool| LoraConfig {
            r: 4,
            lora_alpha,
            use_rslora,
            ..LoraConfig::default()
        };
        let rows = [vec![5, 6, 7, 8]];
        let logits = |config| {
            decoder
                .all_logits(&rows, Some(&adapter(&decoder, config)))
                .expect("logits")
        };
        let (stable, plain) = (logits(config(4.0, true)), logits(config(8.0, false)));
        assert_eq!(distance(&stable, &plain), 0.0);
        assert!(distance(&stable, &logits(config(4.0, false))) > 1e-3);
    }
}

/// Logits of every token, by one kind of products.
fn served(decoder: &Decoder, tokens: &[u32], adapter: &Adapter, products: Products) -> Tensor {
    let mut cache = decoder.new_cache().expect("a cache");
    let mut rows = Vec::new();
    let pieces = match products {
        Products::Float => vec![tokens],
        Products::Integers => tokens.chunks(1).collect(),
    };
    for tokens in pieces {
        let segment = Segment {
            tokens,
            cache: &mut cache,
            adapter: Some(adapter),
        };
        rows.push(
            decoder
                .forward(&mut [segment], Wanted::All, products)
                .expect("logits"),
        );
    }
    Tensor::cat(&rows, 0).expect("rows")
}

/// Relative distance, since logits of real models reach 40.
fn share(a: &Tensor, b: &Tensor) -> f32 {
    let largest = b
        .abs()
        .and_then(|b| b.flatten_all()?.max(0)?.to_scalar::<f32>())
        .expect("a number");
    distance(a, b) / largest
}

#[test]
fn on_a_quantised_base_training_prefill_and_decode_agree() {
    let Some(path) = gguf("smollm2-135m-instruct") else {
        return;
    };
    let source = Source::open(&path).expect("the file opens");
    let decoder = Decoder::load(&source, Some(64), 0, &Device::Cpu).expect("the model loads");
    let adapter = adapter(
        &decoder,
        LoraConfig {
            r: 4,
            lora_alpha: 0.5,
            ..LoraConfig::default()
        },
    );
    let tokens: Vec<u32> = (0..12).map(|index| 1000 + 37 * index).collect();
    let labels = tokens.iter().map(|token| i64::from(*token)).collect();
    let example = [Example::new(tokens.clone(), labels).expect("an example")];
    let trained = train_logits(&decoder, Some(&adapter), &example).expect("logits");
    let prefill = served(&decoder, &tokens, &adapter, Products::Float);
    let decode = served(&decoder, &tokens, &adapter, Products::Integers);
    let [by_prefill, by_decode] = [share(&prefill, &trained), share(&decode, &trained)];
    assert!(by_prefill < 1e-4, "prefill is off by {by_prefill}");
    assert!(by_decode < 1e-3, "decode is off by {by_decode}");
    let merged = decoder.merged(&adapter).expect("merging");
    let merged = served(&merged, &tokens, &self::none(&merged), Products::Float);
    let by_merging = share(&merged, &trained);
    assert!(by_merging < 1e-3, "the merged model is off by {by_merging}");
}

/// An adapter that changes nothing.
fn none(decoder: &Decoder) -> Adapter {
    Parameters::new(
        decoder,
        LoraConfig {
            r: 1,
            ..LoraConfig::default()
        },
        InitB::Zero,
        1,
    )
    .and_then(|parameters| parameters.snapshot(decoder))
    .expect("an adapter")
}
