//! How GGUF packs weights, and their exact values.
//!
//! Layouts as the block structures of ggml's `ggml-common.h` define them; numbers as in `enum ggml_type`.

use half::{bf16, f16};

use crate::error::{Error, Result};

/// A packing of weights that the kernels multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)] // The names that GGUF files and people use.
pub enum Format {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl Format {
    pub const ALL: [Format; 11] = [
        Format::F32,
        Format::F16,
        Format::BF16,
        Format::Q4_0,
        Format::Q4_1,
        Format::Q5_0,
        Format::Q5_1,
        Format::Q8_0,
        Format::Q4_K,
        Format::Q5_K,
        Format::Q6_K,
    ];

    /// # Errors
    /// `Unsupported` for a number that is not one of these formats.
    pub fn from_number(number: u32) -> Result<Format> {
        Self::ALL
            .into_iter()
            .find(|format| format.number() == number)
            .ok_or_else(|| Error::Unsupported(format!("weights of GGUF type {number}")))
    }

    /// The number of this type in a GGUF file.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Format::F32 => 0,
            Format::F16 => 1,
            Format::Q4_0 => 2,
            Format::Q4_1 => 3,
            Format::Q5_0 => 6,
            Format::Q5_1 => 7,
            Format::Q8_0 => 8,
            Format::Q4_K => 12,
            Format::Q5_K => 13,
            Format::Q6_K => 14,
            Format::BF16 => 30,
        }
    }

    /// How many weights a block holds.
    #[must_use]
    pub fn block(self) -> usize {
        match self {
            Format::F32 | Format::F16 | Format::BF16 => 1,
            Format::Q4_0 | Format::Q4_1 | Format::Q5_0 | Format::Q5_1 | Format::Q8_0 => 32,
            Format::Q4_K | Format::Q5_K | Format::Q6_K => 256,
        }
    }

    /// How many bytes a block takes.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        match self {
            Format::F16 | Format::BF16 => 2,
            Format::F32 => 4,
            Format::Q4_0 => 18,
            Format::Q4_1 => 20,
            Format::Q5_0 => 22,
            Format::Q5_1 => 24,
            Format::Q8_0 => 34,
            Format::Q4_K => 144,
            Format::Q5_K => 176,
            Format::Q6_K => 210,
        }
    }

    /// How many bytes `rows × columns` weights take.
    ///
    /// # Errors
    /// `Damaged` when a row is no whole number of blocks, or the product is past what memory can address.
    pub fn bytes(self, rows: usize, columns: usize) -> Result<usize> {
        if !columns.is_multiple_of(self.block()) {
            return Err(Error::Damaged(format!(
                "rows of {columns} weights in {self:?}, whose blocks hold {}",
                self.block()
            )));
        }
        (columns / self.block())
            .checked_mul(self.block_bytes())
            .and_then(|row| row.checked_mul(rows))
            .filter(|bytes| isize::try_from(*bytes).is_ok())
            .ok_or_else(|| Error::Damaged(format!("{rows} × {columns} weights are too many")))
    }

    /// Writes the values of whole blocks to `out`.
    ///
    /// # Errors
    /// `Damaged` when `raw` is not what `out.len()` weights take.
    pub fn dequantize(self, raw: &[u8], out: &mut [f32]) -> Result<()> {
        if raw.len() != self.bytes(1, out.len())? {
            return Err(Error::Damaged(format!("{} bytes for {} weights in {self:?}", raw.len(), out.len())));
        }
        for (block, out) in raw.chunks_exact(self.block_bytes()).zip(out.chunks_exact_mut(self.block())) {
            self.dequantize_block(block, out);
        }
        Ok(())
    }

    fn dequantize_block(self, block: &[u8], out: &mut [f32]) {
        match self {
            Format::F32 => out[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]),
            Format::F16 => out[0] = half_at(block, 0),
            Format::BF16 => out[0] = bf16::from_le_bytes([block[0], block[1]]).to_f32(),
            Format::Q4_0 => {
                let scale = half_at(block, 0);
                for (i, out) in out.iter_mut().enumerate() {
                    *out = scale * (f32::from(nibble(&block[2..], i)) - 8.0);
                }
            }
            Format::Q4_1 => {
                let (scale, least) = (half_at(block, 0), half_at(block, 2));
                for (i, out) in out.iter_mut().enumerate() {
                    *out = scale * f32::from(nibble(&block[4..], i)) + least;
                }
            }
            Format::Q5_0 => {
                let scale = half_at(block, 0);
                for (i, out) in out.iter_mut().enumerate() {
                    *out = scale * (f32::from(nibble(&block[6..], i) | fifth(&block[2..], i)) - 16.0);
                }
            }
            Format::Q5_1 => {
                let (scale, least) = (half_at(block, 0), half_at(block, 2));
                for (i, out) in out.iter_mut().enumerate() {
                    *out = scale * f32::from(nibble(&block[8..], i) | fifth(&block[4..], i)) + least;
                }
            }
            Format::Q8_0 => {
                let scale = half_at(block, 0);
                for (out, code) in out.iter_mut().zip(&block[2..]) {
                    *out = scale * f32::from(code.cast_signed());
                }
            }
            Format::Q4_K | Format::Q5_K => {
                let (scale, least) = (half_at(block, 0), half_at(block, 2));
                for (part, out) in out.chunks_exact_mut(32).enumerate() {
                    let (factor, offset) = six_bit_scales(&block[4..16], part);
                    let (scale, least) = (scale * f32::from(factor), least * f32::from(offset));
                    for (i, out) in out.iter_mut().enumerate() {
                        *out = scale * f32::from(self.code_of_five(block, part, i)) - least;
                    }
                }
            }
            Format::Q6_K => {
                let scale = half_at(block, 208);
                for (i, out) in out.iter_mut().enumerate() {
                    let factor = block[192 + i / 16].cast_signed();
                    *out = scale * f32::from(factor) * (f32::from(six_bit_code(block, i)) - 32.0);
                }
            }
        }
    }

    /// Weight `i` of the `part`th 32 in a block of `Q4_K` or `Q5_K`: 64 weights share 32 bytes.
    fn code_of_five(self, block: &[u8], part: usize, i: usize) -> u8 {
        let codes = if self == Format::Q5_K { &block[48..] } else { &block[16..] };
        let code = codes[part / 2 * 32 + i] >> (part % 2 * 4) & 15;
        if self == Format::Q5_K { code | (block[16 + i] >> part & 1) << 4 } else { code }
    }
}

/// Weight `i` of 32 in 16 bytes: the lower halves hold the first 16.
fn nibble(codes: &[u8], i: usize) -> u8 {
    codes[i % 16] >> (i / 16 * 4) & 15
}

/// The fifth bit of weight `i` of 32, in its place.
fn fifth(bits: &[u8], i: usize) -> u8 {
    (bits[i / 8] >> (i % 8) & 1) << 4
}

/// Weight `i` of 256 in `Q6_K`: of each 128, four runs of 32 share 64 bytes of lower and 32 bytes of upper bits.
fn six_bit_code(block: &[u8], i: usize) -> u8 {
    let (half, run, at) = (i / 128, i % 128 / 32, i % 32);
    let low = block[half * 64 + run % 2 * 32 + at] >> (run / 2 * 4) & 15;
    let high = block[128 + half * 32 + at] >> (run * 2) & 3;
    low | high << 4
}

/// The scale and offset of the `part`th 32 weights, of 6 bits each, as `Q4_K` and `Q5_K` pack eight of both in 12 bytes.
#[inline(always)]
pub(super) fn six_bit_scales(packed: &[u8], part: usize) -> (u8, u8) {
    if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        let low = packed[part + 4];
        (low & 15 | packed[part - 4] >> 6 << 4, low >> 4 | packed[part] >> 6 << 4)
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}
