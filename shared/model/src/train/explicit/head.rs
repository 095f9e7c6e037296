use super::buffers::Buffers;
use super::linear::Fan;
use super::rows;
use super::sink::Sink;
use super::values::Values;
use crate::decoder::Decoder;
use crate::error::Result;
use crate::lora::Adapter;
use crate::train::dropout::Dropout;
use crate::train::loss::Predictions;
use candle_core::Tensor;

/// Logits that are alive at once: vocabularies are large, and only one piece of rows needs its logits at a time.
const LOGITS: usize = 16 << 20;

/// The last norm and the output projection.
pub(super) struct Head<'a> {
    norm: Values<'a>,
    fan: Fan<'a>,
    vocabulary: usize,
    eps: f32,
}

/// What a way back gives: gradients of an adapter on the output projection, and by the residual stream, times `scale`.
pub(super) struct Back<'a> {
    pub(super) scale: f64,
    pub(super) sink: &'a mut Sink,
    /// (rows, hidden), zeros at first.
    pub(super) by_rows: &'a mut [f32],
}

impl<'a> Head<'a> {
    pub(super) fn new(decoder: &'a Decoder, adapter: Option<&'a Adapter>) -> Result<Self> {
        Ok(Self {
            norm: Values::of(&decoder.norm)?,
            fan: Fan::new(&[&decoder.head], adapter)?,
            vocabulary: decoder.settings().vocab_size,
            eps: decoder.settings().rms_norm_eps as f32,
        })
    }

    /// The summed cross-entropy of predictions from the residual stream after the last layer (rows, hidden), some rows at a
    /// time: only rows that predict something cost anything.
    pub(super) fn loss(
        &self,
        x: &[f32],
        predictions: &Predictions,
        mut back: Option<Back<'_>>,
        buffers: &mut Buffers,
    ) -> Result<f64> {
        predictions.check(self.vocabulary)?;
        let together = (LOGITS / self.vocabulary).clamp(1, predictions.rows.len().max(1));
        let mut sum = 0.0;
        for (rows, labels) in predictions
            .rows
            .chunks(together)
            .zip(predictions.labels.chunks(together))
        {
            buffers.begin(rows.len());
            sum += self.piece(x, (rows, labels), back.as_mut(), buffers)?;
        }
        Ok(sum)
    }

    fn piece(
        &self,
        x: &[f32],
        (rows, labels): (&[u32], &[u32]),
        back: Option<&mut Back<'_>>,
        buffers: &mut Buffers,
    ) -> Result<f64> {
        let hidden = self.fan.inputs;
        let of = |row: u32| row as usize * hidden..(row as usize + 1) * hidden;
        let mut some = buffers.take(hidden);
        for (to, row) in some.chunks_mut(hidden).zip(rows) {
            to.copy_from_slice(&x[of(*row)]);
        }
        let mut normed = buffers.take(hidden);
        rows::norm(&mut normed, &some, self.norm.get(), self.eps);
        let mut logits = buffers.take(self.vocabulary);
        let none = Dropout::NONE;
        let inner = self
            .fan
            .forward(&normed, &mut [&mut logits], none, buffers)?;
        let scale = back.as_ref().map_or(0.0, |back| back.scale);
        let sum = rows::cross_entropy(&mut logits, labels, scale as f32);
        if let Some(back) = back {
            let mut by_normed = buffers.take(hidden);
            self.fan.backward(
                (&normed, &inner),
                &[&logits],
                Some(&mut by_normed),
                none,
                buffers,
                back.sink,
            )?;
            let mut by_some = buffers.take(hidden);
            by_some.fill(0.0);
            let weight = self.norm.get();
            rows::norm_back(&mut by_some, &some, weight, &by_normed, self.eps);
            for (from, row) in by_some.chunks(hidden).zip(rows) {
                back.by_rows[of(*row)].copy_from_slice(from);
            }
            buffers.give(by_normed);
            buffers.give(by_some);
        }
        for buffer in [some, normed, logits, inner] {
            buffers.give(buffer);
        }
        Ok(sum)
    }

    /// Logits of all rows: (rows, vocabulary).
    pub(super) fn logits(&self, x: &[f32], buffers: &mut Buffers) -> Result<Tensor> {
        let mut normed = buffers.take(self.fan.inputs);
        rows::norm(&mut normed, x, self.norm.get(), self.eps);
        let rows = x.len() / self.fan.inputs;
        let mut logits = vec![0f32; rows * self.vocabulary];
        self.fan
            .forward(&normed, &mut [&mut logits], Dropout::NONE, buffers)?;
        let shape = (rows, self.vocabulary);
        Ok(Tensor::from_vec(logits, shape, &candle_core::Device::Cpu)?)
    }
}
