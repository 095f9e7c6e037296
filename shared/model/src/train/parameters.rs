use super::explicit::Memory;
use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::lora::{Adapter, LoraConfig, LoraPair};
use crate::random::Random;
use candle_core::{DType, Tensor, Var};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How the second factor begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitB {
    /// With zeros, as PEFT does: the adapter changes nothing at first.
    Zero,
    /// With random values, for tests: with B = 0 the gradient of A is exactly zero.
    Random,
}

/// The values that training changes: A and B of each targeted linear layer, in the order of the slots, or with
/// [`Parameters::full`] every weight of the base model.
pub struct Parameters {
    vars: Vec<NamedVar>,
    adapter: Adapter,
    /// The base model whose weights are the variables.
    decoder: Option<Decoder>,
    /// What one micro-batch leaves for the next.
    memory: Mutex<Memory>,
}

/// One trained tensor with its name in PEFT's files (without prefix and suffix), or in the base model's.
pub(super) struct NamedVar {
    pub(super) name: String,
    pub(super) var: Var,
}

impl Parameters {
    /// Fresh values: A uniform in ±√(1/inputs) (PEFT's Kaiming with a = √5), B as `init_b` says.
    ///
    /// # Errors
    /// As [`LoraConfig::targets`].
    pub fn new(decoder: &Decoder, config: LoraConfig, init_b: InitB, seed: u64) -> Result<Self> {
        let mut pairs = vec![None; decoder.linears().count()];
        let linears: Vec<_> = decoder.linears().collect();
        for (slot, rank, scaling) in config.targets(decoder)? {
            let (outputs, inputs) = linears[slot].weight.dims()?;
            let mut random = Random::derived(seed, slot as u64 + 1);
            let mut uniform = |rows: usize, columns: usize, limit: f32| -> Result<Tensor> {
                let values: Vec<f32> = (0..rows * columns)
                    .map(|_| (random.uniform() * 2.0 - 1.0) * limit)
                    .collect();
                Ok(Tensor::from_vec(values, (rows, columns), decoder.device())?)
            };
            let a = uniform(rank, inputs, (1.0 / inputs as f32).sqrt())?;
            let b = match init_b {
                InitB::Zero => Tensor::zeros((outputs, rank), DType::F32, decoder.device())?,
                InitB::Random => uniform(outputs, rank, (1.0 / rank as f32).sqrt())?,
            };
            pairs[slot] = Some(LoraPair { a, b, scaling });
        }
        Self::from_pairs(decoder, config, pairs)
    }

    /// The values of an adapter, to go on training it.
    ///
    /// # Errors
    /// When memory cannot be had.
    pub fn from_adapter(decoder: &Decoder, adapter: &Adapter) -> Result<Self> {
        let pairs = decoder
            .linears()
            .map(|linear| adapter.pair(linear.slot).cloned())
            .collect();
        Self::from_pairs(decoder, adapter.config().clone(), pairs)
    }

    fn from_pairs(
        decoder: &Decoder,
        config: LoraConfig,
        pairs: Vec<Option<LoraPair>>,
    ) -> Result<Self> {
        let mut vars = Vec::new();
        let mut tracked = Vec::new();
        for (linear, pair) in decoder.linears().zip(pairs) {
            let Some(pair) = pair else {
                tracked.push(None);
                continue;
            };
            let (a, b) = (
                Var::from_tensor(&pair.a.copy()?)?,
                Var::from_tensor(&pair.b.copy()?)?,
            );
            tracked.push(Some(LoraPair {
                a: a.as_tensor().clone(),
                b: b.as_tensor().clone(),
                scaling: pair.scaling,
            }));
            for (half, var) in [("lora_A", a), ("lora_B", b)] {
                vars.push(NamedVar {
                    name: format!("{}.{half}", linear.name),
                    var,
                });
            }
        }
        Ok(Self {
            vars,
            adapter: Adapter::new(config, tracked),
            decoder: None,
            memory: Mutex::default(),
        })
    }

    /// Every weight of a base model: embeddings, linear layers with their biases, norms. They are copied, so the base
    /// itself stays as it is. Memory: four times the weights (weights, gradients, two moments), besides the base.
    ///
    /// # Errors
    /// A base with quantised weights, which have no gradient.
    pub fn full(decoder: &Decoder) -> Result<Self> {
        let mut vars = Vec::new();
        let decoder = decoder.map_weights(&mut |name, tensor| {
            let var = Var::from_tensor(&tensor.to_dtype(DType::F32)?.copy()?)?;
            let tensor = var.as_tensor().clone();
            vars.push(NamedVar {
                name: name.to_owned(),
                var,
            });
            Ok(tensor)
        })?;
        let none = vec![None; decoder.linears().count()];
        Ok(Self {
            vars,
            adapter: Adapter::new(LoraConfig::default(), none),
            decoder: Some(decoder),
            memory: Mutex::default(),
        })
    }

    /// Whether every weight is trained, not an adapter.
    pub fn is_full(&self) -> bool {
        self.decoder.is_some()
    }

    /// The model to compute with: with [`Parameters::full`] the one whose weights follow the training, else `base`.
    pub fn decoder<'a>(&'a self, base: &'a Decoder) -> &'a Decoder {
        self.decoder.as_ref().unwrap_or(base)
    }

    /// Number of trained values.
    pub fn count(&self) -> usize {
        self.vars.iter().map(|named| named.var.elem_count()).sum()
    }

    /// The adapter as it is now; with [`Parameters::full`] one that changes nothing. Its tensors follow the training; see
    /// [`Parameters::snapshot`] for one that does not.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// A copy of the adapter that later steps do not change, to be applied to `decoder`.
    ///
    /// # Errors
    /// When memory cannot be had; with [`Parameters::full`], which trains no adapter.
    pub fn snapshot(&self, decoder: &Decoder) -> Result<Adapter> {
        if self.is_full() {
            return Err(ModelError::Training(
                "full fine-tuning trains no adapter; save its weights as a model".to_owned(),
            ));
        }
        let copy = |pair: &LoraPair| -> Result<LoraPair> {
            Ok(LoraPair {
                a: pair.a.copy()?.detach(),
                b: pair.b.copy()?.detach(),
                scaling: pair.scaling,
            })
        };
        let pairs = decoder
            .linears()
            .map(|linear| self.adapter.pair(linear.slot).map(copy).transpose())
            .collect::<Result<_>>()?;
        Adapter::finished(self.adapter.config().clone(), pairs, decoder)
    }

    /// Names and values, in a fixed order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.vars
            .iter()
            .map(|var| (var.name.as_str(), var.var.as_tensor()))
    }

    /// Puts back values that [`Parameters::tensors`] gave, from a checkpoint.
    ///
    /// # Errors
    /// A value that is missing or has another shape.
    pub fn restore(&self, mut value: impl FnMut(&str) -> Option<Tensor>) -> Result<()> {
        for named in &self.vars {
            let tensor =
                value(&named.name).ok_or_else(|| ModelError::MissingTensor(named.name.clone()))?;
            let device = named.var.device();
            named
                .var
                .set(&tensor.to_dtype(DType::F32)?.to_device(device)?)?;
        }
        Ok(())
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn vars(&self) -> &[NamedVar] {
        &self.vars
    }
}
