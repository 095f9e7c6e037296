//! Writes an ONNX file tensor by tensor.

use super::{
    Weights,
    fill::Fill,
    proto::{DataType, GRAPH, Graph, INITIALIZER, Model, OperatorSet, RAW_DATA, Tensor},
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

    /// The message up to where the data begins.
    fn head(&self) -> Vec<u8> {
        let dims = self.dims.iter().map(|d| *d as i64).collect();
        let tensor = Tensor {
            dims,
            data_type: self.data_type as i32,
            name: self.name.clone(),
        };
        let mut head = tensor.encode_to_vec();
        put_length(RAW_DATA, self.raw_len(), &mut head);
        head
    }
}

/// Writes graph and constants to `path`, with no more than a few megabytes of them in memory at a time.
///
/// # Errors
/// A tensor that is missing or broken, a full disk, or a model of 2 GiB or more.
pub(crate) fn write_model(
    path: &Path,
    graph: &Graph,
    constants: &[Initializer],
    weights: &Weights,
) -> Result<(), EmbedError> {
    let heads: Vec<Vec<u8>> = constants.iter().map(Initializer::head).collect();
    let preamble = preamble(graph, constants, &heads, weights.path())?;
    let mut out = Output {
        path,
        file: BufWriter::new(File::create(path).map_err(EmbedError::write(path))?),
        written: 0,
    };
    out.put(&preamble)?;
    for (constant, head) in constants.iter().zip(&heads) {
        let mut key = Vec::new();
        put_length(
            INITIALIZER,
            head.len() as u64 + constant.raw_len(),
            &mut key,
        );
        out.put(&key)?;
        out.put(head)?;
        out.put_data(constant, weights)?;
    }
    out.finish()
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
            let tensor = head.len() as u64 + constant.raw_len();
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

impl Output<'_> {
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
