use super::BLOCK;
use candle_core::quantized::GgmlDType;

/// 32 weights of GGUF's, in two parts of 16: weight = d · level · (code - zero) + m · low, where `zero` belongs to the format.
/// Formats without levels have ones; formats without parts have the same in both.
pub(super) struct Codes {
    pub(super) codes: [u8; BLOCK],
    /// In half precision.
    pub(super) d: u16,
    /// In half precision.
    pub(super) m: u16,
    pub(super) levels: [i8; 2],
    pub(super) lows: [i8; 2],
}

/// Block `index` of a (super)block's bytes.
///
/// # Source
/// The layouts are those of `ggml-common.h`.
#[inline(always)]
pub(super) fn unpack(dtype: GgmlDType, bytes: &[u8], index: usize) -> Codes {
    let mut out = Codes {
        codes: [0; BLOCK],
        d: 0,
        m: 0,
        levels: [1; 2],
        lows: [1; 2],
    };
    match dtype {
        GgmlDType::Q4_0 => {
            out.d = half(bytes, 0);
            nibbles(&bytes[2..], &mut out.codes);
        }
        GgmlDType::Q4_1 => {
            (out.d, out.m) = (half(bytes, 0), half(bytes, 2));
            nibbles(&bytes[4..], &mut out.codes);
        }
        GgmlDType::Q5_0 => {
            out.d = half(bytes, 0);
            nibbles(&bytes[6..], &mut out.codes);
            fifth_bits(&bytes[2..6], &mut out.codes);
        }
        GgmlDType::Q5_1 => {
            (out.d, out.m) = (half(bytes, 0), half(bytes, 2));
            nibbles(&bytes[8..], &mut out.codes);
            fifth_bits(&bytes[4..8], &mut out.codes);
        }
        GgmlDType::Q8_0 => {
            out.d = half(bytes, 0);
            out.codes.copy_from_slice(&bytes[2..2 + BLOCK]);
        }
        GgmlDType::Q2K => q2_k(bytes, index, &mut out),
        GgmlDType::Q3K => q3_k(bytes, index, &mut out),
        GgmlDType::Q4K => {
            pair_of_six(bytes, index, &mut out);
            shared_nibbles(&bytes[16..], index, &mut out.codes);
        }
        GgmlDType::Q5K => {
            pair_of_six(bytes, index, &mut out);
            shared_nibbles(&bytes[48..], index, &mut out.codes);
            for (code, high) in out.codes.iter_mut().zip(&bytes[16..48]) {
                *code |= (high >> index & 1) << 4;
            }
        }
        _ => q6_k(bytes, index, &mut out),
    }
    out
}

#[inline(always)]
fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// A number in half precision with the other sign.
const SIGN: u16 = 0x8000;

/// 16 bytes: the low halves first, then the high ones.
#[inline(always)]
fn nibbles(bytes: &[u8], codes: &mut [u8; BLOCK]) {
    for (index, byte) in bytes[..16].iter().enumerate() {
        (codes[index], codes[index + 16]) = (byte & 15, byte >> 4);
    }
}

#[inline(always)]
fn fifth_bits(bytes: &[u8], codes: &mut [u8; BLOCK]) {
    for (index, code) in codes.iter_mut().enumerate() {
        *code |= (bytes[index / 8] >> (index % 8) & 1) << 4;
    }
}

/// Two blocks of a superblock share 32 bytes.
#[inline(always)]
fn shared_nibbles(bytes: &[u8], index: usize, codes: &mut [u8; BLOCK]) {
    let shift = index % 2 * 4;
    let at = index / 2 * 32;
    for (code, byte) in codes.iter_mut().zip(&bytes[at..at + 32]) {
        *code = byte >> shift & 15;
    }
}

/// Scale and minimum from the 12 bytes in which Q4_K and Q5_K pack eight pairs of 6 bits.
#[inline(always)]
fn pair_of_six(bytes: &[u8], index: usize, out: &mut Codes) {
    let packed = &bytes[4..16];
    let (scale, minimum) = if index < 4 {
        (packed[index] & 63, packed[index + 4] & 63)
    } else {
        (
            (packed[index + 4] & 15) | ((packed[index - 4] >> 6) << 4),
            (packed[index + 4] >> 4) | ((packed[index] >> 6) << 4),
        )
    };
    (out.d, out.m) = (half(bytes, 0), half(bytes, 2) ^ SIGN);
    (out.levels, out.lows) = ([scale as i8; 2], [minimum as i8; 2]);
}

/// 16 bytes of scales and minima, 64 of pairs of bits, two halves.
#[inline(always)]
fn q2_k(bytes: &[u8], index: usize, out: &mut Codes) {
    (out.d, out.m) = (half(bytes, 80), half(bytes, 82) ^ SIGN);
    let pairs = &bytes[16 + index / 4 * 32..];
    for (code, byte) in out.codes.iter_mut().zip(pairs) {
        *code = byte >> (index % 4 * 2) & 3;
    }
    for part in 0..2 {
        let packed = bytes[index * 2 + part];
        out.levels[part] = (packed & 15) as i8;
        out.lows[part] = (packed >> 4) as i8;
    }
}

/// 32 bytes of high bits, 64 of pairs of bits, 12 of scales of 6 bits, a half.
#[inline(always)]
fn q3_k(bytes: &[u8], index: usize, out: &mut Codes) {
    out.d = half(bytes, 108);
    let pairs = &bytes[32 + index / 4 * 32..];
    for (at, code) in out.codes.iter_mut().enumerate() {
        let high = bytes[at] >> index & 1;
        *code = (pairs[at] >> (index % 4 * 2) & 3) | high << 2;
    }
    let packed = &bytes[96..108];
    for part in 0..2 {
        let place = index * 2 + part;
        let low = packed[place % 8] >> (place / 8 * 4) & 15;
        let high = packed[8 + place % 4] >> (place / 4 * 2) & 3;
        out.levels[part] = (low | high << 4) as i8 - 32;
    }
}

/// 128 bytes of low nibbles, 64 of high pairs of bits, 16 scales of 16 weights, a half.
#[inline(always)]
fn q6_k(bytes: &[u8], index: usize, out: &mut Codes) {
    let (part, quarter) = (index / 4, index % 4);
    let low = &bytes[part * 64 + quarter % 2 * 32..];
    let high = &bytes[128 + part * 32..];
    out.d = half(bytes, 208);
    for (at, code) in out.codes.iter_mut().enumerate() {
        let low = low[at] >> (quarter / 2 * 4) & 15;
        *code = low | (high[at] >> (quarter * 2) & 3) << 4;
    }
    for (half, level) in out.levels.iter_mut().enumerate() {
        *level = bytes[192 + index * 2 + half] as i8;
    }
}
