//! What a kernel needs of a CPU's vector instructions.

/// The greatest f16.
pub(super) const GREATEST_F16: f32 = 65504.0;

/// Vectors of 32-bit lanes.
///
/// Matrix products are written once, over **words** of 32 bits along the summed axis: one f32, two halves
/// (bf16 or f16), or [`INT8_PER_WORD`](Self::INT8_PER_WORD) integers. A product step multiplies one word of a row with one word of each
/// column and adds the result to a lane.
///
/// # Safety
/// All functions need the instructions of the implementing type; those with pointers need memory for a whole vector.
pub(super) trait Simd: Copy {
    /// f32 lanes.
    type F: Copy;
    /// i32 lanes, or words.
    type I: Copy;
    /// Lanes of a vector.
    const LANES: usize;
    /// Rows of a matrix product's tile; its columns are two vectors.
    const ROWS: usize;
    /// Integers of a word: 4 of 8 bits, or 2 of 16 bits where there is no instruction for four.
    const INT8_PER_WORD: usize;
    /// What is subtracted from an activation of 0 to 255 before it is stored: 128 where both factors must be signed.
    const INT8_OFFSET: i32;

    unsafe fn splat(v: f32) -> Self::F;
    unsafe fn load(p: *const f32) -> Self::F;
    unsafe fn store(p: *mut f32, v: Self::F);
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// The lesser; no number where `b` is none.
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    /// The greater; no number where `b` is none.
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    unsafe fn sum(v: Self::F) -> f32;
    unsafe fn least(v: Self::F) -> f32;
    unsafe fn greatest(v: Self::F) -> f32;
    /// To the nearest integer, ties to even.
    unsafe fn round(v: Self::F) -> Self::I;
    unsafe fn to_float(v: Self::I) -> Self::F;
    /// 2 to the power of small integers (-126 to 127).
    unsafe fn exp2(v: Self::I) -> Self::F;

    unsafe fn load_words(p: *const f32) -> Self::I;
    /// One word in every lane.
    unsafe fn splat_word(p: *const f32) -> Self::I;
    unsafe fn zero_words() -> Self::I;
    unsafe fn dot_f32(sum: Self::F, a: Self::I, b: Self::I) -> Self::F;
    unsafe fn dot_bf16(sum: Self::F, a: Self::I, b: Self::I) -> Self::F;
    unsafe fn dot_f16(sum: Self::F, a: Self::I, b: Self::I) -> Self::F;
    unsafe fn dot_int8(sum: Self::I, a: Self::I, b: Self::I) -> Self::I;
    /// Stores lanes rounded to bf16, ties to even.
    unsafe fn store_bf16(p: *mut u16, v: Self::F);
    /// Stores lanes rounded to the nearest of the finite f16, ties to even.
    unsafe fn store_f16(p: *mut u16, v: Self::F);
    /// Stores lanes of 0 to 255 less [`INT8_OFFSET`](Self::INT8_OFFSET) in the width that words hold.
    unsafe fn store_int8(p: *mut u8, v: Self::I);
}
