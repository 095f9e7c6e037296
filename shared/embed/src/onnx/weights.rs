//! Where the exporter takes numbers from.

use super::{E5s1, SafeTensorsFiles};
use crate::EmbedError;
use std::{ops::Range, path::Path};

/// An open weight file. Tensors are read in pieces, never as a whole file.
#[derive(Debug)]
pub(crate) enum Weights {
    SafeTensors(SafeTensorsFiles),
    E5s1(E5s1),
}

impl Weights {
    /// Axis lengths of a tensor, or `None` where there is no such tensor.
    ///
    /// `E5S1` knows numbers of elements only, so its tensors are flat.
    pub(crate) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match self {
            Self::SafeTensors(files) => files.shape(name),
            Self::E5s1(file) => file.len(name).map(|len| vec![len]),
        }
    }

    /// Elements `range` of a tensor in row-major order, as float32.
    pub(crate) fn read(&self, name: &str, range: Range<usize>) -> Result<Vec<f32>, EmbedError> {
        match self {
            Self::SafeTensors(files) => files.read(name, range),
            Self::E5s1(file) => file.read(name, range),
        }
    }

    /// Number of elements of a tensor.
    ///
    /// # Errors
    /// Names the tensor that is not there, or whose length is not `expected`.
    pub(crate) fn expect(&self, name: &str, expected: usize) -> Result<(), EmbedError> {
        let Some(shape) = self.shape(name) else {
            return Err(EmbedError::invalid(
                self.path(),
                format!("tensor `{name}` is missing"),
            ));
        };
        let actual: usize = shape.iter().product();
        if actual != expected {
            let reason = format!(
                "tensor `{name}` has {actual} elements, the configuration asks for {expected}"
            );
            return Err(EmbedError::invalid(self.path(), reason));
        }
        Ok(())
    }

    /// The file, for messages.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::SafeTensors(files) => files.path(),
            Self::E5s1(file) => file.path(),
        }
    }
}
