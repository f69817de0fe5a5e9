//! The right-hand side of a multiplication: activations as 8-bit codes in blocks of 32, and as they are.

use super::isa::Isa;
use super::simd::{Kernel, Simd};
use super::tiles::{Tile, Tiles};
use crate::error::{Error, Result};

/// Activations that share a scale.
pub const BLOCK: usize = 32;

/// 32 activations: `scale · codes[i]` each, rounded to the nearest; codes are from -127 to 127.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(16))]
pub struct Block {
    pub(super) codes: [i8; BLOCK],
    pub(super) scale: f32,
    /// `scale` times the sum of the codes.
    pub(super) sum: f32,
    /// The sums of the first and of the last 16 codes.
    pub(super) halves: [i16; 2],
}

impl Block {
    pub(super) const EMPTY: Block = Block { codes: [0; BLOCK], scale: 0.0, sum: 0.0, halves: [0; 2] };
}

/// Room for the activations of several tokens, `columns` of each.
#[derive(Debug)]
pub struct Activations {
    columns: usize,
    tokens: usize,
    blocks: Vec<Block>,
    /// For matrices of floats; empty until asked for.
    floats: Vec<f32>,
}

impl Activations {
    /// Room for up to `tokens` tokens; `floats` says whether matrices of floats will be multiplied with them.
    ///
    /// # Errors
    /// `OutOfMemory`; `Failed` for activations without columns.
    pub fn new(tokens: usize, columns: usize, floats: bool) -> Result<Self> {
        if columns == 0 {
            return Err(Error::Failed("activations without columns".to_owned()));
        }
        let blocks = filled(tokens.checked_mul(columns.div_ceil(BLOCK)), Block::EMPTY)?;
        let floats = if floats { filled(tokens.checked_mul(columns), 0.0)? } else { Vec::new() };
        Ok(Self { columns, tokens, blocks, floats })
    }

    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How many tokens there is room for.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Whether the values themselves are kept.
    #[must_use]
    pub fn has_floats(&self) -> bool {
        !self.floats.is_empty()
    }

    /// The places of the first `tokens` tokens, to be filled by several threads.
    ///
    /// # Panics
    /// When there is no room for so many.
    pub fn rows(&mut self, tokens: usize) -> ActivationRows<'_> {
        let width = self.columns.div_ceil(BLOCK);
        let floats =
            self.has_floats().then(|| Tiles::rows(&mut self.floats[..tokens * self.columns], self.columns));
        ActivationRows {
            blocks: Tiles::rows(&mut self.blocks[..tokens * width], width),
            floats,
            columns: self.columns,
        }
    }

    /// Fills the place of one token.
    ///
    /// # Panics
    /// When there is no such place, or `values` are not `columns`.
    pub fn set(&mut self, isa: Isa, token: usize, values: &[f32]) {
        assert_eq!(values.len(), self.columns, "activations of another width");
        let width = self.columns.div_ceil(BLOCK);
        isa.run(Quantize { values, blocks: &mut self.blocks[token * width..][..width] });
        if !self.floats.is_empty() {
            self.floats[token * self.columns..][..self.columns].copy_from_slice(values);
        }
    }

    pub(super) fn blocks(&self, token: usize) -> &[Block] {
        let width = self.columns.div_ceil(BLOCK);
        &self.blocks[token * width..][..width]
    }

    pub(super) fn floats(&self, token: usize) -> &[f32] {
        &self.floats[token * self.columns..][..self.columns]
    }
}

fn filled<T: Clone>(length: Option<usize>, value: T) -> Result<Vec<T>> {
    let mut values = Vec::new();
    match length {
        Some(length) if values.try_reserve_exact(length).is_ok() => values.resize(length, value),
        _ => return Err(Error::OutOfMemory("scratch for the activations".to_owned())),
    }
    Ok(values)
}

/// Places of tokens, each handed out once.
pub struct ActivationRows<'a> {
    blocks: Tiles<'a, Block>,
    floats: Option<Tiles<'a, f32>>,
    columns: usize,
}

impl<'a> ActivationRows<'a> {
    /// A place that nobody has had yet.
    pub fn next(&self, lane: usize) -> Option<ActivationRow<'a>> {
        let blocks = self.blocks.next(lane)?;
        let token = blocks.rows().start;
        // SAFETY: there are as many rows of floats as of blocks, and `blocks` has each index once.
        let floats = self.floats.as_ref().map(|floats| unsafe { floats.at(token) });
        Some(ActivationRow { token, columns: self.columns, blocks, floats })
    }
}

/// The place of one token.
pub struct ActivationRow<'a> {
    token: usize,
    columns: usize,
    blocks: Tile<'a, Block>,
    floats: Option<Tile<'a, f32>>,
}

impl ActivationRow<'_> {
    #[must_use]
    pub fn token(&self) -> usize {
        self.token
    }

    /// Fills it.
    ///
    /// # Panics
    /// When `values` are not as many as the activations have columns.
    pub fn set(&mut self, isa: Isa, values: &[f32]) {
        assert_eq!(values.len(), self.columns, "activations of another width");
        isa.run(Quantize { values, blocks: self.blocks.row_mut(self.token) });
        if let Some(floats) = &mut self.floats {
            floats.row_mut(self.token).copy_from_slice(values);
        }
    }
}

struct Quantize<'a> {
    values: &'a [f32],
    blocks: &'a mut [Block],
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (whole, rest) = self.values.as_chunks::<BLOCK>();
        let mut blocks = self.blocks.iter_mut();
        for (values, block) in whole.iter().zip(&mut blocks) {
            quantize(s, values, block);
        }
        if let Some(block) = blocks.next() {
            let mut padded = [0.0; BLOCK];
            padded[..rest.len()].copy_from_slice(rest);
            quantize(s, &padded, block);
        }
    }
}

#[inline(always)]
pub(super) fn quantize<S: Simd>(s: S, values: &[f32; BLOCK], block: &mut Block) {
    let (values, _) = values.as_chunks::<16>();
    let (codes, _) = block.codes.as_chunks_mut::<16>();
    let values = [s.load(&values[0]), s.load(&values[1])];
    let largest = s.largest(s.max(s.abs(values[0]), s.abs(values[1])));
    let inverse = s.splat(if largest > 0.0 { 127.0 / largest } else { 0.0 });
    let ints = [s.to_ints(s.mul(values[0], inverse)), s.to_ints(s.mul(values[1], inverse))];
    s.store_bytes(ints[0], &mut codes[0]);
    s.store_bytes(ints[1], &mut codes[1]);
    let halves = [s.sum_ints(ints[0]), s.sum_ints(ints[1])];
    block.scale = largest / 127.0;
    // What is not finite becomes any number here. It has no answer, and must not become a panic either.
    block.sum = block.scale * halves[0].wrapping_add(halves[1]) as f32;
    block.halves = halves.map(|half| half as i16);
}
