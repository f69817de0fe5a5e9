//! The operations in plain Rust.

use half::f16;

use super::simd::Simd;

#[derive(Clone, Copy)]
pub struct Scalar;

#[inline(always)]
fn map<T: Copy, U>(a: [T; 16], f: impl Fn(T) -> U) -> [U; 16] {
    a.map(f)
}

#[inline(always)]
fn zip<T: Copy, U>(a: [T; 16], b: [T; 16], f: impl Fn(T, T) -> U) -> [U; 16] {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

impl Simd for Scalar {
    type Floats = [f32; 16];
    type Ints = [i32; 16];
    type Bytes = [u8; 64];
    type Four = [i8; 4];
    type Sums = [i32; 16];
    type Signed = [u8; 64];
    type Scales = [i32; 16];

    const TOKENS: usize = 1;
    const ROWS: usize = 1;
    const WIDE: bool = true;

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 16] {
        [value; 16]
    }
    #[inline(always)]
    fn load(self, values: &[f32; 16]) -> [f32; 16] {
        *values
    }
    #[inline(always)]
    fn store(self, values: [f32; 16], to: &mut [f32; 16]) {
        *to = values;
    }
    #[inline(always)]
    fn load_halves(self, values: &[u16; 16]) -> [f32; 16] {
        map(*values, |bits| f16::from_bits(bits).to_f32())
    }
    #[inline(always)]
    fn store_halves(self, values: [f32; 16], to: &mut [u16; 16]) {
        *to = map(values, |value| f16::from_f32(value).to_bits());
    }
    #[inline(always)]
    fn load_brains(self, values: &[u16; 16]) -> [f32; 16] {
        map(*values, |bits| f32::from_bits(u32::from(bits) << 16))
    }
    #[inline(always)]
    fn load_unsigned(self, values: &[u8; 16]) -> [f32; 16] {
        map(*values, f32::from)
    }
    #[inline(always)]
    fn load_signed(self, values: &[i8; 16]) -> [f32; 16] {
        map(*values, f32::from)
    }
    #[inline(always)]
    fn add(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        self.add(self.mul(a, b), c)
    }
    #[inline(always)]
    fn min(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn max(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn abs(self, a: [f32; 16]) -> [f32; 16] {
        map(a, f32::abs)
    }
    #[inline(always)]
    fn round(self, a: [f32; 16]) -> [f32; 16] {
        map(a, f32::round_ties_even)
    }
    #[inline(always)]
    fn power_of_two(self, n: [f32; 16]) -> [f32; 16] {
        map(n, |n| f32::from_bits(((n as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    fn keep_from(self, value: [f32; 16], a: [f32; 16], bound: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|lane| if a[lane] >= bound[lane] { value[lane] } else { 0.0 })
    }
    #[inline(always)]
    fn sum(self, a: [f32; 16]) -> f32 {
        a.iter().sum()
    }
    #[inline(always)]
    fn largest(self, a: [f32; 16]) -> f32 {
        a.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    fn zero(self) -> [i32; 16] {
        [0; 16]
    }
    #[inline(always)]
    fn to_floats(self, a: [i32; 16]) -> [f32; 16] {
        map(a, |value| value as f32)
    }
    #[inline(always)]
    fn to_ints(self, a: [f32; 16]) -> [i32; 16] {
        map(a, |value| value.round_ties_even() as i32)
    }
    #[inline(always)]
    fn sum_ints(self, a: [i32; 16]) -> i32 {
        a.iter().fold(0, |sum, value| sum.wrapping_add(*value))
    }
    #[inline(always)]
    fn store_bytes(self, a: [i32; 16], to: &mut [i8; 16]) {
        *to = map(a, |value| value.clamp(-128, 127) as i8);
    }
    #[inline(always)]
    fn load_bytes(self, bytes: &[u8; 64]) -> [u8; 64] {
        *bytes
    }
    #[inline(always)]
    fn splat_byte(self, byte: u8) -> [u8; 64] {
        [byte; 64]
    }
    #[inline(always)]
    fn and(self, a: [u8; 64], b: [u8; 64]) -> [u8; 64] {
        std::array::from_fn(|i| a[i] & b[i])
    }
    #[inline(always)]
    fn or(self, a: [u8; 64], b: [u8; 64]) -> [u8; 64] {
        std::array::from_fn(|i| a[i] | b[i])
    }
    #[inline(always)]
    fn up(self, a: [u8; 64], count: i32) -> [u8; 64] {
        a.map(|byte| byte << count)
    }
    #[inline(always)]
    fn down(self, a: [u8; 64], count: i32) -> [u8; 64] {
        a.map(|byte| byte >> count)
    }
    #[inline(always)]
    fn four(self, activations: &[i8; 4]) -> [i8; 4] {
        *activations
    }
    #[inline(always)]
    fn no_sums(self) -> [i32; 16] {
        [0; 16]
    }
    #[inline(always)]
    fn dot(self, sums: [i32; 16], codes: [u8; 64], x: [i8; 4]) -> [i32; 16] {
        std::array::from_fn(|row| {
            (0..4).fold(sums[row], |sum, i| sum + i32::from(codes[4 * row + i]) * i32::from(x[i]))
        })
    }
    #[inline(always)]
    fn flush(self, total: [i32; 16], sums: [i32; 16]) -> [i32; 16] {
        zip(total, sums, |a, b| a + b)
    }
    #[inline(always)]
    fn scales(self, pairs: &[i8; 32]) -> [[i32; 16]; 2] {
        [0, 1].map(|half| std::array::from_fn(|row| i32::from(pairs[2 * row + half])))
    }
    #[inline(always)]
    fn flush_scaled(self, total: [i32; 16], sums: [i32; 16], scales: [i32; 16]) -> [i32; 16] {
        self.flush(total, zip(sums, scales, |a, b| a * b))
    }
    #[inline(always)]
    fn take_32(self, total: [i32; 16], pairs: &[i8; 32], halves: [i16; 2]) -> [i32; 16] {
        let [first, second] = self.scales(pairs);
        let [a, b] = halves.map(i32::from);
        std::array::from_fn(|row| total[row] - 32 * (first[row] * a + second[row] * b))
    }
    #[inline(always)]
    fn signed(self, bytes: [u8; 64]) -> [u8; 64] {
        bytes
    }
    #[inline(always)]
    fn start_signed(self, _halves: [i16; 2]) -> [i32; 16] {
        [0; 16]
    }
    #[inline(always)]
    fn dot_signed(self, total: [i32; 16], weights: [u8; 64], x: [i8; 4]) -> [i32; 16] {
        std::array::from_fn(|row| {
            (0..4).fold(total[row], |sum, i| sum + i32::from(weights[4 * row + i] as i8) * i32::from(x[i]))
        })
    }
    #[inline(always)]
    fn prefetch(self, _at: *const u8) {}
}
