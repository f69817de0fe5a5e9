//! The operations with AVX-512 F, BW, VL and VNNI. A vector is one register.

use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _CMP_GE_OQ, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _MM_HINT_T0,
    _mm_cvtsi32_si128, _mm_loadu_si128, _mm_prefetch, _mm_storeu_si128, _mm256_loadu_si256,
    _mm256_storeu_si256, _mm512_abs_ps, _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512,
    _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvtepi8_epi16, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps,
    _mm512_cvtepu8_epi32, _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_cvtps_epi32, _mm512_cvtps_ph,
    _mm512_cvtsepi32_epi8, _mm512_div_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_madd_epi16, _mm512_maskz_mov_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps,
    _mm512_mullo_epi32, _mm512_or_si512, _mm512_reduce_add_epi32, _mm512_reduce_add_ps, _mm512_reduce_max_ps,
    _mm512_roundscale_ps, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512,
    _mm512_sll_epi16, _mm512_slli_epi32, _mm512_srai_epi32, _mm512_srl_epi16, _mm512_storeu_ps,
    _mm512_sub_epi32, _mm512_sub_ps, _mm512_xor_si512,
};

use super::simd::Simd;

#[derive(Clone, Copy)]
pub struct Zmm(());

impl Zmm {
    /// # Safety
    /// The processor has AVX-512 F, BW, VL and VNNI.
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

impl Simd for Zmm {
    type Floats = __m512;
    type Ints = __m512i;
    type Bytes = __m512i;
    type Four = __m512i;
    type Sums = __m512i;
    /// VNNI multiplies unsigned by signed: the bytes are raised by 128.
    type Signed = __m512i;
    type Scales = __m512i;

    const TOKENS: usize = 8;
    const ROWS: usize = 8;
    const WIDE: bool = true;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        instructions! { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    fn load(self, values: &[f32; 16]) -> __m512 {
        instructions! { _mm512_loadu_ps(values.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, values: __m512, to: &mut [f32; 16]) {
        instructions! { _mm512_storeu_ps(to.as_mut_ptr(), values) }
    }
    #[inline(always)]
    fn load_halves(self, values: &[u16; 16]) -> __m512 {
        instructions! { _mm512_cvtph_ps(_mm256_loadu_si256(values.as_ptr().cast::<__m256i>())) }
    }
    #[inline(always)]
    fn store_halves(self, values: __m512, to: &mut [u16; 16]) {
        instructions! {
            let halves = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(values);
            _mm256_storeu_si256(to.as_mut_ptr().cast::<__m256i>(), halves);
        }
    }
    #[inline(always)]
    fn load_brains(self, values: &[u16; 16]) -> __m512 {
        instructions! {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(values.as_ptr().cast::<__m256i>()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }
    #[inline(always)]
    fn load_unsigned(self, values: &[u8; 16]) -> __m512 {
        instructions! {
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(values.as_ptr().cast::<__m128i>())))
        }
    }
    #[inline(always)]
    fn load_signed(self, values: &[i8; 16]) -> __m512 {
        instructions! {
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(values.as_ptr().cast::<__m128i>())))
        }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        instructions! { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        instructions! { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        instructions! { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        instructions! { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        instructions! { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        instructions! { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        instructions! { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        instructions! { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        instructions! { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn power_of_two(self, n: __m512) -> __m512 {
        instructions! {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
        }
    }
    #[inline(always)]
    fn keep_from(self, value: __m512, a: __m512, bound: __m512) -> __m512 {
        instructions! { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, bound), value) }
    }
    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        instructions! { _mm512_reduce_add_ps(a) }
    }
    #[inline(always)]
    fn largest(self, a: __m512) -> f32 {
        instructions! { _mm512_reduce_max_ps(a) }
    }
    #[inline(always)]
    fn zero(self) -> __m512i {
        instructions! { _mm512_setzero_si512() }
    }
    #[inline(always)]
    fn to_floats(self, a: __m512i) -> __m512 {
        instructions! { _mm512_cvtepi32_ps(a) }
    }
    #[inline(always)]
    fn to_ints(self, a: __m512) -> __m512i {
        instructions! { _mm512_cvtps_epi32(a) }
    }
    #[inline(always)]
    fn sum_ints(self, a: __m512i) -> i32 {
        instructions! { _mm512_reduce_add_epi32(a) }
    }
    #[inline(always)]
    fn store_bytes(self, a: __m512i, to: &mut [i8; 16]) {
        instructions! { _mm_storeu_si128(to.as_mut_ptr().cast::<__m128i>(), _mm512_cvtsepi32_epi8(a)) }
    }
    #[inline(always)]
    fn load_bytes(self, bytes: &[u8; 64]) -> __m512i {
        instructions! { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }
    #[inline(always)]
    fn splat_byte(self, byte: u8) -> __m512i {
        instructions! { _mm512_set1_epi8(byte as i8) }
    }
    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        instructions! { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        instructions! { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    fn up(self, a: __m512i, count: i32) -> __m512i {
        instructions! { _mm512_sll_epi16(a, _mm_cvtsi32_si128(count)) }
    }
    #[inline(always)]
    fn down(self, a: __m512i, count: i32) -> __m512i {
        instructions! { _mm512_srl_epi16(a, _mm_cvtsi32_si128(count)) }
    }
    #[inline(always)]
    fn four(self, activations: &[i8; 4]) -> __m512i {
        instructions! { _mm512_set1_epi32(activations.as_ptr().cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    fn no_sums(self) -> __m512i {
        self.zero()
    }
    #[inline(always)]
    fn dot(self, sums: __m512i, codes: __m512i, activations: __m512i) -> __m512i {
        instructions! { _mm512_dpbusd_epi32(sums, codes, activations) }
    }
    #[inline(always)]
    fn flush(self, total: __m512i, sums: __m512i) -> __m512i {
        instructions! { _mm512_add_epi32(total, sums) }
    }
    #[inline(always)]
    fn scales(self, pairs: &[i8; 32]) -> [__m512i; 2] {
        let pairs = pairs_of(pairs);
        instructions! {
            [_mm512_srai_epi32::<16>(_mm512_slli_epi32::<16>(pairs)), _mm512_srai_epi32::<16>(pairs)]
        }
    }
    #[inline(always)]
    fn flush_scaled(self, total: __m512i, sums: __m512i, scales: __m512i) -> __m512i {
        instructions! { _mm512_add_epi32(total, _mm512_mullo_epi32(sums, scales)) }
    }
    #[inline(always)]
    fn take_32(self, total: __m512i, pairs: &[i8; 32], halves: [i16; 2]) -> __m512i {
        let halves = i32::from(halves[0]) & 0xffff | i32::from(halves[1]) << 16;
        instructions! {
            let sums = _mm512_madd_epi16(pairs_of(pairs), _mm512_set1_epi32(halves));
            _mm512_sub_epi32(total, _mm512_slli_epi32::<5>(sums))
        }
    }
    #[inline(always)]
    fn signed(self, bytes: __m512i) -> __m512i {
        instructions! { _mm512_xor_si512(bytes, _mm512_set1_epi8(-128)) }
    }
    #[inline(always)]
    fn start_signed(self, halves: [i16; 2]) -> __m512i {
        // The weights are raised by 128: what that adds is taken away beforehand.
        let sum = i32::from(halves[0]) + i32::from(halves[1]);
        instructions! { _mm512_set1_epi32(-128 * sum) }
    }
    #[inline(always)]
    fn dot_signed(self, total: __m512i, weights: __m512i, activations: __m512i) -> __m512i {
        instructions! { _mm512_dpbusd_epi32(total, weights, activations) }
    }
    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        instructions! { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}

/// Each row's two scales as 16 bits each.
#[inline(always)]
fn pairs_of(pairs: &[i8; 32]) -> __m512i {
    instructions! { _mm512_cvtepi8_epi16(_mm256_loadu_si256(pairs.as_ptr().cast::<__m256i>())) }
}
