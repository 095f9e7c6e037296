use super::rotary::Rotary;
use super::{Decoder, Layer, Linear, MODULES, layer};
use crate::error::{ModelError, Result};
use crate::settings::Settings;
use crate::weights::{Matrix, Source};
use candle_core::Device;
use sha2::{Digest, Sha256};
use std::sync::Arc;

impl Decoder {
    /// Loads a model for contexts up to `context_length` tokens (`None`: the model's own), to be computed on `threads`
    /// threads (0: one a physical core).
    ///
    /// # Errors
    /// Names the tensor that is missing or has another shape than the configuration says.
    pub fn load(
        source: &Source,
        context_length: Option<usize>,
        threads: usize,
        device: &Device,
    ) -> Result<Self> {
        let settings = source.settings()?;
        let context_length = context_length
            .unwrap_or(usize::MAX)
            .min(settings.max_position_embeddings);
        let hidden = settings.hidden_size;
        let table = [settings.vocab_size, hidden];
        let layers = (0..settings.layers.len())
            .map(|index| Layer::load(source, &settings, index, device))
            .collect::<Result<Vec<_>>>()?;
        let embedding = source.table("model.embed_tokens.weight", table, device)?;
        let head = Self::load_head(source, &settings, &embedding, device)?;
        let rotary = |rope| Rotary::new(rope, settings.head_dim, context_length, device);
        Ok(Self {
            context_length,
            device: device.clone(),
            embedding,
            norm: layer::load_norm(source, &settings, "model.norm.weight", hidden, device)?,
            head,
            rotaries: settings.ropes.iter().map(rotary).collect::<Result<_>>()?,
            threads: thread_pool(threads)?,
            layers,
            settings,
        })
    }

    fn load_head(
        source: &Source,
        settings: &Settings,
        embedding: &Matrix,
        device: &Device,
    ) -> Result<Linear> {
        let shape = [settings.vocab_size, settings.hidden_size];
        let name = if settings.tie_word_embeddings {
            "model.embed_tokens.weight"
        } else {
            "lm_head.weight"
        };
        let weight = match (settings.tie_word_embeddings, embedding) {
            (true, Matrix::Dense(_)) => embedding.clone(),
            _ => source.matrix(name, shape, device)?,
        };
        Ok(Linear {
            name: "lm_head".to_owned(),
            slot: settings.layers.len() * MODULES.len(),
            weight,
            bias: None,
        })
    }

    /// Identifies the weights: two decoders with the same fingerprint have, for all that matters, the same base model.
    /// It covers the configuration and a sample of every matrix (its first and its middle row), in hexadecimal.
    ///
    /// # Errors
    /// When memory cannot be had.
    pub fn fingerprint(&self) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(
            serde_json::to_vec(&self.settings)
                .map_err(|error| ModelError::Invalid(error.to_string()))?,
        );
        for linear in self.linears() {
            let (outputs, _) = linear.weight.dims()?;
            let rows = linear
                .weight
                .rows(&[0, u32::try_from(outputs / 2).unwrap_or(0)])?;
            let values: Vec<f32> = rows.flatten_all()?.to_vec1()?;
            hash.update(linear.name.as_bytes());
            // Rounded as on a GPU, so that one base has one fingerprint wherever it is loaded.
            values
                .iter()
                .for_each(|value| hash.update(half::bf16::from_f32(*value).to_le_bytes()));
        }
        Ok(hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect())
    }

    /// Bytes of all weights in memory.
    pub fn size_in_bytes(&self) -> usize {
        self.linears()
            .map(|linear| linear.weight.size_in_bytes())
            .sum::<usize>()
            + self.embedding.size_in_bytes()
    }
}

fn thread_pool(threads: usize) -> Result<Arc<rayon::ThreadPool>> {
    let threads = if threads == 0 {
        candle_core::utils::get_num_threads()
    } else {
        threads
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("lore-model-{index}"))
        .build();
    pool.map(Arc::new).map_err(|error| {
        ModelError::Invalid(format!("the model's threads cannot be started: {error}"))
    })
}
