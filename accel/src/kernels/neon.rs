//! The operations with NEON and its dot products of bytes. A vector is four registers.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, uint8x16_t, vabsq_f32, vadd_f32, vaddq_f32, vaddq_s32, vaddv_f32,
    vaddvq_s32, vandq_u8, vandq_u32, vcgeq_f32, vcombine_s8, vcombine_s16, vcvtnq_s32_f32, vcvtq_f32_s32,
    vcvtq_f32_u32, vdivq_f32, vdupq_n_f32, vdupq_n_s8, vdupq_n_s32, vdupq_n_u8, vfmaq_f32, vget_high_f32,
    vget_high_s8, vget_high_s16, vget_high_u8, vget_high_u16, vget_low_f32, vget_low_s8, vget_low_s16,
    vget_low_u8, vget_low_u16, vld1q_f32, vld1q_s8, vld1q_u8, vld1q_u16, vmaxnmq_f32, vmaxnmvq_f32,
    vminnmq_f32, vmlaq_s32, vmlsq_s32, vmovl_s8, vmovl_s16, vmovl_u8, vmovl_u16, vmulq_f32, vmulq_n_s32,
    vorrq_u8, vqmovn_s16, vqmovn_s32, vreinterpretq_f32_s32, vreinterpretq_f32_u32, vreinterpretq_s8_s32,
    vreinterpretq_s8_u8, vreinterpretq_u32_f32, vrndnq_f32, vshlq_n_s32, vshlq_n_u32, vshlq_u8, vst1q_f32,
    vst1q_s8, vsubq_f32, vuzp1q_s8, vuzp2q_s8,
};

use half::f16;

use super::simd::Simd;

#[derive(Clone, Copy)]
pub struct Neon(());

impl Neon {
    /// # Safety
    /// The processor has NEON with dot products.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        Self(())
    }
}

/// SAFETY: every expression given to it is arithmetic, or loads or stores through a reference to an array of the
/// very size that the instruction touches; the instructions exist, or `new` would not have been called.
macro_rules! instructions {
    ($($body:tt)*) => { unsafe { $($body)* } };
}

#[inline(always)]
fn map<T: Copy, U>(a: [T; 4], f: impl Fn(T) -> U) -> [U; 4] {
    [f(a[0]), f(a[1]), f(a[2]), f(a[3])]
}

#[inline(always)]
fn zip<T: Copy, U: Copy, V>(a: [T; 4], b: [U; 4], f: impl Fn(T, U) -> V) -> [V; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

/// Adds the products of four bytes in each lane: `vdotq_s32`, which Rust has not made stable.
#[inline(always)]
fn dot(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: arithmetic on registers; the instruction exists, or no `Neon` would.
    unsafe {
        std::arch::asm!(
            ".arch_extension dotprod",
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// 16 bytes to 4 × 4 integers.
#[inline(always)]
fn widen(bytes: int8x16_t) -> [int32x4_t; 4] {
    instructions! {
        let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_s8(vget_high_s8(bytes)));
        [
            vmovl_s16(vget_low_s16(low)),
            vmovl_s16(vget_high_s16(low)),
            vmovl_s16(vget_low_s16(high)),
            vmovl_s16(vget_high_s16(high)),
        ]
    }
}

/// The first and the second scale of 16 rows.
#[inline(always)]
fn pairs_of(pairs: &[i8; 32]) -> [[int32x4_t; 4]; 2] {
    instructions! {
        let (low, high) = (vld1q_s8(pairs.as_ptr()), vld1q_s8(pairs.as_ptr().add(16)));
        [widen(vuzp1q_s8(low, high)), widen(vuzp2q_s8(low, high))]
    }
}

impl Simd for Neon {
    type Floats = [float32x4_t; 4];
    type Ints = [int32x4_t; 4];
    type Bytes = [uint8x16_t; 4];
    type Four = int8x16_t;
    type Sums = [int32x4_t; 4];
    type Signed = [int8x16_t; 4];
    type Scales = [int32x4_t; 4];

    const TOKENS: usize = 4;
    const ROWS: usize = 4;
    const WIDE: bool = true;

    #[inline(always)]
    fn splat(self, value: f32) -> [float32x4_t; 4] {
        instructions! { [vdupq_n_f32(value); 4] }
    }
    #[inline(always)]
    fn load(self, values: &[f32; 16]) -> [float32x4_t; 4] {
        let at = values.as_ptr();
        instructions! { [vld1q_f32(at), vld1q_f32(at.add(4)), vld1q_f32(at.add(8)), vld1q_f32(at.add(12))] }
    }
    #[inline(always)]
    fn store(self, values: [float32x4_t; 4], to: &mut [f32; 16]) {
        let at = to.as_mut_ptr();
        for (index, values) in values.into_iter().enumerate() {
            instructions! { vst1q_f32(at.add(4 * index), values) }
        }
    }
    #[inline(always)]
    fn load_halves(self, values: &[u16; 16]) -> [float32x4_t; 4] {
        let mut floats = self.splat(0.0);
        for (index, floats) in floats.iter_mut().enumerate() {
            // SAFETY: 4 of the 16 halves, widened; all processors with NEON have the instruction.
            unsafe {
                std::arch::asm!(
                    "ldr {wide:d}, [{at}]",
                    "fcvtl {wide:v}.4s, {wide:v}.4h",
                    at = in(reg) values.as_ptr().add(4 * index),
                    wide = out(vreg) *floats,
                    options(pure, readonly, nostack, preserves_flags)
                );
            }
        }
        floats
    }
    #[inline(always)]
    fn store_halves(self, values: [float32x4_t; 4], to: &mut [u16; 16]) {
        let mut floats = [0.0; 16];
        self.store(values, &mut floats);
        *to = floats.map(|value| f16::from_f32(value).to_bits());
    }
    #[inline(always)]
    fn load_brains(self, values: &[u16; 16]) -> [float32x4_t; 4] {
        let at = values.as_ptr();
        instructions! {
            let (low, high) = (vld1q_u16(at), vld1q_u16(at.add(8)));
            map([vget_low_u16(low), vget_high_u16(low), vget_low_u16(high), vget_high_u16(high)], |bits| {
                vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(bits)))
            })
        }
    }
    #[inline(always)]
    fn load_unsigned(self, values: &[u8; 16]) -> [float32x4_t; 4] {
        instructions! {
            let bytes = vld1q_u8(values.as_ptr());
            let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_u8(vget_high_u8(bytes)));
            map([vget_low_u16(low), vget_high_u16(low), vget_low_u16(high), vget_high_u16(high)], |four| {
                vcvtq_f32_u32(vmovl_u16(four))
            })
        }
    }
    #[inline(always)]
    fn load_signed(self, values: &[i8; 16]) -> [float32x4_t; 4] {
        instructions! {
            let bytes = vld1q_s8(values.as_ptr());
            let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_s8(vget_high_s8(bytes)));
            map([vget_low_s16(low), vget_high_s16(low), vget_low_s16(high), vget_high_s16(high)], |four| {
                vcvtq_f32_s32(vmovl_s16(four))
            })
        }
    }
    #[inline(always)]
    fn add(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        zip(a, b, |a, b| instructions! { vaddq_f32(a, b) })
    }
    #[inline(always)]
    fn sub(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        zip(a, b, |a, b| instructions! { vsubq_f32(a, b) })
    }
    #[inline(always)]
    fn mul(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        zip(a, b, |a, b| instructions! { vmulq_f32(a, b) })
    }
    #[inline(always)]
    fn div(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        zip(a, b, |a, b| instructions! { vdivq_f32(a, b) })
    }
    #[inline(always)]
    fn fma(self, a: [float32x4_t; 4], b: [float32x4_t; 4], c: [float32x4_t; 4]) -> [float32x4_t; 4] {
        let mut sums = c;
        for lane in 0..4 {
            sums[lane] = instructions! { vfmaq_f32(c[lane], a[lane], b[lane]) };
        }
        sums
    }
    #[inline(always)]
    fn min(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        zip(a, b, |a, b| instructions! { vminnmq_f32(a, b) })
    }
    #[inline(always)]
    fn max(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        zip(a, b, |a, b| instructions! { vmaxnmq_f32(a, b) })
    }
    #[inline(always)]
    fn abs(self, a: [float32x4_t; 4]) -> [float32x4_t; 4] {
        map(a, |a| instructions! { vabsq_f32(a) })
    }
    #[inline(always)]
    fn round(self, a: [float32x4_t; 4]) -> [float32x4_t; 4] {
        map(a, |a| instructions! { vrndnq_f32(a) })
    }
    #[inline(always)]
    fn power_of_two(self, n: [float32x4_t; 4]) -> [float32x4_t; 4] {
        map(n, |n| {
            instructions! {
                let exponent = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
                vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
            }
        })
    }
    #[inline(always)]
    fn keep_from(
        self,
        value: [float32x4_t; 4],
        a: [float32x4_t; 4],
        bound: [float32x4_t; 4],
    ) -> [float32x4_t; 4] {
        let kept = zip(a, bound, |a, bound| instructions! { vcgeq_f32(a, bound) });
        zip(kept, value, |kept, value| {
            instructions! { vreinterpretq_f32_u32(vandq_u32(kept, vreinterpretq_u32_f32(value))) }
        })
    }
    #[inline(always)]
    fn sum(self, a: [float32x4_t; 4]) -> f32 {
        // In the order of `Simd::sum`.
        instructions! {
            let four = vaddq_f32(vaddq_f32(a[0], a[2]), vaddq_f32(a[1], a[3]));
            vaddv_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)))
        }
    }
    #[inline(always)]
    fn largest(self, a: [float32x4_t; 4]) -> f32 {
        instructions! { vmaxnmvq_f32(vmaxnmq_f32(vmaxnmq_f32(a[0], a[1]), vmaxnmq_f32(a[2], a[3]))) }
    }
    #[inline(always)]
    fn zero(self) -> [int32x4_t; 4] {
        instructions! { [vdupq_n_s32(0); 4] }
    }
    #[inline(always)]
    fn to_floats(self, a: [int32x4_t; 4]) -> [float32x4_t; 4] {
        map(a, |a| instructions! { vcvtq_f32_s32(a) })
    }
    #[inline(always)]
    fn to_ints(self, a: [float32x4_t; 4]) -> [int32x4_t; 4] {
        map(a, |a| instructions! { vcvtnq_s32_f32(a) })
    }
    #[inline(always)]
    fn sum_ints(self, a: [int32x4_t; 4]) -> i32 {
        instructions! { vaddvq_s32(vaddq_s32(vaddq_s32(a[0], a[1]), vaddq_s32(a[2], a[3]))) }
    }
    #[inline(always)]
    fn store_bytes(self, a: [int32x4_t; 4], to: &mut [i8; 16]) {
        instructions! {
            let low = vcombine_s16(vqmovn_s32(a[0]), vqmovn_s32(a[1]));
            let high = vcombine_s16(vqmovn_s32(a[2]), vqmovn_s32(a[3]));
            vst1q_s8(to.as_mut_ptr(), vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
        }
    }
    #[inline(always)]
    fn load_bytes(self, bytes: &[u8; 64]) -> [uint8x16_t; 4] {
        let at = bytes.as_ptr();
        instructions! { [vld1q_u8(at), vld1q_u8(at.add(16)), vld1q_u8(at.add(32)), vld1q_u8(at.add(48))] }
    }
    #[inline(always)]
    fn splat_byte(self, byte: u8) -> [uint8x16_t; 4] {
        instructions! { [vdupq_n_u8(byte); 4] }
    }
    #[inline(always)]
    fn and(self, a: [uint8x16_t; 4], b: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
        zip(a, b, |a, b| instructions! { vandq_u8(a, b) })
    }
    #[inline(always)]
    fn or(self, a: [uint8x16_t; 4], b: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
        zip(a, b, |a, b| instructions! { vorrq_u8(a, b) })
    }
    #[inline(always)]
    fn up(self, a: [uint8x16_t; 4], count: i32) -> [uint8x16_t; 4] {
        map(a, |a| instructions! { vshlq_u8(a, vdupq_n_s8(count as i8)) })
    }
    #[inline(always)]
    fn down(self, a: [uint8x16_t; 4], count: i32) -> [uint8x16_t; 4] {
        self.up(a, -count)
    }
    #[inline(always)]
    fn four(self, activations: &[i8; 4]) -> int8x16_t {
        instructions! { vreinterpretq_s8_s32(vdupq_n_s32(activations.as_ptr().cast::<i32>().read_unaligned())) }
    }
    #[inline(always)]
    fn no_sums(self) -> [int32x4_t; 4] {
        self.zero()
    }
    #[inline(always)]
    fn dot(self, sums: [int32x4_t; 4], codes: [uint8x16_t; 4], activations: int8x16_t) -> [int32x4_t; 4] {
        // Codes are below 128: as signed bytes they are the same.
        zip(sums, codes, |sum, codes| dot(sum, instructions! { vreinterpretq_s8_u8(codes) }, activations))
    }
    #[inline(always)]
    fn flush(self, total: [int32x4_t; 4], sums: [int32x4_t; 4]) -> [int32x4_t; 4] {
        zip(total, sums, |a, b| instructions! { vaddq_s32(a, b) })
    }
    #[inline(always)]
    fn scales(self, pairs: &[i8; 32]) -> [[int32x4_t; 4]; 2] {
        pairs_of(pairs)
    }
    #[inline(always)]
    fn flush_scaled(
        self,
        total: [int32x4_t; 4],
        sums: [int32x4_t; 4],
        scales: [int32x4_t; 4],
    ) -> [int32x4_t; 4] {
        let mut totals = total;
        for lane in 0..4 {
            totals[lane] = instructions! { vmlaq_s32(total[lane], sums[lane], scales[lane]) };
        }
        totals
    }
    #[inline(always)]
    fn take_32(self, total: [int32x4_t; 4], pairs: &[i8; 32], halves: [i16; 2]) -> [int32x4_t; 4] {
        let [first, second] = pairs_of(pairs);
        let mut totals = total;
        for lane in 0..4 {
            totals[lane] = instructions! {
                let second = vmulq_n_s32(second[lane], i32::from(halves[1]));
                let both = vmlaq_s32(second, first[lane], vdupq_n_s32(i32::from(halves[0])));
                vmlsq_s32(total[lane], both, vdupq_n_s32(32))
            };
        }
        totals
    }
    #[inline(always)]
    fn signed(self, bytes: [uint8x16_t; 4]) -> [int8x16_t; 4] {
        map(bytes, |bytes| instructions! { vreinterpretq_s8_u8(bytes) })
    }
    #[inline(always)]
    fn start_signed(self, _halves: [i16; 2]) -> [int32x4_t; 4] {
        self.zero()
    }
    #[inline(always)]
    fn dot_signed(
        self,
        total: [int32x4_t; 4],
        weights: [int8x16_t; 4],
        activations: int8x16_t,
    ) -> [int32x4_t; 4] {
        zip(total, weights, |sum, weights| dot(sum, weights, activations))
    }
    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        // SAFETY: a hint, which no address makes fail.
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(readonly, nostack, preserves_flags));
        }
    }
}
