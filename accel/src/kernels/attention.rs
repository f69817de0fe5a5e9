//! Attention of the query heads that share a key and value head, over pages of the cache.
//!
//! A page holds the keys, or the values, of `PAGE` positions for one layer and one key/value head, as f16, in panels of
//! 16 so that `panel` can multiply them:
//!
//! - keys: `[position / 16][dimension][position % 16]`
//! - values: `[dimension / 16][position][dimension % 16]`
//!
//! Each is `PAGE · dimension` f16 long. The dimension is a multiple of 16, up to `MOST_DIMENSIONS`. Where nothing has been
//! written may be anything: it is not looked at, or does not count.
//!
//! A query's result depends on its own past alone: it is the same bits whatever other queries are in the tile. It is
//! made page by page, with the softmax rescaled as a larger score turns up (Milakov and Gimelshein 2018).

use super::functions::{exp, tanh};
use super::isa::Isa;
use super::panel::{Half, panel};
use super::simd::{Kernel, Simd};
use super::tiles::Tile;
use crate::error::{Error, Result};

/// Positions in a page.
pub const PAGE: usize = 64;

/// The widest head that there is room for.
pub const MOST_DIMENSIONS: usize = 256;

/// The most rows of queries that are worked on at once.
const ROWS: usize = 8;

/// Below every score, yet far from infinity: differences of it are numbers.
const LEAST: f32 = -1e30;

/// The keys and values of `PAGE` positions for one layer and one key/value head, as bits of f16.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    pub keys: &'a [u16],
    pub values: &'a [u16],
}

/// Writes the key of one position to its page; what is past the range of f16 becomes its largest value.
///
/// # Panics
/// When the page is shorter than `PAGE` keys, or has no such position.
pub fn write_key(isa: Isa, page: &mut [u16], position: usize, key: &[f32]) {
    let length = key.len();
    let block = &mut page[..PAGE * length][position / 16 * 16 * length..][..16 * length];
    for (column, key) in block.chunks_exact_mut(256).zip(key.chunks_exact(16)) {
        for (i, half) in isa.run(ToHalves(key)).into_iter().enumerate() {
            column[16 * i + position % 16] = half;
        }
    }
}

/// Writes the value of one position to its page; what is past the range of f16 becomes its largest value.
///
/// # Panics
/// When the page is shorter than `PAGE` values, or has no such position.
pub fn write_value(isa: Isa, page: &mut [u16], position: usize, value: &[f32]) {
    assert!(position < PAGE, "position {position} of a page");
    for (panel, value) in page[..PAGE * value.len()].chunks_exact_mut(16 * PAGE).zip(value.chunks_exact(16)) {
        panel[16 * position..][..16].copy_from_slice(&isa.run(ToHalves(value)));
    }
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

/// How a layer attends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attention {
    /// Query heads that share a key and value head.
    pub group: usize,
    /// Length of a head.
    pub dimension: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    /// Scores become `cap · tanh(score / cap)`.
    pub softcap: Option<f32>,
    /// How many positions a query sees, itself included.
    pub window: Option<usize>,
}

impl Attention {
    /// Attends from the queries at `out`'s rows and columns in `queries`, a buffer of the same shape. The tile is as wide
    /// as a group's heads; its tokens follow each other in one sequence.
    ///
    /// `position` is that of the buffer's first token. `page` gives the page of positions from `PAGE · index` on, and is
    /// asked for those alone that a query sees.
    ///
    /// # Errors
    /// `Failed` when tile, queries, pages and the shape of heads don't fit together.
    pub fn attend<'a>(
        &self,
        isa: Isa,
        queries: &[f32],
        position: usize,
        page: impl Fn(usize) -> Page<'a>,
        out: &mut Tile<'_, f32>,
    ) -> Result<()> {
        let fits = self.dimension > 0
            && self.dimension.is_multiple_of(16)
            && self.dimension <= MOST_DIMENSIONS
            && out.columns().len() == self.group * self.dimension
            && queries.len() >= out.rows().end * out.width();
        if !fits {
            return Err(Error::Failed("an attention whose parts don't fit together".to_owned()));
        }
        let mut rows = [(0, 0); ROWS];
        let mut count = 0;
        let most = isa.run(MostRows);
        for token in out.rows() {
            for head in 0..self.group {
                rows[count] = (token, head);
                count += 1;
                if count == most || token + 1 == out.rows().end && head + 1 == self.group {
                    isa.run(Attend {
                        attention: self,
                        queries,
                        position,
                        page: &page,
                        out,
                        rows: &rows[..count],
                    })?;
                    count = 0;
                }
            }
        }
        Ok(())
    }

    /// The positions that a query at `position` sees.
    fn sight(&self, position: usize) -> (usize, usize) {
        (self.window.map_or(0, |window| (position + 1).saturating_sub(window)), position + 1)
    }
}

struct MostRows;

impl Kernel for MostRows {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, _s: S) -> usize {
        S::ROWS.min(ROWS)
    }
}

/// Up to `ROWS` queries, each a token and a head of the group.
struct Attend<'a, 'b, F> {
    attention: &'a Attention,
    queries: &'a [f32],
    position: usize,
    page: &'a F,
    out: &'a mut Tile<'b, f32>,
    rows: &'a [(usize, usize)],
}

impl<'p, F: Fn(usize) -> Page<'p>> Kernel for Attend<'_, '_, F> {
    type Output = Result<()>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Result<()> {
        // Only as many as a pass serves are compiled.
        match self.rows.len() {
            8 if const { S::ROWS >= 8 } => self.rows_of::<S, 8>(s),
            7 if const { S::ROWS >= 7 } => self.rows_of::<S, 7>(s),
            6 if const { S::ROWS >= 6 } => self.rows_of::<S, 6>(s),
            5 if const { S::ROWS >= 5 } => self.rows_of::<S, 5>(s),
            4 if const { S::ROWS >= 4 } => self.rows_of::<S, 4>(s),
            3 if const { S::ROWS >= 3 } => self.rows_of::<S, 3>(s),
            2 if const { S::ROWS >= 2 } => self.rows_of::<S, 2>(s),
            _ => self.rows_of::<S, 1>(s),
        }
    }
}

impl<'p, F: Fn(usize) -> Page<'p>> Attend<'_, '_, F> {
    #[inline(always)]
    fn rows_of<S: Simd, const N: usize>(self, s: S) -> Result<()> {
        let Attention { dimension, .. } = *self.attention;
        let columns = self.out.columns();
        let mut queries = [std::ptr::null(); N];
        let mut sights = [(0, 0); N];
        for row in 0..N {
            let (token, head) = self.rows[row];
            queries[row] = self.queries[token * self.out.width() + columns.start + head * dimension..]
                [..dimension]
                .as_ptr();
            sights[row] = self.attention.sight(self.position + token);
        }
        let mut state = State::<N>::new();
        // Tokens are in order: the first sees from the earliest position on, the last the latest.
        for index in sights[0].0 / PAGE..sights[N - 1].1.div_ceil(PAGE) {
            let page = (self.page)(index);
            if page.keys.len() < PAGE * dimension || page.values.len() < PAGE * dimension {
                return Err(Error::Failed("a page that is too short".to_owned()));
            }
            // SAFETY: the queries and the page are long enough.
            unsafe { state.add(s, self.attention, queries, page, within(sights, index)) };
        }
        for (row, (token, head)) in self.rows.iter().enumerate() {
            let out = &mut self.out.row_mut(*token)[head * dimension..][..dimension];
            state.finish(s, row, out);
        }
        Ok(())
    }
}

/// The parts of each sight that lie in a page, counted from its start; the end is not before the start.
#[inline(always)]
fn within<const N: usize>(sights: [(usize, usize); N], page: usize) -> [(usize, usize); N] {
    let mut parts = sights;
    for part in &mut parts {
        let end = part.1.saturating_sub(page * PAGE).min(PAGE);
        *part = (part.0.saturating_sub(page * PAGE).min(end), end);
    }
    parts
}

/// Softmax and sum of values of `N` queries, so far.
struct State<const N: usize> {
    largest: [f32; N],
    /// The sum of `e^(score - largest)`, lane by lane.
    totals: [[f32; 16]; N],
    values: [[[f32; 16]; MOST_DIMENSIONS / 16]; N],
    scores: [[[f32; 16]; PAGE / 16]; N],
}

impl<const N: usize> State<N> {
    #[inline(always)]
    fn new() -> Self {
        Self {
            largest: [LEAST; N],
            totals: [[0.0; 16]; N],
            values: [[[0.0; 16]; MOST_DIMENSIONS / 16]; N],
            scores: [[[0.0; 16]; PAGE / 16]; N],
        }
    }

    /// # Safety
    /// Each query and the page are as long as the dimension says.
    #[inline(always)]
    unsafe fn add<S: Simd>(
        &mut self,
        s: S,
        attention: &Attention,
        queries: [*const f32; N],
        page: Page<'_>,
        sights: [(usize, usize); N],
    ) {
        let (start, end) = (sights[0].0, sights[N - 1].1);
        let blocks = start / 16..end.div_ceil(16);
        let mut largest = [s.splat(LEAST); N];
        for block in blocks.clone() {
            let keys = page.keys[16 * attention.dimension * block..].as_ptr().cast();
            // SAFETY: by the caller.
            let products =
                unsafe { panel::<S, Half, N>(s, queries, keys, attention.dimension, [s.splat(0.0); N]) };
            for row in 0..N {
                let mut scores = s.mul(products[row], s.splat(attention.scale));
                if let Some(cap) = attention.softcap {
                    scores = s.mul(tanh(s, s.mul(scores, s.splat(1.0 / cap))), s.splat(cap));
                }
                scores = s.min(scores, s.load(&visible(block, sights[row])));
                largest[row] = s.max(scores, largest[row]);
                s.store(scores, &mut self.scores[row][block]);
            }
        }
        for row in 0..N {
            self.rescale(s, row, s.largest(largest[row]), blocks.clone(), attention.dimension / 16);
        }
        for (column, values) in page.values.chunks_exact(16 * PAGE).enumerate().take(attention.dimension / 16)
        {
            let mut totals = [s.splat(0.0); N];
            let mut weights = [std::ptr::null(); N];
            for row in 0..N {
                totals[row] = s.load(&self.values[row][column]);
                weights[row] = self.scores[row].as_flattened()[start..].as_ptr();
            }
            // SAFETY: `start` and `end` lie in the page and in the scores.
            totals = unsafe {
                panel::<S, Half, N>(s, weights, values[16 * start..].as_ptr().cast(), end - start, totals)
            };
            for row in 0..N {
                s.store(totals[row], &mut self.values[row][column]);
            }
        }
    }

    /// Turns a row's scores into weights, and scales what there is to their largest.
    #[inline(always)]
    fn rescale<S: Simd>(
        &mut self,
        s: S,
        row: usize,
        largest: f32,
        blocks: std::ops::Range<usize>,
        columns: usize,
    ) {
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

    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, row: usize, out: &mut [f32]) {
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
