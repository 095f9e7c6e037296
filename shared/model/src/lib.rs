//! Here is a model's folder, give me tokens, and a better adapter: decoder, tokenizer, chat template, generation, LoRA.

#[cfg(any(feature = "cuda", test))]
mod cuda;
mod decoder;
mod device;
mod error;
pub mod export;
mod generate;
mod generator;
mod inspect;
mod kernels;
mod logits;
mod lora;
mod random;
#[cfg(any(feature = "cuda", test))]
mod reference;
#[cfg(test)]
mod sample;
mod settings;
mod tokenizer;
pub mod train;
mod weights;

pub use candle_core::{DType, Device, Tensor};
#[cfg(feature = "cuda")]
pub use cuda::{Memory as DeviceMemory, memory as device_memory};
pub use decoder::{Decoder, KvCache, Linear, Products, Segment, Wanted};
pub use device::{ChosenDevice, DeviceChoice, free_on_gpu};
pub use error::{ModelError, Result};
pub use generate::{LocalGenerator, LocalSettings, Sampler};
pub use generator::{
    GenerateError, GenerateEvent, GenerateRequest, Generator, GeneratorInfo, TokenLogprob,
};
pub use inspect::{Inspection, TokenizerInspection, inspect};
pub use logits::{LogitsFiles, write_logits};
pub use lora::{Adapter, LoraConfig, LoraPair, TargetModules};
pub use random::Random;
pub use settings::{Activation, Architecture, LayerSettings, RopeScaling, RopeSettings, Settings};
pub use tokenizer::{ChatTemplate, Prompt, Tokenizer, Training};
pub use weights::{
    FrozenLinear, GgufFile, Matrix, Packed, SafetensorsFolder, Source, read_safetensors,
    write_safetensors,
};
