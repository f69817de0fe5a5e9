//! Weights as the kernels read them: 16 rows interleaved, so that one load serves all lanes.
//!
//! `packed` says how a group of 16 rows lies in memory.

use super::format::Format;
use super::memory::{Arena, Region};
use super::packed::{group_bytes, pack_group, unpack_row};
use super::tiles::Tiles;
use crate::error::{Error, Result};

/// Rows that are interleaved.
pub const ROWS: usize = 16;

/// `rows × columns` weights, repacked.
#[derive(Debug)]
pub struct Matrix {
    format: Format,
    rows: usize,
    columns: usize,
    data: Region,
}

impl Matrix {
    /// Room for a matrix, full of zeros; `packing` fills it.
    ///
    /// # Errors
    /// `Damaged` for a shape that can't be, `OutOfMemory`.
    pub fn new(format: Format, rows: usize, columns: usize, arena: &mut Arena) -> Result<Self> {
        let data = arena.take(Self::bytes_for(format, rows, columns)?)?;
        Ok(Self { format, rows, columns, data })
    }

    /// Memory that a matrix takes.
    ///
    /// # Errors
    /// `Damaged` for a shape that can't be.
    pub fn bytes_for(format: Format, rows: usize, columns: usize) -> Result<usize> {
        format.bytes(rows, columns)?;
        rows.div_ceil(ROWS)
            .checked_mul(group_bytes(format, columns))
            .filter(|bytes| isize::try_from(*bytes).is_ok())
            .ok_or_else(|| Error::Damaged(format!("{rows} × {columns} weights are too many")))
    }

    /// A matrix out of a tensor's bytes, by this thread alone.
    ///
    /// # Errors
    /// As `new` and `packing`.
    pub fn pack(format: Format, raw: &[u8], rows: usize, columns: usize) -> Result<Self> {
        let mut matrix = Self::new(format, rows, columns, &mut Arena::new(0))?;
        let packing = matrix.packing(raw, rows.max(1), 1)?;
        while packing.step(0) {}
        Ok(matrix)
    }

    /// The work of filling the matrix with a tensor's bytes, cut into pieces of about `rows` rows for `lanes` threads.
    ///
    /// # Errors
    /// `Damaged` when `raw` is not what the weights take.
    pub fn packing<'a>(&'a mut self, raw: &'a [u8], rows: usize, lanes: usize) -> Result<Packing<'a>> {
        let expected = self.format.bytes(self.rows, self.columns)?;
        if raw.len() != expected {
            return Err(Error::Damaged(format!(
                "{} bytes for {} × {} weights in {:?}, which take {expected}",
                raw.len(),
                self.rows,
                self.columns,
                self.format
            )));
        }
        let (format, total) = (self.format, self.rows);
        let stride = self.group_bytes();
        let groups = if stride == 0 || total == 0 {
            None
        } else {
            let pieces = rows.div_ceil(ROWS).max(1);
            Some(Tiles::new(self.data.bytes_mut(), stride, pieces, stride).in_lanes(lanes))
        };
        Ok(Packing { format, rows: total, raw, groups })
    }

    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How many groups of 16 rows there are.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// Memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.data.bytes().len()
    }

    /// Writes one row's values to `out`: an embedding.
    ///
    /// # Panics
    /// When there is no such row, or `out` has not `columns` places.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows && out.len() == self.columns, "row {row} into {} places", out.len());
        unpack_row(self.format, self.group(row / ROWS), row % ROWS, out);
    }

    pub(super) fn group_bytes(&self) -> usize {
        group_bytes(self.format, self.columns)
    }

    pub(super) fn group(&self, group: usize) -> &[u8] {
        let stride = self.group_bytes();
        &self.data.bytes()[group * stride..][..stride]
    }
}

/// The filling of a matrix.
pub struct Packing<'a> {
    format: Format,
    rows: usize,
    raw: &'a [u8],
    groups: Option<Tiles<'a, u8>>,
}

impl Packing<'_> {
    /// Packs a piece that nobody has packed yet; `false` when there is none left.
    pub fn step(&self, lane: usize) -> bool {
        let Some(mut tile) = self.groups.as_ref().and_then(|groups| groups.next(lane)) else { return false };
        let row_bytes = self.raw.len() / self.rows;
        for group in tile.rows() {
            let rows = group * ROWS..self.rows.min(group * ROWS + ROWS);
            let raw = &self.raw[rows.start * row_bytes..rows.end * row_bytes];
            pack_group(self.format, raw, row_bytes, tile.row_mut(group));
        }
        true
    }
}
