//! How the work of a step is cut into pieces for threads.

use crate::error::Result;
use crate::kernels::{Activations, Isa, Tiles};
use crate::threads::{Pool, Work};

/// Below so many rows, what is done to each is not worth waking anybody.
const FEW: usize = 4;

/// Pieces of a product for each thread: enough that all end at about the same time.
const PIECES: usize = 4;

/// Runs what takes rows one by one, on one thread if they are few.
pub fn for_rows(pool: &mut Pool, rows: usize, work: Work<'_>) -> Result<()> {
    if rows < FEW { Pool::run_alone(work) } else { pool.run(work) }
}

/// Makes activations of the first rows of a buffer.
pub fn quantize(
    pool: &mut Pool,
    isa: Isa,
    values: &[f32],
    codes: &mut Activations,
    rows: usize,
) -> Result<()> {
    let width = codes.columns();
    let places = codes.rows(rows);
    for_rows(pool, rows, &|lane| {
        while let Some(mut place) = places.next(lane) {
            place.set(isa, &values[place.token() * width..][..width]);
        }
        Ok(())
    })
}

/// Cuts the first rows of a buffer into tiles of one each.
pub fn of_rows(buffer: &mut [f32], rows: usize, width: usize) -> Tiles<'_, f32> {
    Tiles::rows(&mut buffer[..rows * width], width)
}

/// Cuts the first rows of a buffer into tiles for the product of a matrix with `width` rows: each thread's lie together,
/// and so do the rows of the matrix that it reads.
pub fn of_product(buffer: &mut [f32], rows: usize, width: usize, threads: usize) -> Tiles<'_, f32> {
    // Whole groups of the matrix.
    let columns = width.div_ceil(threads * PIECES).next_multiple_of(16);
    Tiles::new(&mut buffer[..rows * width], width, rows.max(1), columns).in_lanes(threads)
}
