//! Here are an encoder's weights, give me an ONNX file.
//!
//! Useful for the BERT family (BERT, RoBERTa, XLM-RoBERTa, CamemBERT, MPNet, DistilBERT) from Hugging Face safetensors, for the
//! `E5S1` file, and for cross-encoders of these families. Not useful for decoders, ModernBERT, DeBERTa or models with rotary
//! positions: these have to be brought as ONNX.

mod attention;
mod config;
mod e5s1;
mod embedding;
mod encoder;
mod fill;
mod graph;
mod linear;
mod names;
mod proto;
mod safetensors;
mod spec;
mod weights;
mod write;

pub(crate) use e5s1::{E5s1, MAGIC as E5S1_MAGIC};
pub(crate) use encoder::export;
use names::{Family, Kind, Names, Part, Table};
pub(crate) use safetensors::SafeTensorsFiles;
pub(crate) use spec::EncoderSpec;
pub(crate) use weights::Weights;
pub(crate) use write::ModelPaths;
