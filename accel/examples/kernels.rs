//! Prints how fast the kernels are: `cargo run --release --no-default-features --example kernels`.
//!
//! One thread. `decode` multiplies a matrix larger than the cache with one token: GB of packed weights a second. `prefill`
//! multiplies one that fits with 64 tokens: thousand million products and sums (2 operations) a second. The best of 40
//! runs: others may be using the machine.
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // Counts become rates, patterns bytes.

use std::time::Instant;

use _native::error::Result;
use _native::kernels::{
    Activations, Attention, CacheFormat, Format, Into, Isa, Matrix, PAGE, Page, Tiles, multiply,
};

const RUNS: usize = 40;

fn main() -> Result<()> {
    println!("{:<12} {:<6} {:>14} {:>16}", "isa", "format", "decode, GB/s", "prefill, GOP/s");
    for isa in Isa::available() {
        for format in Format::ALL {
            let decode = time(isa, format, 32_768, 768, 1)?;
            let prefill = time(isa, format, 768, 768, 64)?;
            println!(
                "{:<12} {:<6} {:>14.1} {:>16.1}",
                isa.name(),
                format!("{format:?}"),
                decode.0 / 1e9,
                prefill.1 / 1e9
            );
        }
        println!(
            "{:<12} attention of 64 tokens × 9 heads of 64 over 512 positions: {:.1} GOP/s",
            isa.name(),
            attend(isa)? / 1e9
        );
    }
    Ok(())
}

/// Bytes of weights and operations a second.
fn time(isa: Isa, format: Format, rows: usize, columns: usize, tokens: usize) -> Result<(f64, f64)> {
    let raw: Vec<u8> = (0..format.bytes(rows, columns)?).map(|i| ((i * 7919) >> 3) as u8 & 0x3f).collect();
    let matrix = Matrix::pack(format, &raw, rows, columns)?;
    let mut activations = Activations::new(tokens, columns, format.block() == 1)?;
    let values: Vec<f32> = (0..columns).map(|i| (i as f32).sin()).collect();
    for token in 0..tokens {
        activations.set(isa, token, &values);
    }
    let mut out = vec![0.0; tokens * rows];
    let seconds = best(|| {
        let tiles = Tiles::new(&mut out, rows, tokens, rows);
        while let Some(mut tile) = tiles.next(0) {
            multiply(isa, &matrix, &activations, &mut tile, Into::Set)?;
        }
        Ok(())
    })?;
    Ok((matrix.bytes() as f64 / seconds, 2.0 * (rows * columns * tokens) as f64 / seconds))
}

fn attend(isa: Isa) -> Result<f64> {
    let (tokens, past, dimension) = (64, 448, 64);
    let attention = Attention {
        group: 3,
        dimension,
        format: CacheFormat::F16,
        scale: 0.125,
        softcap: None,
        window: None,
    };
    let width = 9 * dimension;
    let queries: Vec<f32> = (0..tokens * width).map(|i| (i as f32).sin()).collect();
    let page = [0x00, 0x30].repeat(PAGE * dimension);
    let mut out = vec![0.0; tokens * width];
    let seconds = best(|| {
        let tiles = Tiles::new(&mut out, width, 16, 3 * dimension);
        while let Some(mut tile) = tiles.next(0) {
            attention.attend(isa, &queries, past, |_| Page { keys: &page, values: &page }, &mut tile)?;
        }
        Ok(())
    })?;
    Ok(4.0 * (tokens * width) as f64 * (past as f64 + tokens as f64 / 2.0) / seconds)
}

fn best(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}
