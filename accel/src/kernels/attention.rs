//! Attention of the query heads that share a key and value head, over pages of the cache (see `pages`).
//!
//! A query's result depends on its own past alone: it is the same bits whatever other queries are in the tile.

use super::isa::Isa;
use super::online_softmax::State;
use super::pages::{CacheFormat, PAGE, Page};
use super::simd::{Kernel, Simd};
use super::tiles::Tile;
use crate::error::{Error, Result};

/// The widest head that there is room for.
pub const MOST_DIMENSIONS: usize = 256;

/// The most rows of queries that are worked on at once.
const ROWS: usize = 8;

/// How a layer attends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attention {
    /// Query heads that share a key and value head.
    pub group: usize,
    /// Length of a head.
    pub dimension: usize,
    /// How its keys and values are kept.
    pub format: CacheFormat,
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
            && self.dimension.is_multiple_of(self.format.step())
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
    /// A page, as long as its format says.
    fn page(&self, index: usize) -> Result<Page<'p>> {
        let Page { keys, values } = (self.page)(index);
        let bytes = self.attention.format.bytes(self.attention.dimension);
        let whole =
            |part: &'p [u8]| part.get(..bytes).filter(|part| part.as_ptr().cast::<u16>().is_aligned());
        match (whole(keys), whole(values)) {
            (Some(keys), Some(values)) => Ok(Page { keys, values }),
            _ => Err(Error::Failed("a page that is too short".to_owned())),
        }
    }

    #[inline(always)]
    fn rows_of<S: Simd, const N: usize>(self, s: S) -> Result<()> {
        let Attention { dimension, format, .. } = *self.attention;
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
        if format == CacheFormat::Q8_0 {
            // SAFETY: each query was cut to `dimension` values above.
            unsafe { state.encode(s, queries, dimension) };
        }
        // Tokens are in order: the first sees from the earliest position on, the last the latest.
        let pages = sights[0].0 / PAGE..sights[N - 1].1.div_ceil(PAGE);
        for index in pages.clone() {
            let page = self.page(index)?;
            let next = if index + 1 < pages.end { self.page(index + 1)?.keys } else { &[] };
            // SAFETY: the queries and the page are long enough.
            unsafe { state.add(s, self.attention, queries, page, next, within(sights, index)) };
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
