//! The few vector operations that all kernels are written in, once, whatever the processor.
//!
//! A vector has 16 lanes: one register with AVX-512, two with AVX2, four with NEON, an array without. An implementor is
//! a token that exists only where its instructions do (`Isa::run` makes it), so that its methods are safe to call. They
//! are all `inline(always)`, because only inside a function with the right `target_feature` do they become instructions.
//!
//! All implementors but the array round alike, operation by operation: what is computed is the same bits with any of them.

/// Work that is compiled once for each set of instructions. `run` must be `inline(always)`, and what it does with vectors
/// in no closure that the compiler might leave a function of its own: such a one has none of the instructions, and was
/// thirty times as slow.
pub trait Kernel {
    type Output;

    fn run<S: Simd>(self, s: S) -> Self::Output;
}

pub trait Simd: Copy {
    /// 16 × f32.
    type Floats: Copy;
    /// 16 × i32.
    type Ints: Copy;
    /// 64 bytes: 4 columns of each of 16 rows, row after row.
    type Bytes: Copy;
    /// 4 activations, the same for every row.
    type Four: Copy;
    /// Running sums of products of small codes, one set for each row: of 16 bits where the processor is best at that.
    type Sums: Copy;
    /// 64 signed bytes, made ready for `dot_signed`.
    type Signed: Copy;
    /// The scales of 16 rows for 16 columns, made ready for `flush_scaled`.
    type Scales: Copy;

    /// Tokens that one pass over the weights serves.
    const TOKENS: usize;
    /// Rows that one pass over a panel serves.
    const ROWS: usize;
    /// Whether `Sums` have 32 bits. If not, 8 products of 4-bit codes fit, 4 of 5-bit or 2 of 6-bit codes; then they
    /// must be flushed: 2 × 63 × 127 × 2, 4 × 31 × 127 × 2 and 8 × 15 × 127 × 2 are all below 32,768.
    const WIDE: bool;

    fn splat(self, value: f32) -> Self::Floats;
    fn load(self, values: &[f32; 16]) -> Self::Floats;
    fn store(self, values: Self::Floats, to: &mut [f32; 16]);
    /// 16 × IEEE half precision.
    fn load_halves(self, values: &[u16; 16]) -> Self::Floats;
    fn store_halves(self, values: Self::Floats, to: &mut [u16; 16]);
    /// 16 × bfloat16: the upper halves of f32.
    fn load_brains(self, values: &[u16; 16]) -> Self::Floats;
    fn load_unsigned(self, values: &[u8; 16]) -> Self::Floats;
    fn load_signed(self, values: &[i8; 16]) -> Self::Floats;

    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn div(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a·b + c`, rounded once, but twice without such an instruction.
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// The number, if `a` is none.
    fn min(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The number, if `a` is none.
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn abs(self, a: Self::Floats) -> Self::Floats;
    /// To the nearest whole number, ties to even.
    fn round(self, a: Self::Floats) -> Self::Floats;
    /// `2^n` for whole `n` from -126 to 127.
    fn power_of_two(self, n: Self::Floats) -> Self::Floats;
    /// `value` where `a >= bound`, else 0.
    fn keep_from(self, value: Self::Floats, a: Self::Floats, bound: Self::Floats) -> Self::Floats;
    /// Adds lanes that are 8 apart, then those 4, 2 and 1 apart; plain Rust adds one after another.
    fn sum(self, a: Self::Floats) -> f32;
    fn largest(self, a: Self::Floats) -> f32;

    fn zero(self) -> Self::Ints;
    fn to_floats(self, a: Self::Ints) -> Self::Floats;
    /// To the nearest, ties to even.
    fn to_ints(self, a: Self::Floats) -> Self::Ints;
    fn sum_ints(self, a: Self::Ints) -> i32;
    /// As signed bytes, saturated.
    fn store_bytes(self, a: Self::Ints, to: &mut [i8; 16]);

    fn load_bytes(self, bytes: &[u8; 64]) -> Self::Bytes;
    fn splat_byte(self, byte: u8) -> Self::Bytes;
    fn and(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// Bits move up by `count`; those that enter a byte from its neighbour are the caller's to mask.
    fn up(self, a: Self::Bytes, count: i32) -> Self::Bytes;
    /// Bits move down by `count`; those that enter a byte from its neighbour are the caller's to mask.
    fn down(self, a: Self::Bytes, count: i32) -> Self::Bytes;

    #[allow(clippy::trivially_copy_pass_by_ref)] // Read as one word from where it lies.
    fn four(self, activations: &[i8; 4]) -> Self::Four;
    fn no_sums(self) -> Self::Sums;
    /// Adds each row's 4 products; codes are unsigned and of 6 bits at the most.
    fn dot(self, sums: Self::Sums, codes: Self::Bytes, activations: Self::Four) -> Self::Sums;
    /// Adds `sums`.
    fn flush(self, total: Self::Ints, sums: Self::Sums) -> Self::Ints;

    /// The scales of 32 columns: `[first 16 columns, last 16 columns]` of each of 16 rows.
    fn scales(self, pairs: &[i8; 32]) -> [Self::Scales; 2];
    /// Adds `scales · sums`.
    fn flush_scaled(self, total: Self::Ints, sums: Self::Sums, scales: Self::Scales) -> Self::Ints;
    /// Takes away `32 · (first scale · first half + second scale · second half)`: 6-bit codes stand for 32 less.
    fn take_32(self, total: Self::Ints, pairs: &[i8; 32], halves: [i16; 2]) -> Self::Ints;

    fn signed(self, bytes: Self::Bytes) -> Self::Signed;
    /// What `dot_signed` starts from; `halves` are the sums of the activations that it will see.
    fn start_signed(self, halves: [i16; 2]) -> Self::Ints;
    /// Adds each row's 4 products of signed bytes.
    fn dot_signed(self, total: Self::Ints, weights: Self::Signed, activations: Self::Four) -> Self::Ints;

    /// Asks for the cache line at `at`, which need not be ours.
    fn prefetch(self, at: *const u8);
}
