#[cfg(target_arch = "x86_64")]
mod avx512;

use super::BLOCK;
use super::lanes::MOST_ROWS;
use rayon::prelude::*;

/// Four activations in a number, one in each byte.
const STEPS: usize = BLOCK / 4;
/// Numbers of one row and block in a [`Panel`].
pub(super) const WORDS: usize = 2 * STEPS + 4;
/// Where the scale of a row stands, the scaled sum of its activations, and those of its first and of its last 16.
pub(super) const SCALE: usize = 2 * STEPS;
pub(super) const SUM: usize = SCALE + 1;
pub(super) const SUM_OF_HALF: usize = SCALE + 2;

/// Rows of activations, rounded to 16 bits: x = scale · (256 · value + rest), value and rest in a byte each.
pub(crate) struct IntegerRows {
    pub(super) panels: Vec<Panel>,
    pub(super) width: usize,
    count: usize,
}

/// One, two, four or eight rows side by side, so that a kernel reads them all from one place. Block by block it holds the
/// values of step s (activations 4s to 4s + 3) of each row for s in 0..8, their rests, then the numbers from [`SCALE`] on,
/// float32 as its bits.
pub(super) struct Panel {
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) words: Vec<i32>,
}

impl IntegerRows {
    /// Rounds rows of `width` values, a multiple of 32.
    pub(crate) fn new(rows: &[f32], width: usize) -> Self {
        let count = rows.len() / width.max(1);
        let mut starts = Vec::with_capacity(count.div_ceil(MOST_ROWS) + 3);
        let mut first = 0;
        while first < count {
            let together = 1 << (count - first).min(MOST_ROWS).ilog2();
            starts.push((first, together));
            first += together;
        }
        let panel = |(first, together): (usize, usize)| {
            let rows = &rows[first * width..(first + together) * width];
            Panel::new(first, rows, together)
        };
        Self {
            panels: starts.into_par_iter().map(panel).collect(),
            width,
            count,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

impl Panel {
    fn new(first: usize, values: &[f32], rows: usize) -> Self {
        let width = values.len() / rows;
        let mut words = vec![0; width / BLOCK * WORDS * rows];
        let round = |(index, words): (usize, &mut [i32])| {
            for (row, values) in values.chunks_exact(width).enumerate() {
                let first = index * BLOCKS * BLOCK;
                let count = words.len() / (WORDS * rows) * BLOCK;
                round_row(&values[first..first + count], row, rows, words);
            }
        };
        if values.len() < PARALLEL_FROM {
            words
                .chunks_mut(BLOCKS * WORDS * rows)
                .enumerate()
                .for_each(round);
        } else {
            words
                .par_chunks_mut(BLOCKS * WORDS * rows)
                .enumerate()
                .for_each(round);
        }
        Self { first, rows, words }
    }

    /// The activations of one row as they were rounded.
    pub(super) fn row(&self, row: usize) -> Vec<f32> {
        let blocks = self.words.chunks_exact(WORDS * self.rows);
        blocks
            .flat_map(|words| {
                let word = |index: usize| words[index * self.rows + row];
                let scale = f32::from_bits(word(SCALE) as u32);
                (0..BLOCK).map(move |index| {
                    let byte = |word: i32| f32::from(word.to_le_bytes()[index % 4] as i8);
                    let (value, rest) = (word(index / 4), word(STEPS + index / 4));
                    scale * (256.0 * byte(value) + byte(rest))
                })
            })
            .collect()
    }
}

/// Blocks of a panel that a thread rounds at a time.
const BLOCKS: usize = 8;
/// Values of a panel above which they are spread over threads.
const PARALLEL_FROM: usize = 4096;

/// Adding 1.5 · 2^23 rounds to the nearest integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Largest integer of a row: 256 · 126 + 127, so that both bytes stay in range whatever the sign.
const LARGEST: f32 = 32_383.0;

/// A block of one row.
struct Rounded {
    values: [i32; STEPS],
    rests: [i32; STEPS],
    scale: f32,
    /// Sums of the integers of both halves.
    totals: [i32; 2],
}

impl Rounded {
    #[inline(always)]
    fn put(self, row: usize, rows: usize, words: &mut [i32]) {
        for step in 0..STEPS {
            words[step * rows + row] = self.values[step];
            words[(STEPS + step) * rows + row] = self.rests[step];
        }
        let [first, second] = self.totals.map(|total| self.scale * total as f32);
        let numbers = [self.scale, first + second, first, second];
        for (index, number) in numbers.into_iter().enumerate() {
            words[(SCALE + index) * rows + row] = number.to_bits() as i32;
        }
    }
}

#[inline(always)]
fn round_row_body<const FUSED: bool>(values: &[f32], row: usize, rows: usize, words: &mut [i32]) {
    for (block, words) in values
        .chunks_exact(BLOCK)
        .zip(words.chunks_exact_mut(WORDS * rows))
    {
        let mut largest = [0f32; 8];
        for part in block.chunks_exact(8) {
            for lane in 0..8 {
                largest[lane] = largest[lane].max(part[lane].abs());
            }
        }
        let largest = largest.iter().fold(0f32, |a, b| a.max(*b));
        let scale = largest / LARGEST;
        let inverse = if largest > 0.0 {
            LARGEST / largest
        } else {
            0.0
        };
        let mut whole = [0i32; BLOCK];
        for (whole, x) in whole.iter_mut().zip(block) {
            *whole = (x * inverse + ROUND).to_bits() as i32 - ROUND.to_bits() as i32;
        }
        let high = whole.map(|whole| (whole + 128) >> 8);
        let mut low = [0i32; BLOCK];
        for index in 0..BLOCK {
            // -128 has no positive counterpart, which the kernels need.
            low[index] = (whole[index] - (high[index] << 8)).max(-127);
        }
        let mut totals = [0i32; 2];
        for (part, total) in totals.iter_mut().enumerate() {
            for index in part * 16..part * 16 + 16 {
                *total += (high[index] << 8) + low[index];
            }
        }
        let (values, rests) = (high.map(|high| high as i8), low.map(|low| low as i8));
        let rounded = Rounded {
            values: bytemuck::cast(values),
            rests: bytemuck::cast(rests),
            scale,
            totals,
        };
        rounded.put(row, rows, words);
    }
}

crate::kernels::dispatch!(
    round_row_anywhere,
    round_row_body,
    (values: &[f32], row: usize, rows: usize, words: &mut [i32])
);

fn round_row(values: &[f32], row: usize, rows: usize, words: &mut [i32]) {
    #[cfg(target_arch = "x86_64")]
    if super::avx512::available() {
        return avx512::round_row(values, row, rows, words);
    }
    round_row_anywhere(values, row, rows, words);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn every_processor_rounds_alike() {
        let mut random = Random::new(5);
        let mut values: Vec<f32> = (0..BLOCK * 64).map(|_| random.uniform() - 0.5).collect();
        values[..BLOCK].fill(0.0);
        values[BLOCK..2 * BLOCK].fill(-3.5);
        values[2 * BLOCK] = 1e30;
        values[3 * BLOCK] = 1e-38;
        for rows in [1, 2, 8] {
            let width = values.len() / rows;
            let mut words = [
                vec![0; width / BLOCK * WORDS * rows],
                vec![0; width / BLOCK * WORDS * rows],
            ];
            for (row, values) in values.chunks(width).enumerate() {
                round_row(values, row, rows, &mut words[0]);
                round_row_body::<false>(values, row, rows, &mut words[1]);
            }
            assert_eq!(words[0], words[1]);
        }
    }
}
