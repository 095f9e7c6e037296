use crate::error::Result;
use crate::settings::Settings;
use candle_core::{DType, Device, Tensor};

/// Positions that a layer's cache grows by at least.
const GROWTH: usize = 256;

/// Keys and values of one layer: two tensors of (capacity, key heads · `head_dim`), of which the first `len` rows count.
#[derive(Clone, Debug)]
pub(crate) struct LayerCache {
    pub(crate) keys: Tensor,
    pub(crate) values: Tensor,
}

/// The KV cache of one sequence, with the tokens that it stands for.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    tokens: Vec<u32>,
    capacity: usize,
    width: usize,
    dtype: DType,
    device: Device,
}

impl KvCache {
    /// An empty cache of keys and values of one element type.
    ///
    /// # Errors
    /// When memory cannot be had on the device.
    pub fn new(settings: &Settings, dtype: DType, device: &Device) -> Result<Self> {
        let width = settings.key_value_size();
        let empty = || -> Result<LayerCache> {
            let rows = || Tensor::zeros((GROWTH, width), dtype, device);
            Ok(LayerCache {
                keys: rows()?,
                values: rows()?,
            })
        };
        let layers = settings
            .layers
            .iter()
            .map(|_| empty())
            .collect::<Result<_>>()?;
        Ok(Self {
            layers,
            tokens: Vec::new(),
            capacity: GROWTH,
            width,
            dtype,
            device: device.clone(),
        })
    }

    /// The tokens that have been computed.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Number of tokens that have been computed.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether nothing has been computed.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Bytes in memory.
    pub fn size_in_bytes(&self) -> usize {
        self.layers.len() * 2 * self.capacity * self.width * self.dtype.size_in_bytes()
    }

    /// Forgets every token from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
    }

    /// A cache of its own with the first `len` tokens of this one.
    ///
    /// # Errors
    /// When memory cannot be had on the device.
    pub fn copy_prefix(&self, len: usize) -> Result<Self> {
        let len = len.min(self.len());
        let capacity = len.next_multiple_of(GROWTH).max(GROWTH);
        let copy = |layer: &LayerCache| layer.resized(len, capacity, self.width, &self.device);
        Ok(Self {
            layers: self.layers.iter().map(copy).collect::<Result<_>>()?,
            tokens: self.tokens.iter().take(len).copied().collect(),
            capacity,
            width: self.width,
            dtype: self.dtype,
            device: self.device.clone(),
        })
    }

    /// Makes room for `more` tokens.
    pub(crate) fn reserve(&mut self, more: usize) -> Result<()> {
        let needed = self.len() + more;
        if needed <= self.capacity {
            return Ok(());
        }
        let capacity = needed.max(self.capacity * 3 / 2).next_multiple_of(GROWTH);
        for layer in &mut self.layers {
            *layer = layer.resized(self.tokens.len(), capacity, self.width, &self.device)?;
        }
        self.capacity = capacity;
        Ok(())
    }

    /// Writes keys and values (rows, width) of one layer behind the tokens that count so far; room must have been made.
    pub(crate) fn write(
        &mut self,
        layer: usize,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<&LayerCache> {
        let at = self.tokens.len();
        let layer = &self.layers[layer];
        layer.keys.slice_set(&keys.contiguous()?, 0, at)?;
        layer.values.slice_set(&values.contiguous()?, 0, at)?;
        Ok(layer)
    }

    /// The rows that [`KvCache::write`] wrote in every layer count from now on.
    pub(crate) fn commit(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
    }
}

impl LayerCache {
    fn resized(&self, len: usize, capacity: usize, width: usize, device: &Device) -> Result<Self> {
        let copy = |rows: &Tensor| -> Result<Tensor> {
            let larger = Tensor::zeros((capacity, width), rows.dtype(), device)?;
            if len > 0 {
                larger.slice_set(&rows.narrow(0, 0, len)?, 0, 0)?;
            }
            Ok(larger)
        };
        Ok(Self {
            keys: copy(&self.keys)?,
            values: copy(&self.values)?,
        })
    }
}
