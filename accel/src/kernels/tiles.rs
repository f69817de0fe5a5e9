//! Disjoint pieces of one buffer for several threads, each handed out once.
//!
//! Each thread has a lane of its own, tiles that follow each other, and takes others' when that is empty: threads that
//! take turns at the tiles of one lane read memory in jumps, which made two of them a fifth slower.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most lanes; further threads share them.
const LANES: usize = 16;

/// How many tiles of a lane were taken, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Taken(AtomicUsize);

/// A `[rows][width]` buffer cut into tiles. Threads call `next` until it says `None`: faster threads take more, and no
/// two ever hold the same element.
///
/// It lives for one phase of the work: made from `&mut` before threads are let go, dropped when all are back.
pub struct Tiles<'a, T> {
    base: *mut T,
    rows: usize,
    width: usize,
    tile_rows: usize,
    tile_columns: usize,
    lanes: usize,
    taken: [Taken; LANES],
    buffer: PhantomData<&'a mut [T]>,
}

// SAFETY: a thread reaches only the elements of tiles that it took, and each tile is taken once; `T: Send` goes along.
unsafe impl<T: Send> Sync for Tiles<'_, T> {}
// SAFETY: as a `&mut [T]`.
unsafe impl<T: Send> Send for Tiles<'_, T> {}

impl<'a, T> Tiles<'a, T> {
    /// Cuts `buffer` into tiles of `tile_rows × tile_columns`; those at the far edges may be smaller. Tiles of the same
    /// columns come in the order of their rows.
    ///
    /// # Panics
    /// When `width` is 0 or no divisor of the buffer's length, or a tile has no rows or columns.
    pub fn new(buffer: &'a mut [T], width: usize, tile_rows: usize, tile_columns: usize) -> Self {
        assert!(width > 0 && buffer.len().is_multiple_of(width), "the buffer has no whole number of rows");
        assert!(tile_rows > 0 && tile_columns > 0, "tiles without elements");
        Self {
            base: buffer.as_mut_ptr(),
            rows: buffer.len() / width,
            width,
            tile_rows,
            tile_columns,
            lanes: 1,
            taken: Default::default(),
            buffer: PhantomData,
        }
    }

    /// Cuts `buffer` into rows.
    ///
    /// # Panics
    /// As `new`.
    pub fn rows(buffer: &'a mut [T], width: usize) -> Self {
        Self::new(buffer, width, 1, width)
    }

    /// How many tiles there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rows.div_ceil(self.tile_rows) * self.width.div_ceil(self.tile_columns)
    }

    /// Divides the tiles into so many lanes; there is one if not said.
    #[must_use]
    pub fn in_lanes(mut self, lanes: usize) -> Self {
        self.lanes = lanes.clamp(1, LANES);
        self
    }

    /// A tile that nobody has had yet, of this lane if there is one left.
    pub fn next(&self, lane: usize) -> Option<Tile<'a, T>> {
        (lane..lane + self.lanes).find_map(|lane| self.own(lane))
    }

    /// A tile of this lane that nobody has had yet.
    pub fn own(&self, lane: usize) -> Option<Tile<'a, T>> {
        let lane = lane % self.lanes;
        let (start, end) = (self.count() * lane / self.lanes, self.count() * (lane + 1) / self.lanes);
        // Relaxed is enough: the number alone decides, and the buffer is published by what starts and ends the phase.
        let index = start + self.taken[lane].0.fetch_add(1, Ordering::Relaxed);
        // SAFETY: lanes have no tile in common, a lane's counter gives each of its tiles once, and there is no other way
        // to a tile of these tiles.
        (index < end).then(|| unsafe { self.at(index) })
    }

    /// # Safety
    /// `index` is below `count`, and no tile of that index is taken twice.
    pub(super) unsafe fn at(&self, index: usize) -> Tile<'a, T> {
        let down = self.rows.div_ceil(self.tile_rows);
        let (row, column) = (index % down * self.tile_rows, index / down * self.tile_columns);
        Tile {
            base: self.base,
            width: self.width,
            rows: row..self.rows.min(row + self.tile_rows),
            columns: column..self.width.min(column + self.tile_columns),
            buffer: PhantomData,
        }
    }
}

/// The sole right to some rows and columns of a buffer.
pub struct Tile<'a, T> {
    base: *mut T,
    width: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    buffer: PhantomData<&'a mut [T]>,
}

// SAFETY: as a `&mut [T]`.
unsafe impl<T: Send> Send for Tile<'_, T> {}

impl<T> Tile<'_, T> {
    #[must_use]
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    #[must_use]
    pub fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// The width of the whole buffer.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// The tile's columns of one row, which is counted from the top of the buffer.
    ///
    /// # Panics
    /// When the row is not the tile's.
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        assert!(self.rows.contains(&row), "row {row} of a tile of {:?}", self.rows);
        // SAFETY: rows and columns are within the buffer, nobody else has this tile, and `self` is borrowed meanwhile.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.base.add(row * self.width + self.columns.start),
                self.columns.len(),
            )
        }
    }
}
