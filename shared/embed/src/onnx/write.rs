//! Writes an ONNX file tensor by tensor.

use super::{
    Weights,
    fill::Fill,
    proto::{DataType, Entry, GRAPH, Graph, INITIALIZER, Model, OperatorSet, RAW_DATA, Tensor},
};
use crate::EmbedError;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

/// ONNX's operator set that the graphs are written in.
const OPSET: i64 = 17;
/// The version of the file format that goes with it.
const IR_VERSION: i64 = 8;
/// A protobuf message of 2 GiB cannot be read back.
const MAX_BYTES: u64 = i32::MAX as u64;
/// Constants of at least this many bytes lie in a file of their own, which ONNX Runtime maps into memory: the rows of the table of
/// words that no text uses are then never read, and no weight is copied on the way.
const APART: u64 = 64 << 10;
/// Where such a constant may begin: at a page.
const PAGE: u64 = 4096;

/// The files of a model.
pub(crate) struct ModelPaths<'p> {
    /// The graph, with small constants.
    pub graph: &'p Path,
    /// The large constants. There is no such file where there are none.
    pub data: &'p Path,
}

/// A constant of the graph, and where its bytes come from.
#[derive(Debug)]
pub(crate) struct Initializer {
    pub name: String,
    pub dims: Vec<usize>,
    pub data_type: DataType,
    pub fill: Fill,
}

impl Initializer {
    /// Bytes of the data.
    fn raw_len(&self) -> u64 {
        self.dims.iter().map(|d| *d as u64).product::<u64>() * self.data_type.size()
    }

    /// The bytes of the data that stand in the graph itself.
    fn inner_len(&self) -> u64 {
        let apart = self.raw_len() >= APART;
        if apart { 0 } else { self.raw_len() }
    }

    /// The message up to where the data begins, or the whole of it where the data lies at `offset` of file `location`.
    fn head(&self, offset: Option<u64>, location: &str) -> Vec<u8> {
        let dims = self.dims.iter().map(|d| *d as i64).collect();
        let entry = |key: &str, value: String| Entry {
            key: key.into(),
            value,
        };
        let external_data = offset.map(|offset| {
            vec![
                entry("location", location.into()),
                entry("offset", offset.to_string()),
                entry("length", self.raw_len().to_string()),
            ]
        });
        let tensor = Tensor {
            dims,
            data_type: self.data_type as i32,
            name: self.name.clone(),
            data_location: offset.is_some().into(),
            external_data: external_data.unwrap_or_default(),
        };
        let mut head = tensor.encode_to_vec();
        if offset.is_none() {
            put_length(RAW_DATA, self.raw_len(), &mut head);
        }
        head
    }
}

/// Writes graph and constants, with no more than a few megabytes of them in memory at a time.
///
/// # Errors
/// A tensor that is missing or broken, a full disk, or constants of 2 GiB or more in the graph itself.
pub(crate) fn write_model(
    paths: &ModelPaths<'_>,
    graph: &Graph,
    constants: &[Initializer],
    weights: &Weights,
) -> Result<(), EmbedError> {
    let offsets = offsets(constants);
    write_data(paths.data, constants, &offsets, weights)?;
    let location = paths.data.file_name().unwrap_or_default().to_string_lossy();
    let heads: Vec<Vec<u8>> = constants
        .iter()
        .zip(&offsets)
        .map(|(constant, offset)| constant.head(*offset, &location))
        .collect();
    let mut out = Output::create(paths.graph)?;
    out.put(&preamble(graph, constants, &heads, weights.path())?)?;
    for (constant, head) in constants.iter().zip(&heads) {
        let mut key = Vec::new();
        let length = head.len() as u64 + constant.inner_len();
        put_length(INITIALIZER, length, &mut key);
        out.put(&key)?;
        out.put(head)?;
        if constant.inner_len() > 0 {
            out.put_data(constant, weights)?;
        }
    }
    out.finish()
}

/// Where each constant lies in the file of its own; `None` for those in the graph.
fn offsets(constants: &[Initializer]) -> Vec<Option<u64>> {
    let mut end = 0u64;
    let place = |constant: &Initializer| {
        (constant.raw_len() >= APART).then(|| {
            let start = end.next_multiple_of(PAGE);
            end = start + constant.raw_len();
            start
        })
    };
    constants.iter().map(place).collect()
}

/// Writes the constants that have an offset; the file gets its name when it is whole.
fn write_data(
    path: &Path,
    constants: &[Initializer],
    offsets: &[Option<u64>],
    weights: &Weights,
) -> Result<(), EmbedError> {
    if offsets.iter().all(Option::is_none) {
        return Ok(());
    }
    let part = path.with_extension("data.part");
    let mut out = Output::create(&part)?;
    for (constant, offset) in constants.iter().zip(offsets) {
        if let Some(offset) = offset {
            let gap = offset.saturating_sub(out.written);
            out.put(&vec![0; usize::try_from(gap).unwrap_or_default()])?;
            out.put_data(constant, weights)?;
        }
    }
    out.finish()?;
    std::fs::rename(&part, path).map_err(EmbedError::write(path))
}

/// Everything before the first constant.
fn preamble(
    graph: &Graph,
    constants: &[Initializer],
    heads: &[Vec<u8>],
    source: &Path,
) -> Result<Vec<u8>, EmbedError> {
    let nodes = graph.encode_to_vec();
    let size = constants
        .iter()
        .zip(heads)
        .fold(nodes.len() as u64, |sum, (constant, head)| {
            let tensor = head.len() as u64 + constant.inner_len();
            sum + 1 + encoded_len_varint(tensor) as u64 + tensor
        });
    if size >= MAX_BYTES {
        let reason = format!(
            "exported it would take {size} bytes, and ONNX holds 2 GiB; bring the model as ONNX"
        );
        return Err(EmbedError::invalid(source, reason));
    }
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: "lore".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        opset_import: vec![OperatorSet {
            domain: String::new(),
            version: OPSET,
        }],
    };
    let mut bytes = model.encode_to_vec();
    put_length(GRAPH, size, &mut bytes);
    bytes.extend(nodes);
    Ok(bytes)
}

/// Begins a length-delimited field.
fn put_length(field: u32, length: u64, into: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, into);
    encode_varint(length, into);
}

/// The file being written.
struct Output<'p> {
    path: &'p Path,
    file: BufWriter<File>,
    written: u64,
}

impl<'p> Output<'p> {
    fn create(path: &'p Path) -> Result<Self, EmbedError> {
        Ok(Self {
            path,
            file: BufWriter::new(File::create(path).map_err(EmbedError::write(path))?),
            written: 0,
        })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), EmbedError> {
        self.written += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .map_err(EmbedError::write(self.path))
    }

    fn put_data(&mut self, constant: &Initializer, weights: &Weights) -> Result<(), EmbedError> {
        let before = self.written;
        constant
            .fill
            .stream(weights, &mut |bytes| self.put(bytes))?;
        let written = self.written - before;
        if written != constant.raw_len() {
            let reason = format!(
                "constant `{}` has {written} bytes instead of {}",
                constant.name,
                constant.raw_len()
            );
            return Err(EmbedError::invalid(weights.path(), reason));
        }
        Ok(())
    }

    fn finish(self) -> Result<(), EmbedError> {
        let failed = EmbedError::write(self.path);
        let file = self
            .file
            .into_inner()
            .map_err(|e| EmbedError::write(self.path)(e.into_error()))?;
        file.sync_all().map_err(failed)
    }
}
