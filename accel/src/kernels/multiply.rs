//! Matrix times activations, written to a tile of the output, with what follows it fused in.

use std::marker::PhantomData;
use std::ops::Range;

use super::activations::Activations;
use super::format::Format;
use super::functions::{gelu, silu};
use super::integer::{Halves, Layout, Nested, Offset, Scaled, bits, bytes};
use super::isa::Isa;
use super::matrix::{Matrix, ROWS};
use super::panel::{Brain, Element, Half, Single, panels, panels_at_once};
use super::simd::{Kernel, Simd};
use super::tiles::Tile;
use crate::error::{Error, Result};

/// What becomes of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// It replaces what is there.
    Set,
    /// It is added to what is there: a residual.
    Add,
    /// It is multiplied by `silu` of what is there: a gate.
    Silu,
    /// It is multiplied by `gelu` (its tanh approximation) of what is there: a gate.
    Gelu,
}

/// Writes `matrix · activations` to a tile whose rows are tokens and whose columns are rows of the matrix.
///
/// # Errors
/// `Failed` when matrix, activations and tile don't fit together.
pub fn multiply(
    isa: Isa,
    matrix: &Matrix,
    activations: &Activations,
    out: &mut Tile<'_, f32>,
    into: Into,
) -> Result<()> {
    check(matrix, activations, out)?;
    match matrix.format() {
        Format::F32 => run::<Floats<Single>>(isa, matrix, activations, out, into),
        Format::F16 => run::<Floats<Half>>(isa, matrix, activations, out, into),
        Format::BF16 => run::<Floats<Brain>>(isa, matrix, activations, out, into),
        Format::Q4_0 => run::<Codes<Scaled<4, 8>>>(isa, matrix, activations, out, into),
        Format::Q4_1 => run::<Codes<Offset<4>>>(isa, matrix, activations, out, into),
        Format::Q5_0 => run::<Codes<Scaled<5, 16>>>(isa, matrix, activations, out, into),
        Format::Q5_1 => run::<Codes<Offset<5>>>(isa, matrix, activations, out, into),
        Format::Q8_0 => run::<Bytes>(isa, matrix, activations, out, into),
        Format::Q4_K => run::<Codes<Nested<4>>>(isa, matrix, activations, out, into),
        Format::Q5_K => run::<Codes<Nested<5>>>(isa, matrix, activations, out, into),
        Format::Q6_K => run::<Codes<Halves>>(isa, matrix, activations, out, into),
    }
    Ok(())
}

/// All that the kernels rely on.
fn check(matrix: &Matrix, activations: &Activations, out: &Tile<'_, f32>) -> Result<()> {
    let fault = if matrix.columns() != activations.columns() {
        "activations of another width than the matrix"
    } else if matrix.format().block() == 1 && !activations.has_floats() {
        "a matrix of floats, but activations without"
    } else if matrix.rows() != out.width() || !out.columns().start.is_multiple_of(ROWS) {
        "an output that does not fit the matrix"
    } else if out.rows().end > activations.tokens() {
        "an output of more tokens than there are"
    } else {
        return Ok(());
    };
    Err(Error::Failed(fault.to_owned()))
}

fn run<W: Weights>(
    isa: Isa,
    matrix: &Matrix,
    activations: &Activations,
    out: &mut Tile<'_, f32>,
    into: Into,
) {
    isa.run(Multiply::<W> { matrix, activations, out, into, weights: PhantomData });
}

/// How products with a group of a matrix are made.
trait Weights {
    /// Whether the weights are floats; else they are whole numbers.
    const FLOATS: bool;

    /// The products of the 16 rows of each of `GROUPS` groups from `group` on with `TOKENS` tokens from `token` on;
    /// `fresh` if no other tokens' were made before.
    ///
    /// # Safety
    /// The matrix has this packing and the activations' width, and there are such groups and tokens.
    unsafe fn products<S: Simd, const TOKENS: usize, const GROUPS: usize>(
        s: S,
        matrix: &Matrix,
        group: usize,
        activations: &Activations,
        token: usize,
        fresh: bool,
    ) -> [[S::Floats; TOKENS]; GROUPS];
}

struct Codes<L>(PhantomData<L>);
struct Bytes;
struct Floats<E>(PhantomData<E>);

impl<L: Layout> Weights for Codes<L> {
    const FLOATS: bool = false;

    #[inline(always)]
    unsafe fn products<S: Simd, const TOKENS: usize, const GROUPS: usize>(
        s: S,
        matrix: &Matrix,
        group: usize,
        activations: &Activations,
        token: usize,
        fresh: bool,
    ) -> [[S::Floats; TOKENS]; GROUPS] {
        let mut tokens = [std::ptr::null(); TOKENS];
        for (index, at) in tokens.iter_mut().enumerate() {
            *at = activations.blocks(token + index).as_ptr();
        }
        let blocks = matrix.columns() / matrix.format().block();
        let mut products = [[s.splat(0.0); TOKENS]; GROUPS];
        for index in 0..GROUPS {
            let at = matrix.group(group + index).as_ptr();
            // SAFETY: by the caller; a group has all its blocks.
            products[index] = unsafe { bits::<S, L, TOKENS>(s, at, blocks, tokens, fresh) };
        }
        products
    }
}

impl Weights for Bytes {
    const FLOATS: bool = false;

    #[inline(always)]
    unsafe fn products<S: Simd, const TOKENS: usize, const GROUPS: usize>(
        s: S,
        matrix: &Matrix,
        group: usize,
        activations: &Activations,
        token: usize,
        fresh: bool,
    ) -> [[S::Floats; TOKENS]; GROUPS] {
        let mut tokens = [std::ptr::null(); TOKENS];
        for (index, at) in tokens.iter_mut().enumerate() {
            *at = activations.blocks(token + index).as_ptr();
        }
        let blocks = matrix.columns() / matrix.format().block();
        let mut products = [[s.splat(0.0); TOKENS]; GROUPS];
        for index in 0..GROUPS {
            let at = matrix.group(group + index).as_ptr();
            // SAFETY: by the caller; a group has all its blocks.
            products[index] = unsafe { bytes::<S, TOKENS>(s, at, blocks, tokens, fresh) };
        }
        products
    }
}

impl<E: Element> Weights for Floats<E> {
    const FLOATS: bool = true;

    #[inline(always)]
    unsafe fn products<S: Simd, const TOKENS: usize, const GROUPS: usize>(
        s: S,
        matrix: &Matrix,
        group: usize,
        activations: &Activations,
        token: usize,
        _fresh: bool,
    ) -> [[S::Floats; TOKENS]; GROUPS] {
        let mut tokens = [std::ptr::null(); TOKENS];
        for (index, at) in tokens.iter_mut().enumerate() {
            *at = activations.floats(token + index).as_ptr();
        }
        let mut groups = [std::ptr::null(); GROUPS];
        for (index, at) in groups.iter_mut().enumerate() {
            *at = matrix.group(group + index).as_ptr();
        }
        let nothing = [[s.splat(0.0); TOKENS]; GROUPS];
        // SAFETY: by the caller; a group has 16 elements for each column.
        unsafe { panels::<S, E, TOKENS, GROUPS>(s, tokens, groups, matrix.columns(), nothing) }
    }
}

/// The most tokens of one pass.
const fn most<S: Simd, W: Weights>() -> usize {
    if W::FLOATS { S::ROWS } else { S::TOKENS }
}

struct Multiply<'a, 'b, W> {
    matrix: &'a Matrix,
    activations: &'a Activations,
    out: &'a mut Tile<'b, f32>,
    into: Into,
    weights: PhantomData<W>,
}

impl<W: Weights> Kernel for Multiply<'_, '_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Range { start: mut group, end } = self.groups();
        while group < end {
            // SAFETY (of both): `check` has seen that the matrix fits and that the tokens are there.
            group += match (W::FLOATS, self.out.rows().len(), panels_at_once::<S>(1, end - group)) {
                (true, 1, 4) => unsafe { self.groups_of::<S, 4>(s, group) },
                (true, 1, 2) => unsafe { self.groups_of::<S, 2>(s, group) },
                _ => {
                    self.tokens_of(s, group);
                    1
                }
            };
        }
    }
}

impl<W: Weights> Multiply<'_, '_, W> {
    fn groups(&self) -> Range<usize> {
        let columns = self.out.columns();
        columns.start / ROWS..columns.end.div_ceil(ROWS)
    }

    /// One token with `GROUPS` groups; returns how many they are.
    ///
    /// # Safety
    /// As `Weights::products`.
    #[inline(always)]
    unsafe fn groups_of<S: Simd, const GROUPS: usize>(&mut self, s: S, group: usize) -> usize {
        // SAFETY: by the caller.
        unsafe { self.pass::<S, 1, GROUPS>(s, group, self.out.rows().start) };
        GROUPS
    }

    /// All tokens with one group.
    #[inline(always)]
    fn tokens_of<S: Simd>(&mut self, s: S, group: usize) {
        let Range { start: mut token, end } = self.out.rows();
        // SAFETY (of all six): `check` has seen that the matrix fits and that the tokens are there.
        while token < end {
            let left = end - token;
            token += if const { most::<S, W>() >= 8 } && left >= 8 {
                unsafe { self.pass::<S, 8, 1>(s, group, token) }
            } else if const { most::<S, W>() == 6 } && left >= 6 {
                unsafe { self.pass::<S, 6, 1>(s, group, token) }
            } else if const { most::<S, W>() >= 4 } && left >= 4 {
                unsafe { self.pass::<S, 4, 1>(s, group, token) }
            } else if const { most::<S, W>() >= 3 } && left == 3 {
                unsafe { self.pass::<S, 3, 1>(s, group, token) }
            } else if const { most::<S, W>() >= 2 } && left >= 2 {
                unsafe { self.pass::<S, 2, 1>(s, group, token) }
            } else {
                unsafe { self.pass::<S, 1, 1>(s, group, token) }
            };
        }
    }

    /// `TOKENS` tokens with `GROUPS` groups; returns how many tokens they are.
    ///
    /// # Safety
    /// As `Weights::products`.
    #[inline(always)]
    unsafe fn pass<S: Simd, const TOKENS: usize, const GROUPS: usize>(
        &mut self,
        s: S,
        group: usize,
        token: usize,
    ) -> usize {
        let fresh = token == self.out.rows().start;
        // SAFETY: by the caller.
        let products: [_; GROUPS] = unsafe {
            W::products::<S, TOKENS, GROUPS>(s, self.matrix, group, self.activations, token, fresh)
        };
        for (group, products) in (group..).zip(products) {
            let column = group * ROWS - self.out.columns().start;
            for (index, product) in products.into_iter().enumerate() {
                let out = &mut self.out.row_mut(token + index)[column..];
                if let Some(out) = out.first_chunk_mut::<ROWS>() {
                    put(s, product, out, self.into);
                } else {
                    let mut padded = [0.0; ROWS];
                    padded[..out.len()].copy_from_slice(out);
                    put(s, product, &mut padded, self.into);
                    out.copy_from_slice(&padded[..out.len()]);
                }
            }
        }
        TOKENS
    }
}

#[inline(always)]
fn put<S: Simd>(s: S, product: S::Floats, out: &mut [f32; ROWS], into: Into) {
    let result = match into {
        Into::Set => product,
        Into::Add => s.add(s.load(out), product),
        Into::Silu => s.mul(silu(s, s.load(out)), product),
        Into::Gelu => s.mul(gelu(s, s.load(out)), product),
    };
    s.store(result, out);
}
