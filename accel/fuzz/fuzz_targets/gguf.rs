//! Any bytes, read as a model file: `cargo +nightly fuzz run gguf`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| _native::hostile::read(bytes));
