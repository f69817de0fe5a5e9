//! Makes the node faster, never different. The modules are plain Rust; `python` alone knows Python.

pub mod decoder;
pub mod error;
pub mod events;
pub mod gguf;
pub mod kernels;
pub mod model;
#[cfg(feature = "python")]
mod python;
pub mod threads;
