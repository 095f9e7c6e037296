//! The factors of LoRA pairs, laid out for a few rows.

use super::pages::Pages;
use super::{dispatch, math, prefetch};
use candle_core::{Result, Tensor};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

/// Outputs whose weights of B stand together.
pub(super) const BLOCK: usize = 32;
/// The largest integer that a value is rounded to.
const MOST: f32 = i16::MAX as f32;

/// How the values of a pair are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Precision {
    Float32,
    /// Rounded to 1/32,767 of the largest one of their rank: half the bytes, and 16 bits as activations of quantised
    /// matrices have.
    Int16,
}

/// A LoRA pair to be laid out, in float32 on the CPU.
pub(crate) struct Pair<'a> {
    /// (rank, inputs).
    pub(crate) a: &'a Tensor,
    /// (outputs, rank).
    pub(crate) b: &'a Tensor,
    pub(crate) scaling: f64,
    pub(crate) precision: Precision,
}

/// The two factors of a LoRA pair, laid out for single rows: both are read from front to back.
#[derive(Debug)]
pub(crate) struct Factors {
    /// Those of a whole adapter.
    pages: Arc<Pages>,
    /// (rank, inputs); bytes of the pages.
    a: Range<usize>,
    /// scaling · B: block by block, (rank, outputs of the block); bytes of the pages.
    b: Range<usize>,
    rank: usize,
    inputs: usize,
    outputs: usize,
    /// Where values are rounded: what the integers of A times those of B stand for, of each rank.
    scales: Option<Vec<f32>>,
}

/// Some ranks of A x: (rows of x, ranks). Few enough to stand in place.
pub(super) type Inner = SmallVec<[f32; 32]>;

/// Some values of a factor.
#[derive(Clone, Copy)]
enum Values<'a> {
    Float32(&'a [f32]),
    Int16(&'a [i16]),
}

impl<'a> Values<'a> {
    fn slice(self, range: Range<usize>) -> Self {
        match self {
            Self::Float32(values) => Self::Float32(&values[range]),
            Self::Int16(values) => Self::Int16(&values[range]),
        }
    }

    fn prefetch(self) {
        match self {
            Self::Float32(values) => prefetch(values),
            Self::Int16(values) => prefetch(values),
        }
    }
}

impl Factors {
    /// Lays out the pairs of one adapter, side by side in memory.
    pub(crate) fn of_all(pairs: &[Pair<'_>]) -> Result<Vec<Self>> {
        let lengths = pairs.iter().flat_map(Pair::lengths);
        let mut pages = Pages::new(lengths)?;
        let places = pairs.iter().map(|pair| pair.lay_out(&mut pages));
        let places: Vec<_> = places.collect::<Result<_>>()?;
        let pages = Arc::new(pages);
        let factors = places.into_iter().zip(pairs).map(|(place, pair)| {
            let ((rank, inputs), (outputs, _)) = (pair.a.dims2()?, pair.b.dims2()?);
            Ok(Self {
                pages: Arc::clone(&pages),
                a: place.a,
                b: place.b,
                rank,
                inputs,
                outputs,
                scales: place.scales,
            })
        });
        factors.collect()
    }

    /// Whether values are rounded to 16 bits.
    pub(crate) fn is_rounded(&self) -> bool {
        self.scales.is_some()
    }

    fn values(&self, bytes: &Range<usize>) -> Values<'_> {
        match self.scales {
            Some(_) => Values::Int16(self.pages.slice(bytes)),
            None => Values::Float32(self.pages.slice(bytes)),
        }
    }

    /// Ranges of ranks that together are all: as many as there are threads, or one where A has few values.
    pub(super) fn ranks_at_a_time(&self, few: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let rank = self.rank;
        let together = match rank * self.inputs {
            values if values <= few => rank.max(1),
            _ => rank.div_ceil(rayon::current_num_threads()),
        };
        (0..rank)
            .step_by(together)
            .map(move |first| first..(first + together).min(rank))
    }

    /// Some ranks of A x: (rows of x, ranks).
    pub(super) fn reduce(&self, x: &[&[f32]], ranks: Range<usize>) -> Inner {
        let own = ranks.start * self.inputs..ranks.end * self.inputs;
        let mut inner = Inner::from_elem(0.0, x.len() * ranks.len());
        match self.values(&self.a).slice(own) {
            Values::Float32(a) => reduce(a, x, &mut inner),
            Values::Int16(a) => reduce_integers(a, x, &mut inner),
        }
        if let Some(scales) = &self.scales {
            for inner in inner.chunks_mut(ranks.len().max(1)) {
                let scales = inner.iter_mut().zip(&scales[ranks.clone()]);
                scales.for_each(|(value, scale)| *value *= scale);
            }
        }
        inner
    }

    /// B for the outputs from `first` on, a multiple of [`BLOCK`].
    pub(super) fn block(&self, first: usize) -> Block<'_> {
        let width = BLOCK.min(self.outputs - first);
        let (start, end) = (first * self.rank, (first + width) * self.rank);
        let next = (first + width + BLOCK).min(self.outputs) * self.rank;
        let b = self.values(&self.b);
        b.slice(end..next).prefetch();
        Block {
            weights: b.slice(start..end),
            width,
        }
    }

    /// Asks for what [`Factors::block`] is going to give, while something else is computed.
    pub(super) fn prefetch(&self, first: usize) {
        let end = (first + BLOCK).min(self.outputs);
        let own = first * self.rank..end * self.rank;
        self.values(&self.b).slice(own).prefetch();
    }

    /// y += scaling · B A x of one row.
    pub(super) fn add(&self, x: &[f32], y: &mut [f32]) {
        let inner = self.reduce(&[x], 0..self.rank);
        for (index, y) in y.chunks_mut(BLOCK).enumerate() {
            self.block(index * BLOCK)
                .add([inner.as_slice()].into_iter(), y);
        }
    }
}

/// Where the factors of a pair stand.
struct Place {
    a: Range<usize>,
    b: Range<usize>,
    scales: Option<Vec<f32>>,
}

impl Pair<'_> {
    /// Bytes of A and of B.
    fn lengths(&self) -> [usize; 2] {
        let size = match self.precision {
            Precision::Float32 => size_of::<f32>(),
            Precision::Int16 => size_of::<i16>(),
        };
        [self.a, self.b].map(|factor| factor.elem_count() * size)
    }

    fn lay_out(&self, pages: &mut Pages) -> Result<Place> {
        let rank = self.b.dim(1)?.max(1);
        let a: Vec<f32> = self.a.flatten_all()?.to_vec1()?;
        let rows: Vec<f32> = (self.b.contiguous()? * self.scaling)?
            .flatten_all()?
            .to_vec1()?;
        let blocks = rows.chunks(BLOCK * rank);
        // The rank of each value beside it.
        let b = blocks.flat_map(|block| {
            (0..rank).flat_map(move |index| {
                let own = block.iter().skip(index).step_by(rank);
                own.map(move |value| (index, *value))
            })
        });
        if self.precision == Precision::Float32 {
            return Ok(Place {
                a: pages.push(a.iter().copied()),
                b: pages.push(b.map(|(_, value)| value)),
                scales: None,
            });
        }
        let width = (a.len() / rank).max(1);
        let of_a: Vec<f32> = a.chunks(width).map(|row| scale(row.iter())).collect();
        let of_b: Vec<f32> = (0..rank)
            .map(|index| scale(rows.iter().skip(index).step_by(rank)))
            .collect();
        let a = a.chunks(width).zip(&of_a);
        Ok(Place {
            a: pages.push(a.flat_map(|(row, scale)| row.iter().map(|value| round(*value, *scale)))),
            b: pages.push(b.map(|(index, value)| round(value, of_b[index]))),
            scales: Some(of_a.iter().zip(&of_b).map(|(a, b)| a * b).collect()),
        })
    }
}

/// What 1 stands for when the largest of the values becomes [`MOST`]; not a number where one of them is none.
fn scale<'a>(values: impl Iterator<Item = &'a f32>) -> f32 {
    let larger = |most: f32, value: &f32| match value.abs() {
        value if value > most || value.is_nan() => value,
        _ => most,
    };
    values.fold(0f32, larger) / MOST
}

fn round(value: f32, scale: f32) -> i16 {
    match scale {
        0.0 => 0,
        _ => (value / scale).round() as i16,
    }
}

/// scaling · B of up to [`BLOCK`] outputs: (rank, outputs).
pub(super) struct Block<'a> {
    weights: Values<'a>,
    width: usize,
}

impl Block<'_> {
    /// y += scaling · B · inner, which is given in pieces.
    pub(super) fn add<'a>(&self, inner: impl Iterator<Item = &'a [f32]>, y: &mut [f32]) {
        let (mut sums, mut first) = ([0f32; BLOCK], 0);
        let sums = &mut sums[..self.width];
        for inner in inner {
            let own = first..first + inner.len() * self.width;
            first = own.end;
            match self.weights.slice(own) {
                Values::Float32(b) => expand(b, inner, sums),
                Values::Int16(b) => expand_integers(b, inner, sums),
            }
        }
        y.iter_mut().zip(sums).for_each(|(y, sum)| *y += *sum);
    }
}

/// A x, row by row of A, with the product of one row of it and one of x.
#[inline(always)]
fn reduce_with<T>(a: &[T], x: &[&[f32]], inner: &mut [f32], dot: impl Fn(&[T], &[f32]) -> f32) {
    let inputs = x.first().map_or(1, |x| x.len());
    let ranks = inner.len() / x.len().max(1);
    let mut rest = a;
    for rank in 0..ranks {
        let (own, next) = rest.split_at(inputs);
        prefetch(&next[..inputs.min(next.len())]);
        for (row, x) in x.iter().enumerate() {
            inner[row * ranks + rank] = dot(own, x);
        }
        rest = next;
    }
}

#[inline(always)]
fn reduce_body<const FUSED: bool>(a: &[f32], x: &[&[f32]], inner: &mut [f32]) {
    reduce_with(a, x, inner, math::dot::<FUSED>);
}

#[inline(always)]
fn reduce_integers_body<const FUSED: bool>(a: &[i16], x: &[&[f32]], inner: &mut [f32]) {
    reduce_with(a, x, inner, math::dot_integers::<FUSED>);
}

/// Outputs of one block.
#[inline(always)]
fn expand_with<const FUSED: bool, T: Copy + Into<f32>>(b: &[T], inner: &[f32], sums: &mut [f32]) {
    if let Ok(sums) = <&mut [f32; BLOCK]>::try_from(&mut *sums) {
        let mut own = *sums;
        for (b, inner) in b.as_chunks::<BLOCK>().0.iter().zip(inner) {
            math::add_scaled::<FUSED, T>(&mut own, *inner, b);
        }
        *sums = own;
        return;
    }
    for (b, inner) in b.chunks_exact(sums.len().max(1)).zip(inner) {
        math::add_scaled::<FUSED, T>(sums, *inner, b);
    }
}

#[inline(always)]
fn expand_body<const FUSED: bool>(b: &[f32], inner: &[f32], sums: &mut [f32]) {
    expand_with::<FUSED, f32>(b, inner, sums);
}

#[inline(always)]
fn expand_integers_body<const FUSED: bool>(b: &[i16], inner: &[f32], sums: &mut [f32]) {
    expand_with::<FUSED, i16>(b, inner, sums);
}

dispatch!(reduce, reduce_body, (a: &[f32], x: &[&[f32]], inner: &mut [f32]));
dispatch!(expand, expand_body, (b: &[f32], inner: &[f32], sums: &mut [f32]));
dispatch!(reduce_integers_by_eight, reduce_integers_body, (a: &[i16], x: &[&[f32]], inner: &mut [f32]));
dispatch!(expand_integers_by_eight, expand_integers_body, (b: &[i16], inner: &[f32], sums: &mut [f32]));

/// Integers are widened first, which takes as long as the products: AVX-512 where it is.
fn reduce_integers(a: &[i16], x: &[&[f32]], inner: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if wide::is_there() {
        #[expect(unsafe_code, reason = "the processor has what the function needs")]
        // SAFETY: see the reason above.
        return unsafe { wide::reduce(a, x, inner) };
    }
    reduce_integers_by_eight(a, x, inner);
}

fn expand_integers(b: &[i16], inner: &[f32], sums: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if wide::is_there() {
        #[expect(unsafe_code, reason = "the processor has what the function needs")]
        // SAFETY: see the reason above.
        return unsafe { wide::expand(b, inner, sums) };
    }
    expand_integers_by_eight(b, inner, sums);
}

/// The loops for AVX-512.
#[cfg(target_arch = "x86_64")]
mod wide {
    use super::{expand_with, reduce_with};
    use crate::kernels::math::LANES;
    use std::arch::x86_64::{
        _mm256_loadu_si256, _mm512_add_ps, _mm512_cvtepi16_epi32, _mm512_cvtepi32_ps,
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_reduce_add_ps, _mm512_setzero_ps,
    };

    pub(super) fn is_there() -> bool {
        std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma")
    }

    #[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
    pub(super) fn reduce(a: &[i16], x: &[&[f32]], inner: &mut [f32]) {
        reduce_with(a, x, inner, |a, x| dot(a, x));
    }

    #[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
    pub(super) fn expand(b: &[i16], inner: &[f32], sums: &mut [f32]) {
        expand_with::<true, i16>(b, inner, sums);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
    #[inline]
    fn dot(a: &[i16], b: &[f32]) -> f32 {
        let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let rest = a.remainder().iter().zip(b.remainder());
        let rest = rest.fold(0f32, |sum, (a, b)| sum + f32::from(*a) * b);
        let mut sums = [_mm512_setzero_ps(); 2];
        for (a, b) in a.zip(b) {
            for (part, sum) in sums.iter_mut().enumerate() {
                let (a, b) = (&a[part * 16..part * 16 + 16], &b[part * 16..part * 16 + 16]);
                #[expect(
                    unsafe_code,
                    reason = "both slices hold the sixteen numbers that are read"
                )]
                // SAFETY: see the reason above; the instructions take any alignment.
                let (a, b) = unsafe {
                    (
                        _mm256_loadu_si256(a.as_ptr().cast()),
                        _mm512_loadu_ps(b.as_ptr()),
                    )
                };
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(a)), b, *sum);
            }
        }
        rest + _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn tensor(values: &[f32], shape: (usize, usize)) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu).expect("a tensor")
    }

    /// A x and what B makes of it, in the given precision.
    fn delta(a: &Tensor, b: &Tensor, precision: Precision, x: &[f32]) -> Vec<f32> {
        let pair = Pair {
            a,
            b,
            scaling: 0.5,
            precision,
        };
        let factors = Factors::of_all(&[pair]).expect("factors").remove(0);
        let mut y = vec![0f32; b.dim(0).expect("outputs")];
        factors.add(x, &mut y);
        y
    }

    /// Ranks of very different sizes, one of them zero, and widths that end within a block of the kernels.
    #[test]
    fn rounded_factors_give_nearly_what_whole_ones_give() {
        let (rank, inputs, outputs) = (5, 83, 70);
        let wave = |count: usize, step: f32| (0..count).map(move |at| (at as f32 * step).sin());
        let a: Vec<f32> = wave(rank * inputs, 0.7)
            .enumerate()
            .map(|(at, value)| value * 10f32.powi((at / inputs) as i32 - 2))
            .collect();
        let b: Vec<f32> = wave(outputs * rank, 1.3)
            .enumerate()
            .map(|(at, value)| value * [1.0, 0.0, 1e-3, 1e-6, 1.0][at % rank])
            .collect();
        let (a, b) = (tensor(&a, (rank, inputs)), tensor(&b, (outputs, rank)));
        let x: Vec<f32> = wave(inputs, 0.3).collect();
        let whole = delta(&a, &b, Precision::Float32, &x);
        let rounded = delta(&a, &b, Precision::Int16, &x);
        let most = whole.iter().fold(0f32, |most, value| most.max(value.abs()));
        assert!(most > 0.1, "{most}");
        for (whole, rounded) in whole.iter().zip(&rounded) {
            let off = (whole - rounded).abs() / most;
            assert!(off < 1e-4, "off by {off}");
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        let (a, b) = (
            tensor(&[1.0, f32::NAN, 2.0, 1.0], (2, 2)),
            tensor(&[1.0, 1.0], (1, 2)),
        );
        assert!(delta(&a, &b, Precision::Int16, &[1.0, 1.0])[0].is_nan());
    }
}
