use super::folder::{halves, singles};
use super::metadata;
use super::same::check_same;
use super::staged::{Output, StagedFile};
use super::weights::{Named, Weights};
use crate::error::{ModelError, Result};
use crate::settings::{Architecture, RopeScaling};
use crate::weights::{Source, gguf_name, quantise_q8_0};
use candle_core::quantized::gguf_file::{Content, Value};
use std::io::BufReader;
use std::path::Path;

/// How matrices are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GgufType {
    /// Half precision.
    F16,
    /// 8 bits with a scale for each 32; rows of another length stay in half precision.
    Q8_0,
}

const ALIGNMENT: usize = 32;
const MAGIC: u32 = 0x4655_4747; // "GGUF"
const VERSION: u32 = 3;
const Q8_0_BLOCK: usize = 32;
const Q8_0_BYTES: usize = 34;

/// The element types that are written, with GGUF's numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Element {
    F32 = 0,
    F16 = 1,
    Q8_0 = 8,
}

impl Element {
    fn of(shape: &[usize], kind: GgufType) -> Self {
        match (shape, kind) {
            ([_, inputs], GgufType::Q8_0) if inputs.is_multiple_of(Q8_0_BLOCK) => Self::Q8_0,
            ([_, _], _) => Self::F16,
            _ => Self::F32,
        }
    }

    fn size(self, count: usize) -> usize {
        match self {
            Self::F32 => count * 4,
            Self::F16 => count * 2,
            Self::Q8_0 => count / Q8_0_BLOCK * Q8_0_BYTES,
        }
    }
}

/// One tensor of the file: a weight, or the rotations' divisors, which are no weight of Hugging Face's.
struct Planned {
    name: String,
    element: Element,
    source: Values,
    shape: Vec<usize>,
}

enum Values {
    Weight(Named),
    Given(Vec<f32>),
}

pub(super) fn write(weights: &Weights<'_>, kind: GgufType, out: &Path) -> Result<()> {
    let (staged, mut file) = StagedFile::new(out)?;
    let planned = plan(weights, kind)?;
    let metadata = metadata::metadata(weights, kind)?;
    write_header(&mut file, &metadata, &planned)?;
    for tensor in &planned {
        file.align(ALIGNMENT)?;
        file.write(&tensor.bytes(weights)?)?;
    }
    file.align(ALIGNMENT)?;
    file.finish()?;
    check_same(&weights.settings, &read_back(staged.path())?)?;
    staged.finish()
}

/// What Lore reads in the file just written.
fn read_back(path: &Path) -> Result<crate::settings::Settings> {
    let file = std::fs::File::open(path).map_err(ModelError::read(path))?;
    Content::read(&mut BufReader::new(file)).map_err(|error| ModelError::damaged(path, error))?;
    Source::open(path)?.settings()
}

fn plan(weights: &Weights<'_>, kind: GgufType) -> Result<Vec<Planned>> {
    let architecture = weights.settings.architecture;
    let mut all = Vec::new();
    if let Some(divisors) = metadata::rope_divisors(&weights.settings) {
        all.push(Planned {
            name: "rope_freqs.weight".to_owned(),
            element: Element::F32,
            shape: vec![divisors.len()],
            source: Values::Given(divisors),
        });
    }
    for named in weights.names() {
        let name = gguf_name(&named.name, architecture)
            .ok_or_else(|| ModelError::MissingTensor(named.name.clone()))?;
        all.push(Planned {
            name,
            element: Element::of(&named.shape, kind),
            shape: named.shape.clone(),
            source: Values::Weight(named),
        });
    }
    Ok(all)
}

fn write_header(
    file: &mut Output,
    metadata: &[(String, Value)],
    planned: &[Planned],
) -> Result<()> {
    file.write(&MAGIC.to_le_bytes())?;
    file.write(&VERSION.to_le_bytes())?;
    file.write(&(planned.len() as u64).to_le_bytes())?;
    file.write(&(metadata.len() as u64).to_le_bytes())?;
    let mut bytes = Vec::new();
    for (key, value) in metadata {
        push_text(&mut bytes, key);
        bytes.extend(kind(value).to_le_bytes());
        push_value(&mut bytes, value);
    }
    let mut offset = 0usize;
    for tensor in planned {
        push_text(&mut bytes, &tensor.name);
        bytes.extend((tensor.shape.len() as u32).to_le_bytes());
        let dims = tensor.shape.iter().rev(); // the fastest first
        dims.for_each(|dim| bytes.extend((*dim as u64).to_le_bytes()));
        bytes.extend((tensor.element as u32).to_le_bytes());
        bytes.extend((offset as u64).to_le_bytes());
        let size = tensor.element.size(tensor.shape.iter().product());
        offset += size.next_multiple_of(ALIGNMENT);
    }
    file.write(&bytes)
}

impl Planned {
    fn bytes(&self, weights: &Weights<'_>) -> Result<Vec<u8>> {
        let values = match &self.source {
            Values::Given(values) => values.clone(),
            Values::Weight(named) => converted(weights, named)?,
        };
        match self.element {
            Element::F32 => Ok(singles(&values)),
            Element::F16 => halves(&self.name, &values),
            Element::Q8_0 => match values.iter().find(|value| !value.is_finite()) {
                Some(value) => Err(ModelError::Invalid(format!(
                    "`{}` holds {value}",
                    self.name
                ))),
                None => Ok(quantise_q8_0(&values)),
            },
        }
    }
}

/// A weight in GGUF's conventions: Gemma's norms with the one added, and for llama the two halves of each query and key
/// head interleaved.
fn converted(weights: &Weights<'_>, named: &Named) -> Result<Vec<f32>> {
    let settings = &weights.settings;
    let mut values = weights.values(named)?;
    if settings.architecture == Architecture::Gemma3 && named.name.ends_with("norm.weight") {
        values.iter_mut().for_each(|value| *value += 1.0);
    }
    let llama = matches!(
        settings.architecture,
        Architecture::Llama | Architecture::Mistral
    );
    if llama && (named.name.contains(".q_proj.") || named.name.contains(".k_proj.")) {
        let width = named.shape.get(1).copied().unwrap_or(1);
        return Ok(interleave(&values, width, settings.head_dim));
    }
    Ok(values)
}

/// Row (head, j, half) of the result is row (head, half, j).
fn interleave(values: &[f32], width: usize, head_dim: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for head in values.chunks(head_dim * width) {
        let (first, second) = head.split_at(head.len() / 2);
        for (first, second) in first.chunks(width).zip(second.chunks(width)) {
            out.extend_from_slice(first);
            out.extend_from_slice(second);
        }
    }
    out
}

/// Whether the rotations need a tensor of divisors.
pub(super) fn needs_divisors(scaling: &RopeScaling) -> bool {
    matches!(
        scaling,
        RopeScaling::Factors(_) | RopeScaling::Llama3 { .. }
    )
}

fn kind(value: &Value) -> u32 {
    match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn push_value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(x) => bytes.extend(x.to_le_bytes()),
        Value::I8(x) => bytes.extend(x.to_le_bytes()),
        Value::U16(x) => bytes.extend(x.to_le_bytes()),
        Value::I16(x) => bytes.extend(x.to_le_bytes()),
        Value::U32(x) => bytes.extend(x.to_le_bytes()),
        Value::I32(x) => bytes.extend(x.to_le_bytes()),
        Value::U64(x) => bytes.extend(x.to_le_bytes()),
        Value::I64(x) => bytes.extend(x.to_le_bytes()),
        Value::F32(x) => bytes.extend(x.to_le_bytes()),
        Value::F64(x) => bytes.extend(x.to_le_bytes()),
        Value::Bool(x) => bytes.push(u8::from(*x)),
        Value::String(x) => push_text(bytes, x),
        Value::Array(list) => {
            // An empty list has no type of its own; any will do.
            bytes.extend(list.first().map_or(4, kind).to_le_bytes());
            bytes.extend((list.len() as u64).to_le_bytes());
            list.iter().for_each(|value| push_value(bytes, value));
        }
    }
}
