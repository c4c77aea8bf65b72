//! Numbers out of the blocks of ggml: each block has a few factors in float16 and small integers to multiply them by.
//!
//! The order of operations is that of `ggml-quants.c`, so that every number is the same to the bit.
//! <https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-quants.c>

use half::{bf16, f16};

/// Numbers of a block of the `K` types.
const SUPER: usize = 256;

/// How the numbers of a tensor are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q8_0,
    Q4K,
    Q6K,
}

impl Type {
    /// The type with a number of ggml's.
    ///
    /// # Errors
    /// Naming the types that are supported.
    pub fn of(number: u32) -> Result<Type, String> {
        Ok(match number {
            0 => Type::F32,
            1 => Type::F16,
            2 => Type::Q4_0,
            3 => Type::Q4_1,
            8 => Type::Q8_0,
            12 => Type::Q4K,
            14 => Type::Q6K,
            30 => Type::Bf16,
            _ => {
                let known = "F32 (0), F16 (1), Q4_0 (2), Q4_1 (3), Q8_0 (8), Q4_K (12), Q6_K (14) and BF16 (30)";
                return Err(format!("type {number} is not supported: {known} are"));
            }
        })
    }

    /// Numbers of a block.
    pub fn elements(self) -> usize {
        match self {
            Type::F32 | Type::F16 | Type::Bf16 => 1,
            Type::Q4_0 | Type::Q4_1 | Type::Q8_0 => 32,
            Type::Q4K | Type::Q6K => SUPER,
        }
    }

    /// Bytes of a block.
    pub fn bytes(self) -> usize {
        match self {
            Type::F32 => 4,
            Type::F16 | Type::Bf16 => 2,
            Type::Q4_0 => 18,
            Type::Q4_1 => 20,
            Type::Q8_0 => 34,
            Type::Q4K => 144,
            Type::Q6K => 210,
        }
    }

    /// Adds the numbers of whole blocks to `out`.
    pub fn unpack(self, blocks: &[u8], out: &mut Vec<f32>) {
        match self {
            Type::F32 => out.extend(blocks.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b))),
            Type::F16 => out.extend(blocks.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32())),
            Type::Bf16 => out.extend(blocks.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32())),
            Type::Q4_0 => blocks.as_chunks().0.iter().for_each(|block| q4_0(block, out)),
            Type::Q4_1 => blocks.as_chunks().0.iter().for_each(|block| q4_1(block, out)),
            Type::Q8_0 => blocks.as_chunks().0.iter().for_each(|block| q8_0(block, out)),
            Type::Q4K => blocks.as_chunks().0.iter().for_each(|block| q4_k(block, out)),
            Type::Q6K => blocks.as_chunks().0.iter().for_each(|block| q6_k(block, out)),
        }
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// The low halves of the bytes, then the high ones.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().map(|byte| byte & 15).chain(bytes.iter().map(|byte| byte >> 4))
}

/// d, 16 bytes: x = d·(q − 8).
fn q4_0(block: &[u8; 18], out: &mut Vec<f32>) {
    let d = half_at(block, 0);
    out.extend(nibbles(&block[2..]).map(|q| d * (f32::from(q) - 8.0)));
}

/// d, m, 16 bytes: x = d·q + m.
fn q4_1(block: &[u8; 20], out: &mut Vec<f32>) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    out.extend(nibbles(&block[4..]).map(|q| d * f32::from(q) + m));
}

/// d, 32 signed bytes: x = d·q.
fn q8_0(block: &[u8; 34], out: &mut Vec<f32>) {
    let d = half_at(block, 0);
    out.extend(block[2..].iter().map(|&q| d * f32::from(q.cast_signed())));
}

/// d, dmin, 12 bytes of eight scales and minima of 6 bits, 128 bytes: x = d·scale·q − dmin·min.
fn q4_k(block: &[u8; 144], out: &mut Vec<f32>) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (packed, quants) = (&block[4..16], &block[16..]);
    for (pair, bytes) in quants.chunks(32).enumerate() {
        for (high, index) in [2 * pair, 2 * pair + 1].into_iter().enumerate() {
            let (scale, min) = scale_and_min(packed, index);
            let (factor, offset) = (d * f32::from(scale), dmin * f32::from(min));
            out.extend(bytes.iter().map(|byte| factor * f32::from(byte >> (4 * high) & 15) - offset));
        }
    }
}

/// Of twelve bytes the first four hold scales 0 to 3, the next four minima 0 to 3, 6 bits each; the last four hold the
/// low 4 bits of the others, whose high 2 bits are the high 2 bits of the first eight.
fn scale_and_min(packed: &[u8], index: usize) -> (u8, u8) {
    match index {
        0..4 => (packed[index] & 63, packed[index + 4] & 63),
        _ => (packed[index + 4] & 15 | packed[index - 4] >> 6 << 4, packed[index + 4] >> 4 | packed[index] >> 6 << 4),
    }
}

/// 128 bytes of low 4 bits, 64 of high 2 bits, 16 signed scales, d: x = d·scale·(q − 32).
fn q6_k(block: &[u8; 210], out: &mut Vec<f32>) {
    let d = half_at(block, 208);
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    for half in 0..2 {
        let (low, high) = (&low[64 * half..][..64], &high[32 * half..][..32]);
        for quarter in 0..4 {
            for place in 0..32 {
                let four = low[32 * (quarter % 2) + place] >> (4 * (quarter / 2)) & 15;
                let two = high[place] >> (2 * quarter) & 3;
                let scale = scales[8 * half + 2 * quarter + place / 16].cast_signed();
                out.push(d * f32::from(scale) * (f32::from(four | two << 4) - 32.0));
            }
        }
    }
}
