//! Makes the node faster, never different. The modules are plain Rust; `python` alone knows Python.

pub mod decoder;
pub mod embedding;
pub mod engine;
pub mod error;
pub mod events;
mod fault;
pub mod gguf;
#[cfg(any(test, fuzzing))]
pub mod hostile;
pub mod kernels;
pub mod model;
#[cfg(feature = "python")]
mod python;
pub mod request;
pub mod sched;
pub mod scoring;
pub mod speech;
pub mod text;
pub mod threads;
