//! Products of rows of f32 with a panel of 16 interleaved floats: matrices of floats, scores and values of attention.
//!
//! A row's sums are made in the same order whatever `ROWS` is.

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

/// Adds `rows[r][i] · panel[i]` to `totals[r]`, for `i` below `length` in this order.
///
/// # Safety
/// `length` values of each row and `length` × 16 elements of the panel can be read.
#[inline(always)]
pub unsafe fn panel<S: Simd, E: Element, const ROWS: usize>(
    s: S,
    rows: [*const f32; ROWS],
    panel: *const u8,
    length: usize,
    mut totals: [S::Floats; ROWS],
) -> [S::Floats; ROWS] {
    for i in 0..length {
        // SAFETY: by the caller.
        let column = unsafe { E::load(s, panel.add(16 * E::BYTES * i)) };
        for row in 0..ROWS {
            totals[row] = s.fma(s.splat(unsafe { *rows[row].add(i) }), column, totals[row]);
        }
    }
    totals
}
