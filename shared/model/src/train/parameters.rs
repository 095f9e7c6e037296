use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::lora::{Adapter, LoraConfig, LoraPair};
use crate::random::Random;
use candle_core::{DType, Tensor, Var};

/// How the second factor begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitB {
    /// With zeros, as PEFT does: the adapter changes nothing at first.
    Zero,
    /// With random values, for tests: with B = 0 the gradient of A is exactly zero.
    Random,
}

/// The trained values of an adapter: A and B of each targeted linear layer, in the order of the slots.
pub struct Parameters {
    config: LoraConfig,
    vars: Vec<NamedVar>,
    adapter: Adapter,
}

/// One trained tensor with its name in PEFT's files (without prefix and suffix).
pub(super) struct NamedVar {
    pub(super) name: String,
    pub(super) slot: usize,
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
                    slot: linear.slot,
                    var,
                });
            }
        }
        let adapter = Adapter::new(config.clone(), tracked);
        Ok(Self {
            config,
            vars,
            adapter,
        })
    }

    /// The adapter as it is now. Its tensors follow the training; see [`Parameters::snapshot`] for one that does not.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// A copy of the adapter that later steps do not change.
    ///
    /// # Errors
    /// When memory cannot be had.
    pub fn snapshot(&self) -> Result<Adapter> {
        let copy = |pair: &LoraPair| -> Result<LoraPair> {
            Ok(LoraPair {
                a: pair.a.copy()?.detach(),
                b: pair.b.copy()?.detach(),
                scaling: pair.scaling,
            })
        };
        let last = self.vars.last().map_or(0, |last| last.slot + 1);
        let pairs = (0..last)
            .map(|slot| self.adapter.pair(slot).map(copy).transpose())
            .collect::<Result<_>>()?;
        Ok(Adapter::new(self.config.clone(), pairs))
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
            named.var.set(&tensor.to_dtype(DType::F32)?)?;
        }
        Ok(())
    }

    pub(super) fn vars(&self) -> &[NamedVar] {
        &self.vars
    }
}
