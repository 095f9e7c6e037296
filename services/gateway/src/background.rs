use crate::error::GatewayError;
use lore_embed::EmbedPool;
use lore_retrieval::BACKGROUND;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// The vectors of the background texts, per embedder; made when first needed.
#[derive(Default)]
pub(crate) struct Backgrounds {
    made: Mutex<HashMap<String, Arc<OnceCell<Vec<Vec<f32>>>>>>,
}

impl Backgrounds {
    /// The cosines of a question's vector with the background.
    pub async fn cosines(
        &self,
        embedder: &EmbedPool,
        vector: &[f32],
    ) -> Result<Vec<f32>, GatewayError> {
        let cell = self.cell(&embedder.info().name);
        let vectors = cell.get_or_try_init(|| embed(embedder)).await?;
        Ok(vectors.iter().map(|other| dot(vector, other)).collect())
    }

    fn cell(&self, name: &str) -> Arc<OnceCell<Vec<Vec<f32>>>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(made.entry(name.to_owned()).or_default())
    }
}

async fn embed(embedder: &EmbedPool) -> Result<Vec<Vec<f32>>, GatewayError> {
    let texts = BACKGROUND.iter().map(|text| (*text).to_owned()).collect();
    Ok(embedder.embed_passages_waiting(texts).await?.vectors)
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}
