//! Here is a model's folder, give me tokens, and a better adapter: decoder, tokenizer, chat template, generation, LoRA.

mod decoder;
mod error;
mod generator;
mod kernels;
mod lora;
mod settings;
mod weights;

pub use decoder::{Decoder, KvCache, Linear, Products, Segment, Wanted};
pub use error::{ModelError, Result};
pub use generator::{GenerateError, GenerateEvent, GenerateRequest, Generator, GeneratorInfo, TokenLogprob};
pub use lora::{Adapter, LoraPair};
pub use settings::{Activation, Architecture, LayerSettings, RopeScaling, RopeSettings, Settings};
pub use weights::{GgufFile, Matrix, SafetensorsFolder, Source};
