//! The operations with AVX2, FMA and F16C; `Ymm<true>` with AVX-VNNI too. A vector is two registers.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _CMP_GE_OQ, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _MM_HINT_T0,
    _mm_add_epi32, _mm_add_ps, _mm_add_ss, _mm_cvtsi32_si128, _mm_cvtsi128_si32, _mm_cvtss_f32,
    _mm_loadu_si128, _mm_max_ps, _mm_max_ss, _mm_movehdup_ps, _mm_movehl_ps, _mm_packs_epi16,
    _mm_packs_epi32, _mm_prefetch, _mm_shuffle_epi32, _mm_storeu_si128, _mm256_abs_epi8, _mm256_add_epi16,
    _mm256_add_epi32, _mm256_add_ps, _mm256_and_ps, _mm256_and_si256, _mm256_andnot_ps,
    _mm256_castps256_ps128, _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_cmp_ps, _mm256_cvtepi8_epi16,
    _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_cvtepu16_epi32, _mm256_cvtph_ps,
    _mm256_cvtps_epi32, _mm256_cvtps_ph, _mm256_div_ps, _mm256_dpbusd_avx_epi32, _mm256_extractf128_ps,
    _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_mullo_epi32, _mm256_or_si256,
    _mm256_round_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_si256, _mm256_sign_epi8, _mm256_sll_epi16, _mm256_slli_epi32, _mm256_srai_epi32,
    _mm256_srl_epi16, _mm256_storeu_ps, _mm256_sub_epi32, _mm256_sub_ps, _mm256_xor_si256,
};

use super::simd::Simd;

#[derive(Clone, Copy)]
pub struct Ymm<const VNNI: bool>(());

impl<const VNNI: bool> Ymm<VNNI> {
    /// # Safety
    /// The processor has AVX2, FMA and F16C, and with `VNNI` also AVX-VNNI.
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
fn both<T: Copy, U: Copy>(a: [T; 2], f: impl Fn(T) -> U) -> [U; 2] {
    [f(a[0]), f(a[1])]
}

#[inline(always)]
fn pair<T: Copy, U: Copy, V: Copy>(a: [T; 2], b: [U; 2], f: impl Fn(T, U) -> V) -> [V; 2] {
    [f(a[0], b[0]), f(a[1], b[1])]
}

#[inline(always)]
fn packed(halves: [i16; 2]) -> i32 {
    i32::from(halves[0]) & 0xffff | i32::from(halves[1]) << 16
}

impl<const VNNI: bool> Simd for Ymm<VNNI> {
    type Floats = [__m256; 2];
    type Ints = [__m256i; 2];
    type Bytes = [__m256i; 2];
    type Four = __m256i;
    type Sums = [__m256i; 2];
    /// AVX2 multiplies unsigned by signed: magnitudes, and signs to give to the activations. VNNI: raised by 128.
    type Signed = ([__m256i; 2], [__m256i; 2]);
    type Scales = [__m256i; 2];

    const TOKENS: usize = 4;
    const ROWS: usize = 6;
    const WIDE: bool = VNNI;

    #[inline(always)]
    fn splat(self, value: f32) -> [__m256; 2] {
        instructions! { [_mm256_set1_ps(value); 2] }
    }
    #[inline(always)]
    fn load(self, values: &[f32; 16]) -> [__m256; 2] {
        let at = values.as_ptr();
        instructions! { [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))] }
    }
    #[inline(always)]
    fn store(self, values: [__m256; 2], to: &mut [f32; 16]) {
        let at = to.as_mut_ptr();
        instructions! { _mm256_storeu_ps(at, values[0]); _mm256_storeu_ps(at.add(8), values[1]) }
    }
    #[inline(always)]
    fn load_halves(self, values: &[u16; 16]) -> [__m256; 2] {
        let at = values.as_ptr().cast::<__m128i>();
        instructions! { [_mm256_cvtph_ps(_mm_loadu_si128(at)), _mm256_cvtph_ps(_mm_loadu_si128(at.add(1)))] }
    }
    #[inline(always)]
    fn store_halves(self, values: [__m256; 2], to: &mut [u16; 16]) {
        let at = to.as_mut_ptr().cast::<__m128i>();
        instructions! {
            _mm_storeu_si128(at, _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(values[0]));
            _mm_storeu_si128(at.add(1), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(values[1]));
        }
    }
    #[inline(always)]
    fn load_brains(self, values: &[u16; 16]) -> [__m256; 2] {
        let at = values.as_ptr().cast::<__m128i>();
        instructions! {
            both([_mm_loadu_si128(at), _mm_loadu_si128(at.add(1))], |bits| {
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
            })
        }
    }
    #[inline(always)]
    fn load_unsigned(self, values: &[u8; 16]) -> [__m256; 2] {
        instructions! {
            let bytes = _mm_loadu_si128(values.as_ptr().cast());
            let upper = _mm_shuffle_epi32::<0b00_00_11_10>(bytes);
            both([bytes, upper], |bytes| _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)))
        }
    }
    #[inline(always)]
    fn load_signed(self, values: &[i8; 16]) -> [__m256; 2] {
        instructions! {
            let bytes = _mm_loadu_si128(values.as_ptr().cast());
            let upper = _mm_shuffle_epi32::<0b00_00_11_10>(bytes);
            both([bytes, upper], |bytes| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)))
        }
    }
    #[inline(always)]
    fn add(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        pair(a, b, |a, b| instructions! { _mm256_add_ps(a, b) })
    }
    #[inline(always)]
    fn sub(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        pair(a, b, |a, b| instructions! { _mm256_sub_ps(a, b) })
    }
    #[inline(always)]
    fn mul(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        pair(a, b, |a, b| instructions! { _mm256_mul_ps(a, b) })
    }
    #[inline(always)]
    fn div(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        pair(a, b, |a, b| instructions! { _mm256_div_ps(a, b) })
    }
    #[inline(always)]
    fn fma(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        instructions! { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    fn min(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        pair(a, b, |a, b| instructions! { _mm256_min_ps(a, b) })
    }
    #[inline(always)]
    fn max(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        pair(a, b, |a, b| instructions! { _mm256_max_ps(a, b) })
    }
    #[inline(always)]
    fn abs(self, a: [__m256; 2]) -> [__m256; 2] {
        both(a, |a| instructions! { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) })
    }
    #[inline(always)]
    fn round(self, a: [__m256; 2]) -> [__m256; 2] {
        both(a, |a| instructions! { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) })
    }
    #[inline(always)]
    fn power_of_two(self, n: [__m256; 2]) -> [__m256; 2] {
        both(n, |n| {
            instructions! {
                let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
            }
        })
    }
    #[inline(always)]
    fn keep_from(self, value: [__m256; 2], a: [__m256; 2], bound: [__m256; 2]) -> [__m256; 2] {
        let kept = pair(a, bound, |a, bound| instructions! { _mm256_cmp_ps::<_CMP_GE_OQ>(a, bound) });
        pair(kept, value, |kept, value| instructions! { _mm256_and_ps(kept, value) })
    }
    #[inline(always)]
    fn sum(self, a: [__m256; 2]) -> f32 {
        instructions! {
            let eight = _mm256_add_ps(a[0], a[1]);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn largest(self, a: [__m256; 2]) -> f32 {
        instructions! {
            let eight = _mm256_max_ps(a[0], a[1]);
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn zero(self) -> [__m256i; 2] {
        instructions! { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    fn to_floats(self, a: [__m256i; 2]) -> [__m256; 2] {
        both(a, |a| instructions! { _mm256_cvtepi32_ps(a) })
    }
    #[inline(always)]
    fn to_ints(self, a: [__m256; 2]) -> [__m256i; 2] {
        both(a, |a| instructions! { _mm256_cvtps_epi32(a) })
    }
    #[inline(always)]
    fn sum_ints(self, a: [__m256i; 2]) -> i32 {
        instructions! {
            let eight = _mm256_add_epi32(a[0], a[1]);
            let four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two)))
        }
    }
    #[inline(always)]
    fn store_bytes(self, a: [__m256i; 2], to: &mut [i8; 16]) {
        instructions! {
            let halves = both(a, |a| _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a)));
            _mm_storeu_si128(to.as_mut_ptr().cast(), _mm_packs_epi16(halves[0], halves[1]));
        }
    }
    #[inline(always)]
    fn load_bytes(self, bytes: &[u8; 64]) -> [__m256i; 2] {
        let at = bytes.as_ptr().cast::<__m256i>();
        instructions! { [_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1))] }
    }
    #[inline(always)]
    fn splat_byte(self, byte: u8) -> [__m256i; 2] {
        instructions! { [_mm256_set1_epi8(byte as i8); 2] }
    }
    #[inline(always)]
    fn and(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        pair(a, b, |a, b| instructions! { _mm256_and_si256(a, b) })
    }
    #[inline(always)]
    fn or(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        pair(a, b, |a, b| instructions! { _mm256_or_si256(a, b) })
    }
    #[inline(always)]
    fn up(self, a: [__m256i; 2], count: i32) -> [__m256i; 2] {
        both(a, |a| instructions! { _mm256_sll_epi16(a, _mm_cvtsi32_si128(count)) })
    }
    #[inline(always)]
    fn down(self, a: [__m256i; 2], count: i32) -> [__m256i; 2] {
        both(a, |a| instructions! { _mm256_srl_epi16(a, _mm_cvtsi32_si128(count)) })
    }
    #[inline(always)]
    fn four(self, activations: &[i8; 4]) -> __m256i {
        instructions! { _mm256_set1_epi32(activations.as_ptr().cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    fn no_sums(self) -> [__m256i; 2] {
        self.zero()
    }
    #[inline(always)]
    fn dot(self, sums: [__m256i; 2], codes: [__m256i; 2], activations: __m256i) -> [__m256i; 2] {
        pair(sums, codes, |sums, codes| {
            if VNNI {
                instructions! { _mm256_dpbusd_avx_epi32(sums, codes, activations) }
            } else {
                instructions! { _mm256_add_epi16(sums, _mm256_maddubs_epi16(codes, activations)) }
            }
        })
    }
    #[inline(always)]
    fn flush(self, total: [__m256i; 2], sums: [__m256i; 2]) -> [__m256i; 2] {
        pair(total, sums, |total, sums| {
            if VNNI {
                instructions! { _mm256_add_epi32(total, sums) }
            } else {
                instructions! { _mm256_add_epi32(total, _mm256_madd_epi16(sums, _mm256_set1_epi16(1))) }
            }
        })
    }
    #[inline(always)]
    fn scales(self, pairs: &[i8; 32]) -> [[__m256i; 2]; 2] {
        let pairs = pairs_of(pairs);
        instructions! {
            let first = both(pairs, |pair| _mm256_slli_epi32::<16>(pair));
            if VNNI {
                [both(first, |first| _mm256_srai_epi32::<16>(first)), both(pairs, |pair| _mm256_srai_epi32::<16>(pair))]
            } else {
                // Each scale twice: the two 16-bit sums of a row take the same.
                let low = _mm256_set1_epi32(0xffff);
                let first = pair(first, pairs, |first, pair| _mm256_or_si256(first, _mm256_and_si256(pair, low)));
                let second = both(pairs, |pair| {
                    let upper = _mm256_srai_epi32::<16>(pair);
                    _mm256_or_si256(_mm256_slli_epi32::<16>(upper), _mm256_and_si256(upper, low))
                });
                [first, second]
            }
        }
    }
    #[inline(always)]
    fn flush_scaled(self, total: [__m256i; 2], sums: [__m256i; 2], scales: [__m256i; 2]) -> [__m256i; 2] {
        let products = pair(sums, scales, |sums, scales| {
            if VNNI {
                instructions! { _mm256_mullo_epi32(sums, scales) }
            } else {
                instructions! { _mm256_madd_epi16(sums, scales) }
            }
        });
        pair(total, products, |total, products| instructions! { _mm256_add_epi32(total, products) })
    }
    #[inline(always)]
    fn take_32(self, total: [__m256i; 2], pairs: &[i8; 32], halves: [i16; 2]) -> [__m256i; 2] {
        instructions! {
            let halves = _mm256_set1_epi32(packed(halves));
            pair(total, pairs_of(pairs), |total, pair| {
                _mm256_sub_epi32(total, _mm256_slli_epi32::<5>(_mm256_madd_epi16(pair, halves)))
            })
        }
    }
    #[inline(always)]
    fn signed(self, bytes: [__m256i; 2]) -> ([__m256i; 2], [__m256i; 2]) {
        if VNNI {
            let raised = both(bytes, |a| instructions! { _mm256_xor_si256(a, _mm256_set1_epi8(-128)) });
            (raised, raised)
        } else {
            (both(bytes, |a| instructions! { _mm256_abs_epi8(a) }), bytes)
        }
    }
    #[inline(always)]
    fn start_signed(self, halves: [i16; 2]) -> [__m256i; 2] {
        if VNNI {
            // The weights are raised by 128: what that adds is taken away beforehand.
            let sum = i32::from(halves[0]) + i32::from(halves[1]);
            instructions! { [_mm256_set1_epi32(-128 * sum); 2] }
        } else {
            self.zero()
        }
    }
    #[inline(always)]
    fn dot_signed(
        self,
        total: [__m256i; 2],
        weights: ([__m256i; 2], [__m256i; 2]),
        activations: __m256i,
    ) -> [__m256i; 2] {
        let products = if VNNI {
            return pair(total, weights.0, |total, raised| {
                instructions! { _mm256_dpbusd_avx_epi32(total, raised, activations) }
            });
        } else {
            // Two products of 128 and 127 at the most fit into 16 bits.
            pair(weights.0, weights.1, |magnitude, sign| {
                instructions! { _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(activations, sign)) }
            })
        };
        self.flush(total, products)
    }
    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        instructions! { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}

/// Each row's two scales as 16 bits each.
#[inline(always)]
fn pairs_of(pairs: &[i8; 32]) -> [__m256i; 2] {
    let at = pairs.as_ptr().cast::<__m128i>();
    instructions! { [_mm256_cvtepi8_epi16(_mm_loadu_si128(at)), _mm256_cvtepi8_epi16(_mm_loadu_si128(at.add(1)))] }
}
