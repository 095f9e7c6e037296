use super::matrix::Matrix;
use super::packed::Bytes;
use super::{check_shape, dequantise};
use crate::error::{ModelError, Result};
use crate::settings::{Architecture, RopeScaling, Settings};
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, TensorInfo};
use candle_core::{Device, Tensor};
use memmap2::Mmap;
use std::borrow::Cow;
use std::fs::File;
use std::io::Cursor;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One GGUF file, mapped into memory. Tensors are asked for by their Hugging Face names.
pub struct GgufFile {
    path: PathBuf,
    map: Arc<Mmap>,
    content: Content,
    architecture: Architecture,
    heads: [usize; 2],
}

/// What [`Content`] says about one tensor, and its bytes.
struct Raw<'a> {
    bytes: &'a [u8],
    start: usize,
    dtype: GgmlDType,
    dims: &'a [usize],
}

impl GgufFile {
    /// Opens the file and reads its metadata; tensors are mapped, not read.
    ///
    /// # Errors
    /// Names the file and what is wrong with it; an unknown architecture by name.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(ModelError::read(path))?;
        let map = map(&file).map_err(ModelError::read(path))?;
        let content = Content::read(&mut Cursor::new(&map[..]))
            .map_err(|error| ModelError::damaged(path, error))?;
        let settings = Settings::from_gguf(&content)?;
        let heads = [settings.num_attention_heads, settings.num_key_value_heads];
        Ok(Self {
            path: path.to_owned(),
            map: Arc::new(map),
            content,
            architecture: settings.architecture,
            heads,
        })
    }

    /// The metadata and the list of tensors.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name, element type and number of elements of every tensor.
    pub(crate) fn sizes(&self) -> Vec<(String, String, usize)> {
        let size = |(name, info): (&String, &TensorInfo)| {
            (
                name.clone(),
                format!("{:?}", info.ggml_dtype),
                info.shape.elem_count(),
            )
        };
        self.content.tensor_infos.iter().map(size).collect()
    }

    pub(super) fn settings(&self) -> Result<Settings> {
        let mut settings = Settings::from_gguf(&self.content)?;
        if self.content.tensor_infos.contains_key("rope_freqs.weight") {
            let raw = self.raw("rope_freqs.weight")?;
            let factors = dequantise::dequantise(raw.bytes, raw.dtype, raw.dims.iter().product())?;
            settings.ropes[0].scaling = RopeScaling::Factors(factors);
        }
        Ok(settings)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        gguf_name(name, self.architecture)
            .is_some_and(|name| self.content.tensor_infos.contains_key(&name))
    }

    pub(super) fn tensor(&self, name: &str, device: &Device) -> Result<Tensor> {
        let own = gguf_name(name, self.architecture)
            .ok_or_else(|| ModelError::MissingTensor(name.to_owned()))?;
        let raw = self.raw(&own)?;
        let rows = raw.dims.first().copied().unwrap_or(0);
        let bytes = self.in_order(name, &raw, rows);
        let values = dequantise::dequantise(&bytes, raw.dtype, raw.dims.iter().product())?;
        Ok(Tensor::from_vec(values, raw.dims, device)?)
    }

    pub(super) fn matrix(
        &self,
        name: &str,
        shape: [usize; 2],
        device: &Device,
        for_products: bool,
    ) -> Result<Matrix> {
        let own = gguf_name(name, self.architecture)
            .ok_or_else(|| ModelError::MissingTensor(name.to_owned()))?;
        let raw = self.raw(&own)?;
        check_shape(name, &shape, raw.dims)?;
        let bytes = match self.in_order(name, &raw, shape[0]) {
            Cow::Borrowed(bytes) => Bytes::Mapped {
                map: Arc::clone(&self.map),
                start: raw.start,
                end: raw.start + bytes.len(),
            },
            Cow::Owned(bytes) => Bytes::Owned(Arc::new(bytes)),
        };
        Matrix::from_bytes(bytes, raw.dtype, shape, device, for_products)
    }

    fn raw(&self, name: &str) -> Result<Raw<'_>> {
        let info = self
            .content
            .tensor_infos
            .get(name)
            .ok_or_else(|| ModelError::MissingTensor(name.to_owned()))?;
        let range = self.range(info).ok_or_else(|| {
            ModelError::damaged(
                &self.path,
                format!("tensor `{name}` reaches past the end of the file"),
            )
        })?;
        Ok(Raw {
            start: range.start,
            bytes: &self.map[range],
            dtype: info.ggml_dtype,
            dims: info.shape.dims(),
        })
    }

    /// Where the file holds a tensor.
    fn range(&self, info: &TensorInfo) -> Option<Range<usize>> {
        let count = info.shape.elem_count();
        let last = *info.shape.dims().last()?;
        if !last.is_multiple_of(info.ggml_dtype.block_size()) {
            return None;
        }
        let length = count / info.ggml_dtype.block_size() * info.ggml_dtype.type_size();
        let start =
            usize::try_from(self.content.tensor_data_offset.checked_add(info.offset)?).ok()?;
        let end = start
            .checked_add(length)
            .filter(|end| *end <= self.map.len())?;
        Some(start..end)
    }

    /// The bytes with rows in Hugging Face's order: llama's files interleave the two halves of each query and key head.
    fn in_order<'a>(&self, name: &str, raw: &Raw<'a>, rows: usize) -> Cow<'a, [u8]> {
        let heads = match name {
            _ if self.architecture != Architecture::Llama => return Cow::Borrowed(raw.bytes),
            _ if name.contains(".q_proj.") => self.heads[0],
            _ if name.contains(".k_proj.") => self.heads[1],
            _ => return Cow::Borrowed(raw.bytes),
        };
        if rows == 0 || !rows.is_multiple_of(2 * heads) || !raw.bytes.len().is_multiple_of(rows) {
            return Cow::Borrowed(raw.bytes);
        }
        Cow::Owned(separate_halves(raw.bytes, rows, rows / heads))
    }
}

/// Row (head, half, j) of the result is row (head, j, half) of the file.
fn separate_halves(bytes: &[u8], rows: usize, head_dim: usize) -> Vec<u8> {
    let width = bytes.len() / rows;
    let mut out = Vec::with_capacity(bytes.len());
    for row in 0..rows {
        let (head, within) = (row / head_dim, row % head_dim);
        let (half, j) = (within / (head_dim / 2), within % (head_dim / 2));
        let from = head * head_dim + 2 * j + half;
        out.extend_from_slice(&bytes[from * width..(from + 1) * width]);
    }
    out
}

#[expect(
    unsafe_code,
    reason = "mapping a file is undefined only when another process cuts it short meanwhile; models are never written in place"
)]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: see the reason above; downloads are renamed into place when whole.
    unsafe { Mmap::map(file) }
}

/// The GGUF name of a Hugging Face name.
pub(crate) fn gguf_name(name: &str, architecture: Architecture) -> Option<String> {
    let fixed = match name {
        "model.embed_tokens.weight" => Some("token_embd.weight"),
        "model.norm.weight" => Some("output_norm.weight"),
        "lm_head.weight" => Some("output.weight"),
        _ => None,
    };
    if let Some(fixed) = fixed {
        return Some(fixed.to_owned());
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (module, kind) = rest.rsplit_once('.')?;
    Some(format!(
        "blk.{layer}.{}.{kind}",
        gguf_module(module, architecture)?
    ))
}

fn gguf_module(module: &str, architecture: Architecture) -> Option<&'static str> {
    Some(match module {
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" if architecture == Architecture::Gemma3 => "post_attention_norm",
        "post_attention_layernorm" => "ffn_norm",
        "pre_feedforward_layernorm" => "ffn_norm",
        "post_feedforward_layernorm" => "post_ffw_norm",
        _ => return None,
    })
}
