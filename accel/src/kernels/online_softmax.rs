//! Attention of a few queries, made page by page: the softmax is rescaled as a larger score turns up (Milakov and
//! Gimelshein, "Online normalizer calculation for softmax", 2018).

use std::ops::Range;

use super::activations::{BLOCK, Block, quantize};
use super::attention::{Attention, MOST_DIMENSIONS};
use super::functions::{exp, tanh};
use super::integer::bytes;
use super::pages::{CacheFormat, PAGE, Page};
use super::panel::{Element, Half, Signed, panels, panels_at_once};
use super::simd::Simd;

/// Panels of 16 dimensions, and blocks of 16 positions.
const PANELS: usize = MOST_DIMENSIONS / 16;
const BLOCKS: usize = PAGE / 16;

/// Below every score, yet far from infinity: differences of it are numbers.
const LEAST: f32 = -1e30;

/// Softmax and sum of values of `N` queries, so far.
pub struct State<const N: usize> {
    largest: [f32; N],
    /// The sum of `e^(score - largest)`, lane by lane.
    totals: [[f32; 16]; N],
    values: [[[f32; 16]; PANELS]; N],
    scores: [[[f32; 16]; BLOCKS]; N],
    /// The queries, where keys are codes.
    codes: [[Block; MOST_DIMENSIONS / BLOCK]; N],
}

impl<const N: usize> State<N> {
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            largest: [LEAST; N],
            totals: [[0.0; 16]; N],
            values: [[[0.0; 16]; PANELS]; N],
            scores: [[[0.0; 16]; BLOCKS]; N],
            codes: [[Block::EMPTY; MOST_DIMENSIONS / BLOCK]; N],
        }
    }

    /// Makes codes of the queries.
    ///
    /// # Safety
    /// Each is `dimension` values long.
    #[inline(always)]
    pub unsafe fn encode<S: Simd>(&mut self, s: S, queries: [*const f32; N], dimension: usize) {
        for row in 0..N {
            // SAFETY: by the caller.
            let query = unsafe { std::slice::from_raw_parts(queries[row], dimension) };
            for (values, block) in query.as_chunks::<BLOCK>().0.iter().zip(&mut self.codes[row]) {
                quantize(s, values, block);
            }
        }
    }

    /// Adds a page, of which each query sees a part; the last sees furthest. `next` are the keys of the page after it.
    ///
    /// # Safety
    /// Each query is as long as the dimension says, and the page as its format says.
    #[inline(always)]
    pub unsafe fn add<S: Simd>(
        &mut self,
        s: S,
        attention: &Attention,
        queries: [*const f32; N],
        page: Page<'_>,
        next: &[u8],
        sights: [(usize, usize); N],
    ) {
        let seen = sights[0].0..sights[N - 1].1;
        let blocks = seen.start / 16..seen.end.div_ceil(16);
        // SAFETY: by the caller.
        unsafe { self.multiply_keys(s, attention, queries, page, blocks.clone()) };
        for row in 0..N {
            let mut largest = s.splat(LEAST);
            for block in blocks.clone() {
                let mut scores = s.mul(s.load(&self.scores[row][block]), s.splat(attention.scale));
                if let Some(cap) = attention.softcap {
                    scores = s.mul(tanh(s, s.mul(scores, s.splat(1.0 / cap))), s.splat(cap));
                }
                scores = s.min(scores, s.load(&visible(block, sights[row])));
                largest = s.max(scores, largest);
                s.store(scores, &mut self.scores[row][block]);
            }
            self.rescale(s, row, s.largest(largest), blocks.clone(), attention.dimension / 16);
        }
        // SAFETY: by the caller; what is seen lies in the page.
        unsafe { self.add_values(s, attention, [page.values, next], seen) };
    }

    /// Writes the products of queries and keys to `scores`.
    ///
    /// # Safety
    /// As `add`.
    #[inline(always)]
    unsafe fn multiply_keys<S: Simd>(
        &mut self,
        s: S,
        attention: &Attention,
        queries: [*const f32; N],
        page: Page<'_>,
        blocks: Range<usize>,
    ) {
        let mut block = blocks.start;
        while block < blocks.end {
            // SAFETY (of all three): by the caller.
            block += match (attention.format, panels_at_once::<S>(N, blocks.end - block)) {
                (CacheFormat::F16, 4) => unsafe {
                    self.multiply_blocks::<S, 4>(s, attention, queries, page, block)
                },
                (CacheFormat::F16, 2) => unsafe {
                    self.multiply_blocks::<S, 2>(s, attention, queries, page, block)
                },
                _ => unsafe { self.multiply_blocks::<S, 1>(s, attention, queries, page, block) },
            };
        }
    }

    /// Writes the products with `COUNT` blocks of keys; returns how many they are.
    ///
    /// # Safety
    /// As `add`.
    #[inline(always)]
    unsafe fn multiply_blocks<S: Simd, const COUNT: usize>(
        &mut self,
        s: S,
        attention: &Attention,
        queries: [*const f32; N],
        page: Page<'_>,
        first: usize,
    ) -> usize {
        let length = attention.dimension;
        let mut at = [std::ptr::null(); COUNT];
        for (index, at) in at.iter_mut().enumerate() {
            prefetch(s, [page.keys, page.values], first + index, BLOCKS);
            *at = page.keys[page.keys.len() / BLOCKS * (first + index)..].as_ptr();
        }
        let mut products = [[s.splat(0.0); N]; COUNT];
        if attention.format == CacheFormat::F16 {
            // SAFETY: by the caller, a block of keys is a panel as long as a query.
            products = unsafe { panels::<S, Half, N, COUNT>(s, queries, at, length, products) };
        } else {
            let codes = std::array::from_fn(|row| self.codes[row].as_ptr());
            for index in 0..COUNT {
                // SAFETY: by the caller, it is a group of a matrix, and the queries' codes are as long.
                products[index] = unsafe { bytes::<S, N>(s, at[index], length / BLOCK, codes, false) };
            }
        }
        for (index, products) in products.into_iter().enumerate() {
            for row in 0..N {
                s.store(products[row], &mut self.scores[row][first + index]);
            }
        }
        COUNT
    }

    /// Adds the values that are seen, by their weights in `scores`.
    ///
    /// # Safety
    /// The page is as long as the dimension says, and what is seen lies in it.
    #[inline(always)]
    unsafe fn add_values<S: Simd>(
        &mut self,
        s: S,
        attention: &Attention,
        [values, next]: [&[u8]; 2],
        seen: Range<usize>,
    ) {
        let count = attention.dimension / 16;
        if attention.format == CacheFormat::Q8_0 {
            let (scales, codes) = values.split_at(count / 2 * PAGE * 2);
            for (index, scales) in scales.chunks_exact(PAGE * 2).enumerate() {
                let mut weights = [[[0.0; 16]; BLOCKS]; N];
                for block in seen.start / 16..seen.end.div_ceil(16) {
                    // SAFETY: there are `PAGE` scales of two aligned bytes.
                    let scales = s.load_halves(unsafe { &*scales.as_ptr().add(32 * block).cast() });
                    for row in 0..N {
                        let weight = s.mul(s.load(&self.scores[row][block]), scales);
                        s.store(weight, &mut weights[row][block]);
                    }
                }
                let weights = std::array::from_fn(|row| weights[row].as_flattened()[seen.start..].as_ptr());
                let at = |column: usize| {
                    prefetch(s, [values, next], column, count);
                    codes[16 * (PAGE * column + seen.start)..].as_ptr()
                };
                // SAFETY: by the caller.
                unsafe {
                    self.add_columns::<S, Signed>(s, weights, at, seen.len(), 2 * index..2 * index + 2);
                }
            }
            return;
        }
        let weights = std::array::from_fn(|row| self.scores[row].as_flattened()[seen.start..].as_ptr());
        let at = |column: usize| {
            prefetch(s, [values, next], column, count);
            values[32 * (PAGE * column + seen.start)..].as_ptr()
        };
        // SAFETY: by the caller.
        unsafe { self.add_columns::<S, Half>(s, weights, at, seen.len(), 0..count) };
    }

    /// Adds `length` values of each column, which lie where `at` says, times as many weights.
    ///
    /// # Safety
    /// They can be read.
    #[inline(always)]
    unsafe fn add_columns<S: Simd, E: Element>(
        &mut self,
        s: S,
        weights: [*const f32; N],
        at: impl Fn(usize) -> *const u8,
        length: usize,
        columns: Range<usize>,
    ) {
        let mut column = columns.start;
        while column < columns.end {
            // SAFETY (of all three): by the caller.
            column += match panels_at_once::<S>(N, columns.end - column) {
                4 => unsafe { self.add_panels::<S, E, 4>(s, weights, &at, length, column) },
                2 => unsafe { self.add_panels::<S, E, 2>(s, weights, &at, length, column) },
                _ => unsafe { self.add_panels::<S, E, 1>(s, weights, &at, length, column) },
            };
        }
    }

    /// Adds values of `COUNT` columns; returns how many they are.
    ///
    /// # Safety
    /// As `add_columns`.
    #[inline(always)]
    unsafe fn add_panels<S: Simd, E: Element, const COUNT: usize>(
        &mut self,
        s: S,
        weights: [*const f32; N],
        at: impl Fn(usize) -> *const u8,
        length: usize,
        first: usize,
    ) -> usize {
        let mut totals = [[s.splat(0.0); N]; COUNT];
        let mut places = [std::ptr::null(); COUNT];
        for index in 0..COUNT {
            places[index] = at(first + index);
            for row in 0..N {
                totals[index][row] = s.load(&self.values[row][first + index]);
            }
        }
        // SAFETY: by the caller.
        let totals = unsafe { panels::<S, E, N, COUNT>(s, weights, places, length, totals) };
        for (index, totals) in totals.into_iter().enumerate() {
            for row in 0..N {
                s.store(totals[row], &mut self.values[row][first + index]);
            }
        }
        COUNT
    }

    /// Turns a row's scores into weights, and scales what there is to their largest.
    #[inline(always)]
    fn rescale<S: Simd>(&mut self, s: S, row: usize, largest: f32, blocks: Range<usize>, columns: usize) {
        if largest <= LEAST {
            // It sees nothing of this page.
            self.scores[row][blocks].fill([0.0; 16]);
            return;
        }
        let mut total = s.load(&self.totals[row]);
        if largest > self.largest[row] {
            let factor = exp(s, s.splat(self.largest[row] - largest));
            self.largest[row] = largest;
            total = s.mul(total, factor);
            for values in &mut self.values[row][..columns] {
                s.store(s.mul(s.load(values), factor), values);
            }
        }
        let less = s.splat(self.largest[row]);
        for scores in &mut self.scores[row][blocks] {
            let weights = exp(s, s.sub(s.load(scores), less));
            total = s.add(total, weights);
            s.store(weights, scores);
        }
        s.store(total, &mut self.totals[row]);
    }

    /// Writes a query's result to `out`.
    #[inline(always)]
    pub fn finish<S: Simd>(&self, s: S, row: usize, out: &mut [f32]) {
        let factor = s.splat(1.0 / s.sum(s.load(&self.totals[row])));
        let (out, _) = out.as_chunks_mut::<16>();
        for (out, values) in out.iter_mut().zip(&self.values[row]) {
            s.store(s.mul(s.load(values), factor), out);
        }
    }
}

/// What scores of 16 positions may be at the most: `LEAST` where the query does not see.
#[inline(always)]
fn visible(block: usize, (start, end): (usize, usize)) -> [f32; 16] {
    let mut bounds = [LEAST; 16];
    let end = end.saturating_sub(16 * block).min(16);
    bounds[start.saturating_sub(16 * block).min(end)..end].fill(f32::INFINITY);
    bounds
}

/// Asks for memory half a part ahead of the `piece`th of `pieces` of the first part; the second follows it.
///
/// One query reads far faster than memory answers, and what it reads next lies elsewhere.
#[inline(always)]
fn prefetch<S: Simd>(s: S, parts: [&[u8]; 2], piece: usize, pieces: usize) {
    let length = parts[0].len();
    let (at, bytes) = (length / pieces * piece + length / 2, length / pieces);
    let (part, at) = if at < length { (parts[0], at) } else { (parts[1], at - length) };
    for line in part.get(at..at + bytes).unwrap_or_default().chunks(64) {
        s.prefetch(line.as_ptr());
    }
}
