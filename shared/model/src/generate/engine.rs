use super::prefix::Prefixes;
use super::running::{Job, Running};
use crate::decoder::{Decoder, Products, Segment, Wanted};
use crate::error::Result;
use crate::tokenizer::Tokenizer;
use candle_core::{DType, Tensor};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};

/// Rows of a prompt that are computed at once; in between, answers that are being written get their next token.
const CHUNK: usize = 512;

/// The thread that owns a model: it takes jobs, computes prompts piece by piece, and decodes all answers together.
pub(super) struct Engine {
    pub(super) decoder: Arc<Decoder>,
    pub(super) tokenizer: Tokenizer,
    pub(super) jobs: Receiver<Job>,
    pub(super) waiting: Arc<AtomicUsize>,
    pub(super) max_batch: usize,
    pub(super) prefixes: Prefixes,
    pub(super) running: Vec<Running>,
}

impl Engine {
    /// Works until every handle is gone; requests that still run then are told.
    pub(super) fn run(mut self) {
        while self.admit() {
            self.prefill();
            self.decode();
            self.retire();
        }
        for running in &mut self.running {
            running.fail("the model is being shut down".to_owned());
        }
    }

    /// Takes waiting jobs as long as there is room; waits for one when there is nothing to do.
    fn admit(&mut self) -> bool {
        while self.running.len() < self.max_batch {
            let job = if self.running.is_empty() {
                self.jobs.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                self.jobs.try_recv()
            };
            match job {
                Ok(job) => self.start(job),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    fn start(&mut self, job: Job) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        if job.events.is_closed() {
            return;
        }
        let busy = self
            .running
            .iter()
            .map(|running| (&running.cache, running.job.adapter.as_ref()));
        match self
            .prefixes
            .start(&self.decoder, &job.prompt, job.adapter.as_ref(), busy)
        {
            Ok(cache) => self.running.push(Running::new(job, cache, &self.tokenizer)),
            Err(error) => {
                tracing::error!(%error, "a KV cache could not be made");
                let _ = job
                    .events
                    .try_send(Err(crate::generator::GenerateError::Failed(
                        error.to_string(),
                    )));
            }
        }
    }

    /// Computes the next piece of the first prompt that is not finished.
    ///
    /// Prompts and answers are computed by the same products, in which a row gets the same bits in any company. What
    /// differs in its last bits is a prompt of which more or less was cached: its attention is summed in tiles from eight
    /// tokens on, and an adapter is multiplied as a matrix from nine rows on.
    fn prefill(&mut self) {
        let Some(running) = self
            .running
            .iter_mut()
            .find(|running| running.next.is_none() && !running.finished)
        else {
            return;
        };
        let piece: Vec<u32> = running.left().iter().copied().take(CHUNK).collect();
        let last = piece.len() == running.left().len();
        let segment = Segment {
            tokens: &piece,
            cache: &mut running.cache,
            adapter: running.job.adapter.as_deref(),
        };
        match forward(&self.decoder, &mut [segment]) {
            Ok(logits) if last => running.advance(
                logits.first().map_or(&[], Vec::as_slice),
                &self.tokenizer,
                self.decoder.context_length(),
            ),
            Ok(_) => {}
            Err(error) => running.fail(error.to_string()),
        }
    }

    /// One token for every answer that is being written.
    fn decode(&mut self) {
        let mut writing: Vec<&mut Running> = self
            .running
            .iter_mut()
            .filter(|running| running.next.is_some() && !running.finished)
            .collect();
        if writing.is_empty() {
            return;
        }
        let segments = writing.iter_mut().map(|running| {
            let Running {
                cache, next, job, ..
            } = &mut **running;
            Segment {
                tokens: next.as_slice(),
                cache,
                adapter: job.adapter.as_deref(),
            }
        });
        let mut segments: Vec<Segment<'_>> = segments.collect();
        match forward(&self.decoder, &mut segments) {
            Ok(logits) => {
                drop(segments);
                let context = self.decoder.context_length();
                writing
                    .iter_mut()
                    .zip(&logits)
                    .for_each(|(running, logits)| {
                        running.advance(logits, &self.tokenizer, context)
                    });
            }
            Err(error) => {
                drop(segments);
                writing
                    .iter_mut()
                    .for_each(|running| running.fail(error.to_string()));
            }
        }
    }

    /// Lets go of requests that are answered or whose caller hung up, and keeps their caches for the next ones.
    fn retire(&mut self) {
        let over = |running: &Running| running.finished || running.job.events.is_closed();
        let (done, running) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(over);
        self.running = running;
        let done: Vec<Running> = done;
        done.into_iter()
            .for_each(|done| self.prefixes.keep(done.cache, done.job.adapter));
    }
}

/// Logits of the last token of each segment.
fn forward(decoder: &Decoder, segments: &mut [Segment<'_>]) -> Result<Vec<Vec<f32>>> {
    let logits: Tensor = decoder.forward(segments, Wanted::Last, Products::Integers)?;
    Ok(logits.to_dtype(DType::F32)?.to_vec2()?)
}
