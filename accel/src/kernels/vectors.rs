//! Work on vectors of f32: norm, rotary positions, softmax.

use super::functions::exp;
use super::isa::Isa;
use super::simd::{Kernel, Simd};

/// Writes `x / √(mean(x²) + epsilon) · weight` to `out`.
///
/// # Panics
/// When the lengths differ.
pub fn rms_norm(isa: Isa, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    assert!(x.len() == weight.len() && x.len() == out.len(), "a norm over vectors of several lengths");
    let factor = inverse_root(isa, x, epsilon);
    isa.run(Scale { x, weight, factor, out });
}

/// As `rms_norm`, but in place.
///
/// # Panics
/// When the lengths differ.
pub fn rms_norm_in_place(isa: Isa, x: &mut [f32], weight: &[f32], epsilon: f32) {
    assert_eq!(x.len(), weight.len(), "a norm over vectors of several lengths");
    let factor = inverse_root(isa, x, epsilon);
    for (x, weight) in x.iter_mut().zip(weight) {
        *x = *x * factor * weight;
    }
}

fn inverse_root(isa: Isa, x: &[f32], epsilon: f32) -> f32 {
    1.0 / (isa.run(SumOfSquares(x)) / x.len() as f32 + epsilon).sqrt()
}

struct SumOfSquares<'a>(&'a [f32]);

impl Kernel for SumOfSquares<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let (whole, rest) = self.0.as_chunks::<16>();
        let mut total = s.splat(0.0);
        for values in whole {
            let values = s.load(values);
            total = s.fma(values, values, total);
        }
        let values = s.load(&padded(rest, 0.0));
        s.sum(s.fma(values, values, total))
    }
}

struct Scale<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    factor: f32,
    out: &'a mut [f32],
}

impl Kernel for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        for ((out, x), weight) in self.out.iter_mut().zip(self.x).zip(self.weight) {
            *out = *x * self.factor * weight;
        }
    }
}

/// Which elements of a head turn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// `2i` and `2i + 1`: Llama as GGUF has it.
    Adjacent,
    /// `i` and `i + n/2`: Qwen, Gemma ("neox").
    Halves,
}

/// Turns the first `2 · cos.len()` elements of a head: pair `i` by the angle whose cosine and sine are `cos[i]`, `sin[i]`.
///
/// # Panics
/// When the head is shorter, or there are fewer sines than cosines.
pub fn rope(isa: Isa, pairing: Pairing, head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let sin = &sin[..cos.len()];
    let head = &mut head[..2 * cos.len()];
    match pairing {
        Pairing::Adjacent => isa.run(Adjacent { head, cos, sin }),
        Pairing::Halves => isa.run(Opposite { head, cos, sin }),
    }
}

struct Adjacent<'a> {
    head: &'a mut [f32],
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Kernel for Adjacent<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let (pairs, _) = self.head.as_chunks_mut::<2>();
        for ((pair, cos), sin) in pairs.iter_mut().zip(self.cos).zip(self.sin) {
            let [a, b] = *pair;
            *pair = [a * cos - b * sin, a * sin + b * cos];
        }
    }
}

struct Opposite<'a> {
    head: &'a mut [f32],
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Kernel for Opposite<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let (first, second) = self.head.split_at_mut(self.cos.len());
        let turns = self.cos.iter().zip(self.sin);
        for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(turns) {
            (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
        }
    }
}

/// Adds `b` to `a`.
///
/// # Panics
/// When the lengths differ.
pub fn add(isa: Isa, a: &mut [f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "a sum of vectors of several lengths");
    isa.run(Sum { a, b });
}

struct Sum<'a> {
    a: &'a mut [f32],
    b: &'a [f32],
}

impl Kernel for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        for (a, b) in self.a.iter_mut().zip(self.b) {
            *a += b;
        }
    }
}

/// The index of the largest value, the first of several; `None` of nothing, or of nothing but NaN.
#[must_use]
pub fn argmax(isa: Isa, x: &[f32]) -> Option<usize> {
    let largest = isa.run(Largest(x));
    x.iter().position(|value| *value >= largest)
}

struct Largest<'a>(&'a [f32]);

impl Kernel for Largest<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let (whole, rest) = self.0.as_chunks::<16>();
        let mut largest = s.splat(f32::NEG_INFINITY);
        for values in whole {
            largest = s.max(s.load(values), largest);
        }
        s.largest(s.max(s.load(&padded(rest, f32::NEG_INFINITY)), largest))
    }
}

/// The logarithm of the sum of `e^x`: what to take from logits to get log-probabilities.
#[must_use]
pub fn log_sum_exp(isa: Isa, x: &[f32]) -> f32 {
    let largest = isa.run(Largest(x));
    largest + isa.run(SumOfExp { x, less: largest }).ln()
}

struct SumOfExp<'a> {
    x: &'a [f32],
    less: f32,
}

impl Kernel for SumOfExp<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let (whole, rest) = self.x.as_chunks::<16>();
        let less = s.splat(self.less);
        let mut total = s.splat(0.0);
        for values in whole {
            total = s.add(total, exp(s, s.sub(s.load(values), less)));
        }
        let rest = s.load(&padded(rest, f32::NEG_INFINITY));
        s.sum(s.add(total, exp(s, s.sub(rest, less))))
    }
}

/// Turns logits into probabilities.
pub fn softmax(isa: Isa, x: &mut [f32]) {
    let less = isa.run(Largest(x));
    let total = isa.run(SumOfExp { x, less });
    isa.run(Probabilities { x, less, factor: 1.0 / total });
}

struct Probabilities<'a> {
    x: &'a mut [f32],
    less: f32,
    factor: f32,
}

impl Kernel for Probabilities<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (less, factor) = (s.splat(self.less), s.splat(self.factor));
        let (whole, rest) = self.x.as_chunks_mut::<16>();
        for values in whole {
            s.store(s.mul(exp(s, s.sub(s.load(values), less)), factor), values);
        }
        let mut last = padded(rest, 0.0);
        s.store(s.mul(exp(s, s.sub(s.load(&last), less)), factor), &mut last);
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

#[inline(always)]
fn padded(rest: &[f32], with: f32) -> [f32; 16] {
    let mut padded = [with; 16];
    padded[..rest.len()].copy_from_slice(rest);
    padded
}
