//! Exponential and what is made of it, on 16 lanes.

use super::simd::Simd;

/// `e^x`: 0 below -87.3 and for NaN, at the most `e^88.3`; relative error below 3e-7.
///
/// Range reduction by Cody and Waite, polynomial of Cephes' `expf`.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::Floats) -> S::Floats {
    const LEAST: f32 = -87.3;
    let bounded = s.min(s.max(x, s.splat(LEAST)), s.splat(88.3));
    let n = s.round(s.mul(bounded, s.splat(std::f32::consts::LOG2_E)));
    let r = s.fma(n, s.splat(-0.693_359_4), bounded);
    let r = s.fma(n, s.splat(2.121_944_4e-4), r);
    let mut power = s.splat(1.987_569_1e-4);
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5] {
        power = s.fma(power, r, s.splat(coefficient));
    }
    let power = s.fma(power, s.mul(r, r), s.add(r, s.splat(1.0)));
    s.keep_from(s.mul(power, s.power_of_two(n)), x, s.splat(LEAST))
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::Floats) -> S::Floats {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

/// `x · sigmoid(x)`
#[inline(always)]
pub fn silu<S: Simd>(s: S, x: S::Floats) -> S::Floats {
    s.mul(x, sigmoid(s, x))
}

/// `x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))`, which is `x · sigmoid(2·√(2/π) · (x + 0.044715·x³))`.
#[inline(always)]
pub fn gelu<S: Simd>(s: S, x: S::Floats) -> S::Floats {
    let cubic = s.fma(s.mul(s.mul(x, x), s.splat(0.044_715)), x, x);
    s.mul(x, sigmoid(s, s.mul(cubic, s.splat(1.595_769))))
}

/// `tanh(x)`, which is `2·sigmoid(2x) - 1`.
#[inline(always)]
pub fn tanh<S: Simd>(s: S, x: S::Floats) -> S::Floats {
    s.fma(s.splat(2.0), sigmoid(s, s.mul(x, s.splat(2.0))), s.splat(-1.0))
}
