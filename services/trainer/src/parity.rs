//! The gate before promotion: what is served must be what was trained, to the digit.
//!
//! At the end of training the training path computes logits of fixed prompts with the trained values as they are in memory;
//! they are kept beside the adapter. Before a promotion everything is loaded anew from disk, as a server does, and computed
//! as a server computes it: through the KV cache, the last tokens one by one; in the training's float32 products, where
//! nothing but the order of sums may differ, and in those of serving, which round what a quantised base multiplies. An
//! adapter that nobody trained here is computed by both paths.

use crate::base::Base;
use lore_model::train::{Example, IGNORED, train_logits};
use lore_model::{
    Adapter, DType, Decoder, ModelError, Products, Segment, Tensor, Tokenizer, Wanted,
    read_safetensors, write_safetensors,
};
use lore_types::{Message, ParityReport, Role};
use std::collections::BTreeMap;
use std::path::Path;
use time::OffsetDateTime;

/// The file of the trained logits, beside the adapter.
const FILE: &str = "parity.safetensors";
/// Largest difference that passes, for logits up to 1; larger logits have proportionally larger rounding.
const TOLERANCE: f64 = 1e-4;
/// The same where serving rounds activations and factors of an adapter to 16 bits, over a quantised base: a tuned adapter of rank
/// 16 on SmolLM2-135M was off by 1.6e-4.
const ROUNDED_TOLERANCE: f64 = 2e-3;
/// The same where weights and activations are bfloat16, on a GPU: they keep 8 bits, and the two paths cut their products
/// otherwise.
const NARROW_TOLERANCE: f64 = 3e-2;
/// Tokens at the end of a prompt that are fed one by one.
const SINGLE: usize = 3;

/// What is asked of every model, whatever it was trained for.
const QUESTIONS: [&str; 4] = [
    "What is the capital of France?",
    "Write a Python function that returns the sum of a list of numbers.",
    "请用一句话介绍你自己。",
    "Reply with the single word OK: 3 < 5, {\"a\": [1, 2]}\n\n\ttabs and newlines",
];

/// The fixed prompts in tokens, as requests render them.
fn prompts(tokenizer: &Tokenizer) -> Result<Vec<Vec<u32>>, ModelError> {
    let prompt = |question: &&str| match tokenizer.template() {
        Some(_) => Ok(tokenizer
            .prompt(&[Message::new(Role::User, *question)], true)?
            .tokens),
        None => tokenizer.encode(question),
    };
    QUESTIONS.iter().map(prompt).collect()
}

/// Logits behind each prompt by the training path: (prompts, vocabulary).
fn trained_logits(
    decoder: &Decoder,
    adapter: Option<&Adapter>,
    prompts: &[Vec<u32>],
) -> Result<Tensor, ModelError> {
    let mut rows = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let example = Example::new(prompt.clone(), vec![IGNORED; prompt.len()])?;
        let logits = train_logits(decoder, adapter, &[example])?;
        rows.push(logits.get(prompt.len() - 1)?);
    }
    Ok(Tensor::stack(&rows, 0)?)
}

/// Logits behind each prompt as a server computes them: (prompts, vocabulary).
fn served_logits(
    decoder: &Decoder,
    adapter: Option<&Adapter>,
    prompts: &[Vec<u32>],
    products: Products,
) -> Result<Tensor, ModelError> {
    let mut rows = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let (first, last) = prompt.split_at(prompt.len().saturating_sub(SINGLE));
        let mut cache = decoder.new_cache()?;
        let mut row = None;
        let pieces = std::iter::once(first).chain(last.chunks(1));
        for tokens in pieces.filter(|tokens| !tokens.is_empty()) {
            let segment = Segment {
                tokens,
                cache: &mut cache,
                adapter,
            };
            let logits = decoder.forward(&mut [segment], Wanted::All, products)?;
            row = Some(logits.get(tokens.len() - 1)?.to_dtype(DType::F32)?);
        }
        rows.extend(row);
    }
    Ok(Tensor::stack(&rows, 0)?)
}

/// Keeps what the training path says of what was trained: an adapter, or the decoder itself.
///
/// # Errors
/// Names the file that cannot be written.
pub(crate) fn keep(
    folder: &Path,
    base: &Base,
    decoder: &Decoder,
    trained: Option<&Adapter>,
) -> Result<(), ModelError> {
    let prompts = prompts(&base.tokenizer)?;
    let mut tensors = BTreeMap::new();
    let logits = trained_logits(decoder, trained, &prompts)?;
    tensors.insert("logits".to_owned(), logits);
    for (index, prompt) in prompts.iter().enumerate() {
        let tokens = Tensor::new(prompt.as_slice(), base.decoder.device())?;
        tensors.insert(format!("prompt.{index}"), tokens);
    }
    write_safetensors(&folder.join(FILE), &tensors)
}

/// Compares what was trained with what a server computes from the adapter's files in `folder`, or where `full`, from
/// `base`, which those files are.
///
/// # Errors
/// Files that are missing or damaged; an adapter of another base, with both names.
pub(crate) fn check(
    folder: &Path,
    base: &Base,
    name: &str,
    full: bool,
) -> Result<ParityReport, ModelError> {
    let served = if full {
        None
    } else {
        Some(Adapter::load(folder, &base.decoder, name, &base.name)?)
    };
    let served = served.as_ref();
    let tolerance = if base.decoder.device().is_cpu() {
        TOLERANCE
    } else {
        NARROW_TOLERANCE
    };
    let prompts = prompts(&base.tokenizer)?;
    let kept = kept(folder, base, &prompts)?;
    let reference = match kept {
        Kept::Nothing => trained_logits(&base.decoder, served, &prompts)?,
        Kept::Logits(logits) => logits,
        Kept::OtherPrompts => return Ok(report(prompts.len(), f64::INFINITY, tolerance)),
    };
    let compare = |products, tolerance| {
        let logits = served_logits(&base.decoder, served, &prompts, products)?;
        compared(&logits, &reference, tolerance)
    };
    let exact = compare(Products::Float, tolerance)?;
    if !exact.passed {
        return Ok(exact);
    }
    let rounded = compare(Products::Integers, tolerance.max(ROUNDED_TOLERANCE))?;
    // The one that comes nearer to its limit.
    let share = |report: &ParityReport| report.max_difference / report.tolerance;
    let exact_is_worse = rounded.passed && share(&exact) > share(&rounded);
    Ok(if exact_is_worse { exact } else { rounded })
}

/// A report on logits that may differ from `reference` by `tolerance`, for logits up to 1.
fn compared(
    logits: &Tensor,
    reference: &Tensor,
    tolerance: f64,
) -> Result<ParityReport, ModelError> {
    let prompts = reference.dim(0)?;
    if logits.dims() != reference.dims() {
        return Ok(report(prompts, f64::INFINITY, tolerance));
    }
    let largest = |tensor: &Tensor| -> Result<f64, ModelError> {
        Ok(f64::from(tensor.abs()?.max_all()?.to_scalar::<f32>()?))
    };
    let tolerance = tolerance * largest(reference)?.max(1.0);
    let difference = largest(&(logits - reference)?)?;
    Ok(report(prompts, difference, tolerance))
}

/// What lies beside an adapter from the end of its training.
enum Kept {
    Nothing,
    Logits(Tensor),
    /// The tokenizer or the template cuts the prompts otherwise than then.
    OtherPrompts,
}

fn kept(folder: &Path, base: &Base, prompts: &[Vec<u32>]) -> Result<Kept, ModelError> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Ok(Kept::Nothing);
    }
    let mut tensors = read_safetensors(&path, base.decoder.device())?;
    for (index, prompt) in prompts.iter().enumerate() {
        let then = tensors
            .get(&format!("prompt.{index}"))
            .map(Tensor::to_vec1::<u32>)
            .transpose()?;
        if then.as_ref() != Some(prompt) {
            return Ok(Kept::OtherPrompts);
        }
    }
    let logits = tensors.remove("logits");
    logits
        .map(Kept::Logits)
        .ok_or_else(|| ModelError::MissingTensor("logits".to_owned()))
}

fn report(prompts: usize, difference: f64, tolerance: f64) -> ParityReport {
    ParityReport {
        prompts: u32::try_from(prompts).unwrap_or(u32::MAX),
        // JSON has no infinity.
        max_difference: if difference.is_finite() {
            difference
        } else {
            f64::MAX
        },
        tolerance,
        // NaN does not pass.
        passed: difference <= tolerance,
        checked_at: OffsetDateTime::now_utc(),
    }
}
