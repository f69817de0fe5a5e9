//! How a group of 16 rows lies in memory, and the ways there and back.
//!
//! A matrix is a sequence of groups of 16 rows (the last one padded with zeros), a group a sequence of blocks:
//!
//! | weights | block | bytes of a block, in order |
//! | --- | --- | --- |
//! | floats | 1 column | 16 values |
//! | `Q8_0` | 32 columns | 16 scales (f16); 8 × 64 codes |
//! | `Q4_0`, `Q5_0` | 32 columns | 16 scales (f16); codes |
//! | `Q4_1`, `Q5_1` | 32 columns | 16 scales, 16 offsets (f16); codes |
//! | `Q4_K`, `Q5_K` | 256 columns | 16 scales, 16 offsets (f16); 8 × (16 factors, 16 factors of the offset (u8); codes) |
//! | `Q6_K` | 256 columns | 16 scales (f16); 8 × (16 × 2 factors (i8); codes) |
//!
//! Codes of 32 columns are 4 × 64 bytes with their lower four bits: byte `4·row + i` of the `k`th 64 holds columns
//! `8·k + i` and, in its upper half, `8·k + 4 + i`. What is above four bits follows: of 5-bit codes 64 bytes, where bit `f`
//! of byte `4·row + i` belongs to column `4·f + i`; of 6-bit codes 2 × 64 bytes, where bits `2·f` and `2·f + 1` of the
//! `h`th belong to column `16·h + 4·f + i`.

use std::ops::Range;

use half::{bf16, f16};

use super::format::{Format, six_bit_scales};
use super::isa::Isa;
use super::matrix::ROWS;
use super::simd::{Kernel, Simd};

/// Columns that share a scale, in all formats but those of floats (`Q6_K` has two scales for them).
const PART: usize = 32;

/// Bytes of the parts of a block: before the first 32 columns, before each 32 columns' codes, and their codes.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    head: usize,
    scales: usize,
    codes: usize,
}

impl Shape {
    fn of(format: Format) -> Self {
        let (head, scales, codes) = match format {
            Format::F32 => (0, 0, 64),
            Format::F16 | Format::BF16 => (0, 0, 32),
            Format::Q8_0 => (0, 32, 512),
            Format::Q4_0 => (0, 32, 256),
            Format::Q4_1 => (0, 64, 256),
            Format::Q5_0 => (0, 32, 320),
            Format::Q5_1 => (0, 64, 320),
            Format::Q4_K => (64, 32, 256),
            Format::Q5_K => (64, 32, 320),
            Format::Q6_K => (32, 32, 384),
        };
        Self { head, scales, codes }
    }

    fn parts(format: Format) -> usize {
        format.block().div_ceil(PART)
    }

    fn block(format: Format) -> usize {
        let Self { head, scales, codes } = Self::of(format);
        head + Self::parts(format) * (scales + codes)
    }
}

pub fn group_bytes(format: Format, columns: usize) -> usize {
    (columns / format.block() * Shape::block(format)).next_multiple_of(64)
}

/// Packs up to 16 rows; the group is full of zeros before.
pub fn pack_group(isa: Isa, format: Format, raw: &[u8], row_bytes: usize, group: &mut [u8]) {
    isa.run(Pack { format, raw, row_bytes, group });
}

struct Pack<'a> {
    format: Format,
    raw: &'a [u8],
    row_bytes: usize,
    group: &'a mut [u8],
}

impl Kernel for Pack<'_> {
    type Output = ();

    /// Plain Rust, of which the compiler makes what vectors can: 16 rows are put into words first, so that they are
    /// written line by line.
    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let Self { format, raw, row_bytes, group } = self;
        let shape = Shape::of(format);
        let size = format.block_bytes();
        for (index, block) in group.chunks_exact_mut(Shape::block(format)).enumerate().take(row_bytes / size)
        {
            let sources = || raw.chunks_exact(row_bytes).map(|row| &row[index * size..][..size]).enumerate();
            if format.block() == 1 {
                for (row, source) in sources() {
                    block[row * size..][..size].copy_from_slice(source);
                }
                continue;
            }
            for (row, source) in sources() {
                pack_head(format, source, row, block);
            }
            let parts = block[shape.head..].chunks_exact_mut(shape.scales + shape.codes);
            for (part, out) in parts.enumerate() {
                let (scales, codes) = out.split_at_mut(shape.scales);
                let mut words = [[0; 8]; ROWS];
                for ((row, source), words) in sources().zip(&mut words) {
                    pack_scales(format, source, part, row, scales);
                    *words = codes_of(format, source, part);
                }
                if format == Format::Q8_0 {
                    put_lines(codes, 0..8, |k, row| words[row][k]);
                } else {
                    pack_codes(&words, codes);
                }
            }
        }
    }
}

/// Writes lines of 16 words, one for each row.
#[inline(always)]
fn put_lines(out: &mut [u8], lines: Range<usize>, word: impl Fn(usize, usize) -> u32) {
    for (line, out) in lines.clone().zip(out[64 * lines.start..].as_chunks_mut::<64>().0) {
        let words: [u32; ROWS] = std::array::from_fn(|row| word(line, row));
        for (out, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *out = word.to_le_bytes();
        }
    }
}

/// Where the two f16 that a block begins with lie in the file's block.
#[inline(always)]
fn pack_head(format: Format, source: &[u8], row: usize, block: &mut [u8]) {
    match format {
        Format::Q4_K | Format::Q5_K => {
            block[2 * row..][..2].copy_from_slice(&source[..2]);
            block[32 + 2 * row..][..2].copy_from_slice(&source[2..4]);
        }
        Format::Q6_K => block[2 * row..][..2].copy_from_slice(&source[208..210]),
        _ => {}
    }
}

#[inline(always)]
fn pack_scales(format: Format, source: &[u8], part: usize, row: usize, scales: &mut [u8]) {
    match format {
        Format::Q4_K | Format::Q5_K => {
            (scales[row], scales[16 + row]) = six_bit_scales(&source[4..16], part);
        }
        Format::Q6_K => scales[2 * row..][..2].copy_from_slice(&source[192 + 2 * part..][..2]),
        _ => {
            scales[2 * row..][..2].copy_from_slice(&source[..2]);
            if scales.len() == 64 {
                scales[32 + 2 * row..][..2].copy_from_slice(&source[2..4]);
            }
        }
    }
}

/// The codes of 32 columns, a byte each, four to a word.
#[inline(always)]
fn codes_of(format: Format, source: &[u8], part: usize) -> [u32; 8] {
    match format {
        Format::Q4_0 => nibbles(&source[2..]),
        Format::Q4_1 => nibbles(&source[4..]),
        Format::Q5_0 => with_fifth(nibbles(&source[6..]), &source[2..6]),
        Format::Q5_1 => with_fifth(nibbles(&source[8..]), &source[4..8]),
        Format::Q4_K | Format::Q5_K => {
            let low = if format == Format::Q5_K { 48 } else { 16 };
            std::array::from_fn(|word| {
                let code = word_at(source, low + part / 2 * 32 + 4 * word) >> (part % 2 * 4) & 0x0f0f_0f0f;
                if format == Format::Q4_K {
                    return code;
                }
                code | (word_at(source, 16 + 4 * word) >> part & 0x0101_0101) << 4
            })
        }
        Format::Q6_K => {
            let (half, run) = (part / 4, part % 4);
            std::array::from_fn(|word| {
                let low = word_at(source, half * 64 + run % 2 * 32 + 4 * word) >> (run / 2 * 4) & 0x0f0f_0f0f;
                let high = word_at(source, 128 + half * 32 + 4 * word) >> (2 * run) & 0x0303_0303;
                low | high << 4
            })
        }
        Format::Q8_0 => std::array::from_fn(|word| word_at(source, 2 + 4 * word)),
        Format::F32 | Format::F16 | Format::BF16 => [0; 8],
    }
}

#[inline(always)]
fn word_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// 32 codes out of 16 bytes whose lower halves come first.
#[inline(always)]
fn nibbles(source: &[u8]) -> [u32; 8] {
    std::array::from_fn(|word| word_at(source, word % 4 * 4) >> (word / 4 * 4) & 0x0f0f_0f0f)
}

/// Adds the fifth bits, which lie in the order of the columns.
#[inline(always)]
fn with_fifth(mut codes: [u32; 8], bits: &[u8]) -> [u32; 8] {
    for (word, code) in codes.iter_mut().enumerate() {
        let four = u32::from(bits[word / 2]) >> (word % 2 * 4);
        *code |= (four & 1 | (four & 2) << 7 | (four & 4) << 14 | (four & 8) << 21) << 4;
    }
    codes
}

#[inline(always)]
fn pack_codes(words: &[[u32; 8]; ROWS], out: &mut [u8]) {
    let planes = out.len() / 64;
    put_lines(out, 0..4, |k, row| {
        words[row][2 * k] & 0x0f0f_0f0f | (words[row][2 * k + 1] & 0x0f0f_0f0f) << 4
    });
    let above = |row: usize, f: usize| words[row][f] >> 4 & 0x0303_0303;
    match planes {
        5 => put_lines(out, 4..5, |_, row| (0..8).fold(0, |plane, f| plane | above(row, f) << f)),
        6 => put_lines(out, 4..6, |line, row| {
            (0..4).fold(0, |plane, f| plane | above(row, 4 * (line - 4) + f) << (2 * f))
        }),
        _ => {}
    }
}

fn unpack_codes(row: usize, codes: &[u8]) -> [u32; 8] {
    let get = |k: usize| word_at(codes, 64 * k + 4 * row);
    std::array::from_fn(|f| {
        let low = get(f / 2) >> (f % 2 * 4) & 0x0f0f_0f0f;
        match codes.len() / 64 {
            5 => low | (get(4) >> f & 0x0101_0101) << 4,
            6 => low | (get(4 + f / 4) >> (f % 4 * 2) & 0x0303_0303) << 4,
            _ => low,
        }
    })
}

pub fn unpack_row(format: Format, group: &[u8], row: usize, out: &mut [f32]) {
    let shape = Shape::of(format);
    let blocks = group.chunks_exact(Shape::block(format));
    for (block, out) in blocks.zip(out.chunks_exact_mut(format.block())) {
        if format.block() == 1 {
            out[0] = float_at(format, block, row);
            continue;
        }
        let (head, parts) = block.split_at(shape.head);
        for (part, out) in parts.chunks_exact(shape.scales + shape.codes).zip(out.chunks_exact_mut(PART)) {
            let (scales, codes) = part.split_at(shape.scales);
            let [first, second] = lines_of(format, head, scales, row);
            for (f, out) in out.chunks_exact_mut(4).enumerate() {
                let (scale, offset) = if f < 4 { first } else { second };
                let codes: [f32; 4] = if format == Format::Q8_0 {
                    word_at(codes, 64 * f + 4 * row).to_le_bytes().map(|code| f32::from(code.cast_signed()))
                } else {
                    unpack_codes(row, codes)[f].to_le_bytes().map(f32::from)
                };
                for (out, code) in out.iter_mut().zip(codes) {
                    *out = scale * code + offset;
                }
            }
        }
    }
}

fn float_at(format: Format, block: &[u8], row: usize) -> f32 {
    match format {
        Format::F16 => half_at(block, row),
        Format::BF16 => bf16::from_le_bytes([block[2 * row], block[2 * row + 1]]).to_f32(),
        _ => f32::from_bits(word_at(block, 4 * row)),
    }
}

/// Scale and offset of the first and of the last 16 of 32 columns.
fn lines_of(format: Format, head: &[u8], scales: &[u8], row: usize) -> [(f32, f32); 2] {
    match format {
        Format::Q4_K | Format::Q5_K => {
            let scale = half_at(head, row) * f32::from(scales[row]);
            [(scale, -half_at(&head[32..], row) * f32::from(scales[16 + row])); 2]
        }
        Format::Q6_K => [0, 1].map(|half| {
            let scale = half_at(head, row) * f32::from(scales[2 * row + half].cast_signed());
            (scale, -32.0 * scale)
        }),
        Format::Q4_1 | Format::Q5_1 => [(half_at(scales, row), half_at(&scales[32..], row)); 2],
        Format::Q4_0 => [(half_at(scales, row), -8.0 * half_at(scales, row)); 2],
        Format::Q5_0 => [(half_at(scales, row), -16.0 * half_at(scales, row)); 2],
        _ => [(half_at(scales, row), 0.0); 2],
    }
}

fn half_at(halves: &[u8], index: usize) -> f32 {
    f16::from_le_bytes([halves[2 * index], halves[2 * index + 1]]).to_f32()
}
