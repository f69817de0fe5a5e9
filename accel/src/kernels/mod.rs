//! Everything that computes, and the only place with vector instructions.
//!
//! How a model uses it: `Matrix` holds repacked weights, `Activations` the other side of a product, `multiply` writes it
//! to a `Tile` of a buffer. Threads share the work of a phase through `Tiles` (and `ActivationRows`, `Packing`): one thread
//! makes it from `&mut`, all call `next` until nothing is left, and when all are back the buffer is whole. `Attention` reads
//! pages of the cache, whose layout is in `pages`.
//!
//! Whatever else is in a batch, and however work is split, a token's results are the same bits for the same `Isa`.
#![allow(unsafe_code)] // Vector instructions, raw pointers in inner loops, disjoint pieces of buffers.
#![allow(clippy::inline_always)] // Only inside a function with the right target feature is an operation an instruction.
#![allow(clippy::needless_range_loop)] // Register tiles are arrays of constant length, indexed in step.
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)] // Codes and lanes.
#![allow(clippy::cast_ptr_alignment)] // Loads and stores of vectors don't ask for alignment; layouts keep that of f16.
#![allow(clippy::cast_precision_loss)] // Sums of codes and lengths of vectors are far below 2^24.

mod activations;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod format;
mod functions;
mod integer;
mod isa;
mod matrix;
mod memory;
mod multiply;
#[cfg(target_arch = "aarch64")]
mod neon;
mod online_softmax;
mod packed;
mod pages;
mod panel;
mod scalar;
mod simd;
#[cfg(test)]
mod tests;
mod tiles;
#[cfg(test)]
mod vector_tests;
mod vectors;

pub use activations::{ActivationRow, ActivationRows, Activations};
pub use attention::{Attention, MOST_DIMENSIONS};
pub use format::Format;
pub use isa::Isa;
pub use matrix::{Matrix, Packing};
pub use memory::{Arena, Region};
pub use multiply::{Into, multiply};
pub use pages::{CacheFormat, PAGE, Page, write_key, write_value};
pub use tiles::{Tile, Tiles};
pub use vectors::{Pairing, add, argmax, log_sum_exp, rms_norm, rms_norm_in_place, rope, softmax};
