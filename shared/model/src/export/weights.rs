use crate::decoder::MODULES;
use crate::error::{ModelError, Result};
use crate::lora::{Adapter, LoraPair};
use crate::settings::{Architecture, Settings};
use crate::train::Parameters;
use crate::weights::Source;
use candle_core::{Device, Tensor};
use std::collections::HashMap;

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// What is written instead of the base's own weights.
pub(super) enum Changed<'a> {
    Nothing,
    Adapter(&'a Adapter),
    Trained(&'a Parameters),
}

/// The weights of a model as they are to be written, by their Hugging Face names and in Hugging Face's conventions.
pub(super) struct Weights<'a> {
    pub(super) source: &'a Source,
    pub(super) settings: Settings,
    adapter: Option<&'a Adapter>,
    trained: HashMap<&'a str, &'a Tensor>,
}

/// A weight's name and shape.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
}

impl Named {
    pub(super) fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

impl<'a> Weights<'a> {
    pub(super) fn new(source: &'a Source, changed: Changed<'a>) -> Result<Self> {
        let mut settings = source.settings()?;
        let mut trained = HashMap::new();
        let mut adapter = None;
        match changed {
            Changed::Nothing => {}
            Changed::Adapter(pairs) => adapter = Some(pairs),
            Changed::Trained(parameters) if parameters.is_full() => {
                trained = parameters.tensors().collect();
            }
            Changed::Trained(_) => {
                return Err(ModelError::Invalid(
                    "only an adapter was trained; save it as one, or merge it".to_owned(),
                ));
            }
        }
        let head = settings.layers.len() * MODULES.len();
        if adapter.is_some_and(|adapter| adapter.pair(head).is_some()) {
            settings.tie_word_embeddings = false;
        }
        Ok(Self {
            source,
            settings,
            adapter,
            trained,
        })
    }

    /// Whether every weight was trained, in float32.
    pub(super) fn is_trained(&self) -> bool {
        !self.trained.is_empty()
    }

    /// Every weight, in the order in which it is written.
    pub(super) fn names(&self) -> Vec<Named> {
        let settings = &self.settings;
        let table = vec![settings.vocab_size, settings.hidden_size];
        let mut all = vec![named(EMBEDDING, table.clone())];
        for layer in 0..settings.layers.len() {
            all.extend(layer_names(settings, layer));
        }
        all.push(named("model.norm.weight", vec![settings.hidden_size]));
        if !settings.tie_word_embeddings {
            all.push(named(HEAD, table));
        }
        all
    }

    /// A weight's values in float32.
    ///
    /// # Errors
    /// A weight that is missing or has another shape; an adapter that does not fit it.
    pub(super) fn values(&self, named: &Named) -> Result<Vec<f32>> {
        let mut value = self.value(named)?;
        if named.name.ends_with("norm.weight") && self.one_too_many() {
            value = (value - 1.0)?;
        }
        if let Some(pair) = self.pair(&named.name) {
            let change = pair.product()?;
            if change.dims() != named.shape {
                return Err(ModelError::WrongShape {
                    name: named.name.clone(),
                    expected: named.shape.clone(),
                    actual: change.dims().to_vec(),
                });
            }
            value = (value + change)?;
        }
        Ok(value.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
    }

    fn value(&self, named: &Named) -> Result<Tensor> {
        if let Some(tensor) = self.trained.get(named.name.as_str()) {
            return Ok(tensor.detach());
        }
        let untied = named.name == HEAD && !self.source.has(HEAD);
        let name = if untied { EMBEDDING } else { &named.name };
        self.source.tensor(name, &named.shape, &Device::Cpu)
    }

    /// Gemma's norm weights are stored minus one; GGUF files and trained weights have it added.
    fn one_too_many(&self) -> bool {
        self.settings.architecture == Architecture::Gemma3
            && (self.is_trained() || !self.settings.norm_plus_one)
    }

    fn pair(&self, name: &str) -> Option<&LoraPair> {
        self.adapter?.pair(slot(name, self.settings.layers.len())?)
    }
}

fn named(name: &str, shape: Vec<usize>) -> Named {
    Named {
        name: name.to_owned(),
        shape,
    }
}

/// The slot of a linear layer's weight among the decoder's linear layers.
fn slot(name: &str, layers: usize) -> Option<usize> {
    if name == HEAD {
        return Some(layers * MODULES.len());
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let module = rest.strip_suffix(".weight")?;
    let module = MODULES.iter().position(|known| *known == module)?;
    Some(layer.parse::<usize>().ok()? * MODULES.len() + module)
}

fn layer_names(s: &Settings, layer: usize) -> Vec<Named> {
    let (hidden, queries, keys, mlp) = (
        s.hidden_size,
        s.query_size(),
        s.key_value_size(),
        s.intermediate_size,
    );
    let linears = [
        (MODULES[0], queries, hidden, s.qkv_bias),
        (MODULES[1], keys, hidden, s.qkv_bias),
        (MODULES[2], keys, hidden, s.qkv_bias),
        (MODULES[3], hidden, queries, s.output_bias),
        (MODULES[4], mlp, hidden, s.mlp_bias),
        (MODULES[5], mlp, hidden, s.mlp_bias),
        (MODULES[6], hidden, mlp, s.mlp_bias),
    ];
    let norms = [
        ("input_layernorm", hidden, true),
        ("post_attention_layernorm", hidden, true),
        ("pre_feedforward_layernorm", hidden, s.sandwich_norms),
        ("post_feedforward_layernorm", hidden, s.sandwich_norms),
        ("self_attn.q_norm", s.head_dim, s.qk_norm),
        ("self_attn.k_norm", s.head_dim, s.qk_norm),
    ];
    let path = |module: &str, kind: &str| format!("model.layers.{layer}.{module}.{kind}");
    let mut all = Vec::new();
    for (module, outputs, inputs, bias) in linears {
        all.push(named(&path(module, "weight"), vec![outputs, inputs]));
        if bias {
            all.push(named(&path(module, "bias"), vec![outputs]));
        }
    }
    let norms = norms.into_iter().filter(|(.., there)| *there);
    all.extend(norms.map(|(norm, size, _)| named(&path(norm, "weight"), vec![size])));
    all
}
