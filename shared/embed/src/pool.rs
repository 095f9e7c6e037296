use crate::{
    EmbedError, EmbedSettings, EmbedTokenizer, Embedder, EmbedderInfo, Embeddings,
    embedder::TextKind,
    queue::Lane,
    worker::{Model, Worker},
};
use std::sync::Arc;

/// As many queries at once still go before passages; more are bulk work.
const URGENT_QUERIES: usize = 4;

/// An embedder for async callers: one thread owns it, the others ask. Cloning gives another handle to the same embedder; when the
/// last one is dropped, the thread ends.
///
/// # Guarantees
/// A query waits for at most one computation (about a thousand tokens) of the passages before it. Dropping a returned future
/// cancels what has not been computed. At most [`EmbedSettings::queue`] requests of each kind wait.
#[derive(Clone)]
pub struct EmbedPool {
    inner: Arc<Inner>,
}

struct Inner {
    worker: Worker<Embedder>,
    info: EmbedderInfo,
    tokenizer: EmbedTokenizer,
}

/// Texts to embed.
pub(crate) struct Texts {
    kind: TextKind,
    texts: Vec<String>,
}

impl Model for Embedder {
    type Request = Texts;
    type Reply = Embeddings;

    fn work(
        &mut self,
        Texts { kind, texts }: Texts,
        pause: &mut dyn FnMut(&mut Self) -> bool,
    ) -> Result<Option<Embeddings>, EmbedError> {
        self.embed_with_pauses(kind, &texts, pause)
    }
}

impl EmbedPool {
    /// Loads the embedder on a thread of its own; exports its weights first where that has not been done.
    ///
    /// # Errors
    /// Those of [`Embedder::load`].
    pub async fn load(settings: EmbedSettings) -> Result<Self, EmbedError> {
        let (name, places) = (settings.files.name.clone(), settings.queue);
        let describe =
            |embedder: &Embedder| (embedder.info().clone(), embedder.tokenizer().clone());
        let (worker, (info, tokenizer)) =
            Worker::start(name, places, move || Embedder::load(&settings), describe).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                worker,
                info,
                tokenizer,
            }),
        })
    }

    /// What the embedder is.
    pub fn info(&self) -> &EmbedderInfo {
        &self.inner.info
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &EmbedTokenizer {
        &self.inner.tokenizer
    }

    /// The vectors of passages, in their order.
    ///
    /// # Errors
    /// [`EmbedError::Busy`] where the queue is full; those of [`Embedder::embed_passages`]; [`EmbedError::Stopped`].
    pub async fn embed_passages(&self, texts: Vec<String>) -> Result<Embeddings, EmbedError> {
        self.inner
            .worker
            .ask(
                Lane::Patient,
                Texts {
                    kind: TextKind::Passage,
                    texts,
                },
            )
            .await
    }

    /// The same, but waits where the queue is full.
    pub async fn embed_passages_waiting(
        &self,
        texts: Vec<String>,
    ) -> Result<Embeddings, EmbedError> {
        self.inner
            .worker
            .ask_waiting(
                Lane::Patient,
                Texts {
                    kind: TextKind::Passage,
                    texts,
                },
            )
            .await
    }

    /// The vectors of queries, in their order. Up to four go before all passages.
    ///
    /// # Errors
    /// As for [`EmbedPool::embed_passages`].
    pub async fn embed_queries(&self, texts: Vec<String>) -> Result<Embeddings, EmbedError> {
        let lane = if texts.len() <= URGENT_QUERIES {
            Lane::Urgent
        } else {
            Lane::Patient
        };
        self.inner
            .worker
            .ask(
                lane,
                Texts {
                    kind: TextKind::Query,
                    texts,
                },
            )
            .await
    }

    /// The vector of one query, before all passages.
    ///
    /// # Errors
    /// As for [`EmbedPool::embed_passages`].
    pub async fn embed_query(&self, text: String) -> Result<Vec<f32>, EmbedError> {
        let mut embeddings = self.embed_queries(vec![text]).await?;
        let name = self.info().name.clone();
        embeddings.vectors.pop().ok_or(EmbedError::NoVector {
            name,
            index: 0,
            reason: "the model gave none",
        })
    }

    /// Whether its thread has ended, so that it must be loaded anew.
    pub fn is_stopped(&self) -> bool {
        self.inner.worker.is_stopped()
    }
}

impl std::fmt::Debug for EmbedPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbedPool")
            .field("info", &self.inner.info)
            .finish_non_exhaustive()
    }
}
