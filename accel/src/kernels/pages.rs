//! Pages of the cache: the keys, or the values, of `PAGE` positions for one layer and one key/value head.
//!
//! They lie so that the kernels for products can walk over them:
//!
//! | format | keys | values |
//! | --- | --- | --- |
//! | `F16` | `[position / 16][dimension][position % 16]` | `[dimension / 16][position][dimension % 16]` |
//! | `Q8_0` | `[position / 16][dimension / 32]` blocks as a matrix of `Q8_0` has (see `packed`), a position for a row | `[dimension / 32][position]` scales (f16), then codes as the f16 above |
//!
//! Where nothing has been written may be anything: it is not looked at, or does not count.

use half::f16;

use super::activations::{BLOCK, Block, quantize};
use super::isa::Isa;
use super::simd::{Kernel, Simd};
use crate::error::{Error, Result};

/// Positions in a page.
pub const PAGE: usize = 64;

/// Bytes of 16 positions × 32 dimensions of keys in `Q8_0`: scales and codes.
pub const KEY_BLOCK: usize = 32 + 512;

/// How keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(non_camel_case_types)] // The names that people use.
pub enum CacheFormat {
    #[default]
    F16,
    /// Codes of 8 bits with a scale for each 32: about half of the memory.
    Q8_0,
}

impl CacheFormat {
    /// # Errors
    /// `Unsupported` when there is no such format.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "f16" => Ok(Self::F16),
            "q8_0" => Ok(Self::Q8_0),
            _ => Err(Error::Unsupported(format!("keys and values kept as '{name}'"))),
        }
    }

    /// Bytes of the keys, or the values, of a page.
    #[must_use]
    pub fn bytes(self, dimension: usize) -> usize {
        match self {
            Self::F16 => PAGE * dimension * 2,
            Self::Q8_0 => PAGE * (dimension + dimension / BLOCK * 2),
        }
    }

    /// What a head's length is a multiple of.
    #[must_use]
    pub fn step(self) -> usize {
        match self {
            Self::F16 => 16,
            Self::Q8_0 => BLOCK,
        }
    }
}

/// The keys and values of `PAGE` positions for one layer and one key/value head.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    pub keys: &'a [u8],
    pub values: &'a [u8],
}

/// Writes the key of one position to its page; what is past the range of f16 becomes its largest value.
///
/// # Panics
/// When the page is too short, or has no such position.
pub fn write_key(isa: Isa, format: CacheFormat, page: &mut [u8], position: usize, key: &[f32]) {
    let length = key.len();
    let (sixteen, row) = (position / 16, position % 16);
    match format {
        CacheFormat::F16 => {
            let columns = &mut page[..format.bytes(length)][32 * length * sixteen..][..32 * length];
            for (column, key) in columns.chunks_exact_mut(512).zip(key.chunks_exact(16)) {
                for (i, half) in isa.run(ToHalves(key)).into_iter().enumerate() {
                    column[32 * i + 2 * row..][..2].copy_from_slice(&half.to_ne_bytes());
                }
            }
        }
        CacheFormat::Q8_0 => {
            let bytes = length / BLOCK * KEY_BLOCK;
            let blocks = page[..format.bytes(length)][bytes * sixteen..][..bytes].chunks_exact_mut(KEY_BLOCK);
            for (out, key) in blocks.zip(key.as_chunks::<BLOCK>().0) {
                let block = isa.run(ToCodes(key));
                out[2 * row..][..2].copy_from_slice(&scale_of(&block).to_ne_bytes());
                for (k, codes) in block.codes.as_chunks::<4>().0.iter().enumerate() {
                    out[32 + 64 * k + 4 * row..][..4].copy_from_slice(&codes.map(i8::cast_unsigned));
                }
            }
        }
    }
}

/// Writes the value of one position to its page; what is past the range of f16 becomes its largest value.
///
/// # Panics
/// When the page is too short, or has no such position.
pub fn write_value(isa: Isa, format: CacheFormat, page: &mut [u8], position: usize, value: &[f32]) {
    assert!(position < PAGE, "position {position} of a page");
    let page = &mut page[..format.bytes(value.len())];
    match format {
        CacheFormat::F16 => {
            for (panel, value) in page.chunks_exact_mut(32 * PAGE).zip(value.chunks_exact(16)) {
                let halves = isa.run(ToHalves(value));
                for (out, half) in panel[32 * position..][..32].chunks_exact_mut(2).zip(halves) {
                    out.copy_from_slice(&half.to_ne_bytes());
                }
            }
        }
        CacheFormat::Q8_0 => {
            let (scales, codes) = page.split_at_mut(value.len() / BLOCK * PAGE * 2);
            let panels = codes.chunks_exact_mut(2 * 16 * PAGE).zip(scales.chunks_exact_mut(2 * PAGE));
            for ((codes, scales), value) in panels.zip(value.as_chunks::<BLOCK>().0) {
                let block = isa.run(ToCodes(value));
                scales[2 * position..][..2].copy_from_slice(&scale_of(&block).to_ne_bytes());
                for (panel, half) in codes.chunks_exact_mut(16 * PAGE).zip(block.codes.as_chunks::<16>().0) {
                    panel[16 * position..][..16].copy_from_slice(&half.map(i8::cast_unsigned));
                }
            }
        }
    }
}

/// The bits of a block's scale as f16.
fn scale_of(block: &Block) -> u16 {
    f16::from_f32(block.scale.min(65504.0)).to_bits()
}

struct ToHalves<'a>(&'a [f32]);

impl Kernel for ToHalves<'_> {
    type Output = [u16; 16];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [u16; 16] {
        let mut halves = [0; 16];
        if let Some(values) = self.0.first_chunk::<16>() {
            let values = s.max(s.min(s.load(values), s.splat(65504.0)), s.splat(-65504.0));
            s.store_halves(values, &mut halves);
        }
        halves
    }
}

struct ToCodes<'a>(&'a [f32; BLOCK]);

impl Kernel for ToCodes<'_> {
    type Output = Block;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Block {
        let mut block = Block::EMPTY;
        quantize(s, self.0, &mut block);
        block
    }
}
