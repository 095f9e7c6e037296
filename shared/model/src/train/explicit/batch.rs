use super::values::Values;
use crate::decoder::{Angles, Decoder};
use crate::error::{ModelError, Result};
use crate::train::dropout::Dropout;
use crate::train::example::Example;
use std::ops::Range;

/// The rows of a micro-batch: which belong together, and how each position turns the heads.
pub(super) struct Batch<'a> {
    /// Rows of each example.
    pub(super) segments: Vec<Range<usize>>,
    /// Angles by index of the rotation.
    angles: Vec<(Values<'a>, Values<'a>)>,
    pub(super) dropout: Dropout,
}

/// Cosines and sines of all rows.
#[derive(Clone, Copy)]
pub(super) struct Angled<'a> {
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Angled<'_> {
    /// Turns a head of a row; with a `sign` of -1 back, which is the derivative.
    pub(super) fn turn(self, head: &mut [f32], row: usize, sign: f32) {
        let half = head.len() / 2;
        let range = row * half..(row + 1) * half;
        let (first, second) = head.split_at_mut(half);
        let angles = self.cos[range.clone()].iter().zip(&self.sin[range]);
        for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(angles) {
            let sin = sign * sin;
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }
}

/// The tokens of all examples, their segments, and the angles of their positions.
pub(super) struct Rows {
    pub(super) tokens: Vec<u32>,
    segments: Vec<Range<usize>>,
    angles: Vec<Angles>,
}

impl Rows {
    /// # Errors
    /// No example, or one that is longer than the context.
    pub(super) fn new(decoder: &Decoder, examples: &[Example]) -> Result<Self> {
        let (mut tokens, mut positions, mut segments) = (Vec::new(), Vec::new(), Vec::new());
        for example in examples {
            segments.push(tokens.len()..tokens.len() + example.tokens.len());
            tokens.extend_from_slice(&example.tokens);
            positions.extend(0..u32::try_from(example.tokens.len()).unwrap_or(u32::MAX));
        }
        if tokens.is_empty() {
            return Err(ModelError::Invalid(
                "a micro-batch needs at least one example".to_owned(),
            ));
        }
        let angles = decoder.angles(positions)?;
        Ok(Self {
            tokens,
            segments,
            angles,
        })
    }

    pub(super) fn batch(&self, dropout: Dropout) -> Result<Batch<'_>> {
        let angles = self
            .angles
            .iter()
            .map(|angles| Ok((Values::of(&angles.cos)?, Values::of(&angles.sin)?)))
            .collect::<Result<_>>()?;
        Ok(Batch {
            segments: self.segments.clone(),
            angles,
            dropout,
        })
    }
}

impl Batch<'_> {
    pub(super) fn rows(&self) -> usize {
        self.segments.last().map_or(0, |segment| segment.end)
    }

    /// The angles of one of the model's rotations.
    pub(super) fn angles(&self, rope: usize) -> Angled<'_> {
        let (cos, sin) = &self.angles[rope];
        Angled {
            cos: cos.get(),
            sin: sin.get(),
        }
    }
}
