use crate::base::Base;
use crate::memory;
use crate::run::{Data, RunError, lora_config};
use lore_model::train::Example;
use lore_model::{Adapter, DType, ModelError, Settings, Tensor, free_on_gpu};
use lore_types::{Estimate, TrainingMethod, TrainingSettings};
use std::time::Instant;

/// Memory of the process beside the run: code, tokenizer, buffers.
const PROCESS: u64 = 160 << 20;
/// What a run reaches of the speed of a plain matrix product: measured on SmolLM2-135M with 2 threads.
const EFFICIENCY: f64 = 0.5;
/// Logits that are alive at once, as lore-model bounds them.
const LOGITS: u64 = (16 << 20) * 4;
/// With the tape they are there three times over: themselves, their softmax, their gradient.
const TAPED_LOGITS: u64 = 3;
/// On a GPU: 64 M logits in float32, and their gradient in bfloat16.
const LOGITS_ON_GPU: u64 = (64 << 20) * 6;
/// Floats that one token needs in one layer at the peak of the tape's backward pass, in units of the hidden width, of the
/// MLP's width, and of heads times the longest example: measured on SmolLM2-135M, with a tenth on top.
const KEPT_HIDDEN: f64 = 44.0;
const KEPT_MLP: f64 = 16.0;
const KEPT_SCORES: f64 = 6.0;
/// Rows, in the same units, that the layer at work needs besides what is kept.
const WORK_HIDDEN: f64 = 8.0;
const WORK_MLP: f64 = 3.0;
/// Weights of a quantised matrix that are unpacked at once on the CPU.
const UNPACKED: u64 = 2 * (4 << 20);

/// What a run should take, from the sizes of model, adapter and examples, and from the speed of this machine's products.
///
/// # Errors
/// `target_modules` that match nothing.
pub(crate) fn estimate(
    base: &Base,
    settings: &TrainingSettings,
    start: Option<&Adapter>,
    data: &Data,
) -> Result<Estimate, RunError> {
    let trained = trained(base, settings, start)?;
    let steps = data.steps(settings);
    let checkpoint = trained * 4 * 3;
    let kept = u64::from(settings.keep_checkpoints) + 2;
    // Weights, gradients of the step and of the micro-batch, two moments, and what an update needs in passing.
    let optimiser = trained * 4 * 7;
    Ok(Estimate {
        memory_bytes: base.decoder.size_in_bytes() as u64
            + unpacked(base)
            + optimiser
            + activations(base, settings, data)?
            + PROCESS,
        available_bytes: available(base),
        disk_bytes: checkpoint * kept + trained * 4 + (8 << 20),
        seconds: seconds(base, settings, data, steps)?,
        steps,
        trained_parameters: trained,
    })
}

/// Memory for a run where the base is: the GPU's, beside the weights that are on it already, or the machine's.
fn available(base: &Base) -> u64 {
    match free_on_gpu(base.decoder.device()) {
        Some(free) => free + base.decoder.size_in_bytes() as u64,
        None => memory::available().map_or(0, |free| free + memory::held()),
    }
}

/// Values that are trained.
fn trained(
    base: &Base,
    settings: &TrainingSettings,
    start: Option<&Adapter>,
) -> Result<u64, RunError> {
    if let Some(start) = start {
        return Ok(start.parameters() as u64);
    }
    if settings.method == TrainingMethod::Full {
        let shape = base.decoder.settings();
        // The table, where the output projection has weights of its own; norms are too few to count.
        let table = if shape.tie_word_embeddings {
            0
        } else {
            shape.vocab_size * shape.hidden_size
        };
        return Ok(weights(base)? + table as u64);
    }
    let config = lora_config(settings, &base.name);
    let targets = config.targets(&base.decoder)?;
    let mut trained = 0;
    for linear in base.decoder.linears() {
        let rank = targets
            .iter()
            .find(|(slot, ..)| *slot == linear.slot)
            .map(|(_, rank, _)| *rank);
        let (outputs, inputs) = linear.weight.dims()?;
        trained += rank.unwrap_or(0) as u64 * (outputs + inputs) as u64;
    }
    Ok(trained)
}

/// Weights of all linear layers.
fn weights(base: &Base) -> Result<u64, RunError> {
    let sizes = base.decoder.linears().map(|linear| {
        let (outputs, inputs) = linear.weight.dims()?;
        Ok((outputs * inputs) as u64)
    });
    Ok(sizes
        .collect::<Result<Vec<u64>, ModelError>>()?
        .iter()
        .sum())
}

/// A quantised matrix is unpacked while it is multiplied, in pieces on the CPU and as a whole elsewhere.
fn unpacked(base: &Base) -> u64 {
    let shape = base.decoder.settings();
    match (base.is_quantised(), base.decoder.device().is_cpu()) {
        (false, _) => 0,
        (true, true) => UNPACKED,
        (true, false) => (shape.vocab_size * shape.hidden_size * 4) as u64,
    }
}

/// What the backward pass needs of the largest micro-batch.
fn activations(base: &Base, settings: &TrainingSettings, data: &Data) -> Result<u64, RunError> {
    let shape = base.decoder.settings();
    let longest = data
        .sets
        .iter()
        .flatten()
        .map(|example| example.tokens.len())
        .max();
    let longest = longest.unwrap_or(1) as f64;
    let batch = longest * f64::from(settings.batch_size);
    let tokens = f64::from(settings.micro_batch_tokens).clamp(longest, batch);
    let layers = shape.layers.len() as f64;
    if base.decoder.device().is_cuda() && settings.method != TrainingMethod::Full {
        let kept = kept_on_gpu(shape);
        let kept = if settings.gradient_checkpointing {
            layers * 2.0 * shape.hidden_size as f64 + kept
        } else {
            layers * kept
        };
        return Ok((tokens * kept) as u64 + LOGITS_ON_GPU);
    }
    let hidden = shape.hidden_size as f64;
    let taped = settings.method == TrainingMethod::Full || !base.decoder.device().is_cpu();
    let (kept, work, logits) = if taped {
        (taped_a_token(shape, longest), 0.0, TAPED_LOGITS)
    } else {
        let work = WORK_HIDDEN * hidden + WORK_MLP * shape.intermediate_size as f64;
        (kept_a_token(base, settings)?, work, 1)
    };
    let all = if settings.gradient_checkpointing {
        layers * hidden + kept
    } else {
        layers * kept
    };
    let head = LOGITS.min((tokens * shape.vocab_size as f64) as u64 * 4);
    Ok((tokens * (all + work) * 4.0) as u64 + head * logits)
}

/// Floats of one layer and token that the tape keeps.
fn taped_a_token(shape: &Settings, longest: f64) -> f64 {
    KEPT_HIDDEN * shape.hidden_size as f64
        + KEPT_MLP * shape.intermediate_size as f64
        + KEPT_SCORES * shape.num_attention_heads as f64 * longest
}

/// Bytes of one layer and token that the hand-written backward pass of GPUs needs, with a half on top for what is in passing.
fn kept_on_gpu(shape: &Settings) -> f64 {
    let (queries, keys) = (shape.query_size(), shape.key_value_size());
    let floats = 2 * shape.hidden_size + 2 * queries + 2 * keys + 2 * shape.intermediate_size;
    floats as f64 * 2.0 * 1.5
}

/// Floats of one layer and token that the step without a tape keeps: the residual stream twice, queries, keys, values and
/// what attention gives, gate and up, what each adapter has between its factors, and what is normed where the
/// family norms more.
fn kept_a_token(base: &Base, settings: &TrainingSettings) -> Result<f64, RunError> {
    let shape = base.decoder.settings();
    let (queries, keys) = (shape.query_size(), shape.key_value_size());
    let mut kept = 2 * shape.hidden_size + 2 * queries + 2 * keys + 2 * shape.intermediate_size;
    if shape.qk_norm {
        kept += queries + keys;
    }
    if shape.sandwich_norms {
        kept += 2 * shape.hidden_size;
    }
    let targets = lora_config(settings, &base.name).targets(&base.decoder)?;
    let ranks: usize = targets.iter().map(|(_, rank, _)| rank).sum();
    Ok(kept as f64 + ranks as f64 / shape.layers.len().max(1) as f64)
}

/// Wall time: forward and backward products of all tokens, and the evaluations.
fn seconds(
    base: &Base,
    settings: &TrainingSettings,
    data: &Data,
    steps: u64,
) -> Result<f64, RunError> {
    let weights = weights(base)? as f64;
    let total = |examples: &[Example]| {
        let tokens: usize = examples.iter().map(|example| example.tokens.len()).sum();
        tokens as f64
    };
    let count: usize = data.sets.iter().map(Vec::len).sum();
    let tokens: f64 = data.sets.iter().map(|set| total(set)).sum();
    let a_step = tokens / count.max(1) as f64 * f64::from(settings.batch_size);
    // Two operations a weight forward, two for the gradient of the inputs, two more for what is computed again.
    let passes = match (settings.method, settings.gradient_checkpointing) {
        (TrainingMethod::Full, false) | (_, true) => 6.0,
        (_, false) => 4.0,
    };
    let training = a_step * steps as f64 * weights * passes;
    let evaluations = steps / data.evaluate_every(settings, steps) + 1;
    let evaluations = evaluations as f64 * total(&data.held_out) * weights * 2.0;
    Ok((training + evaluations) / (speed(base)? * EFFICIENCY))
}

/// Operations a second of a product where the base is, float32 on the trainer's threads or bfloat16 on a GPU; takes a few
/// hundredths of a second.
fn speed(base: &Base) -> Result<f64, RunError> {
    let device = base.decoder.device();
    let (rows, size, dtype) = if device.is_cuda() {
        (2048, 4096, DType::BF16)
    } else {
        (256, 768, DType::F32)
    };
    let ones = |rows: usize| Tensor::ones((rows, size), dtype, device).map_err(ModelError::from);
    let (x, w) = (ones(rows)?, ones(size)?);
    let operations = 2.0 * rows as f64 * (size * size) as f64;
    let mut best = 0f64;
    for _ in 0..4 {
        let started = Instant::now();
        base.decoder
            .on_threads(|| x.matmul(&w).and_then(|_| device.synchronize()))
            .map_err(ModelError::from)?;
        best = best.max(operations / started.elapsed().as_secs_f64().max(1e-9));
    }
    Ok(best.max(1e6))
}
