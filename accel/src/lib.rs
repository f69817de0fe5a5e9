//! Makes the node faster, never different. The modules are plain Rust; `python` alone knows Python.

pub mod decoder;
pub mod error;
pub mod events;
pub mod gguf;
#[cfg(feature = "python")]
mod python;
pub mod request;
pub mod sched;
pub mod scoring;
pub mod text;
pub mod threads;
