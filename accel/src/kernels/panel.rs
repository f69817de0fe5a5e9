//! Products of rows of f32 with panels of 16 interleaved floats: matrices of floats, scores and values of attention.
//!
//! A row's sums are made in the same order whatever `ROWS` and `PANELS` are.

use super::simd::Simd;

/// What a panel is made of.
pub trait Element {
    const BYTES: usize;

    /// # Safety
    /// 16 elements can be read.
    unsafe fn load<S: Simd>(s: S, at: *const u8) -> S::Floats;
}

pub struct Single;
pub struct Half;
pub struct Brain;
/// Whole numbers of 8 bits.
pub struct Signed;

impl Element for Single {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, at: *const u8) -> S::Floats {
        s.load(unsafe { &*at.cast() })
    }
}

impl Element for Half {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, at: *const u8) -> S::Floats {
        s.load_halves(unsafe { &*at.cast() })
    }
}

impl Element for Brain {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, at: *const u8) -> S::Floats {
        s.load_brains(unsafe { &*at.cast() })
    }
}

impl Element for Signed {
    const BYTES: usize = 1;
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, at: *const u8) -> S::Floats {
        s.load_signed(unsafe { &*at.cast() })
    }
}

/// Adds `rows[r][i] · panels[p][i]` to `totals[p][r]`, for `i` below `length` in this order.
///
/// Each sum waits for its latest addition, so that few rows with one panel leave the processor idle most of the time.
///
/// # Safety
/// `length` values of each row and `length` × 16 elements of each panel can be read.
#[inline(always)]
pub unsafe fn panels<S: Simd, E: Element, const ROWS: usize, const PANELS: usize>(
    s: S,
    rows: [*const f32; ROWS],
    panels: [*const u8; PANELS],
    length: usize,
    mut totals: [[S::Floats; ROWS]; PANELS],
) -> [[S::Floats; ROWS]; PANELS] {
    for i in 0..length {
        let mut columns = [s.splat(0.0); PANELS];
        for panel in 0..PANELS {
            // SAFETY: by the caller.
            columns[panel] = unsafe { E::load(s, panels[panel].add(16 * E::BYTES * i)) };
        }
        for row in 0..ROWS {
            // SAFETY: by the caller.
            let value = s.splat(unsafe { *rows[row].add(i) });
            for panel in 0..PANELS {
                totals[panel][row] = s.fma(value, columns[panel], totals[panel][row]);
            }
        }
    }
    totals
}

/// How many panels `rows` rows take at once, of `left`.
#[inline(always)]
pub const fn panels_at_once<S: Simd>(rows: usize, left: usize) -> usize {
    if 4 * rows <= S::ROWS && left >= 4 {
        4
    } else if 2 * rows <= S::ROWS && left >= 2 {
        2
    } else {
        1
    }
}
