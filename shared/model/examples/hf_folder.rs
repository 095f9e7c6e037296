//! A Hugging Face folder in float32 of any model that Lore reads, for tools that read nothing else:
//! `cargo run --release -p lore-model --example hf_folder -- MODEL.gguf FOLDER`.

use anyhow::{Context, Result};
use lore_model::{Source, export};
use std::path::Path;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().context("usage: hf_folder MODEL FOLDER");
    let (model, out) = (next()?, next()?);
    export::merged(&Source::open(Path::new(&model))?, None, Path::new(&out))?;
    println!("{out}");
    Ok(())
}
