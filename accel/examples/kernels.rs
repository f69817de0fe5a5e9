//! Prints how fast the kernels are: `cargo run --release --no-default-features --example kernels`.
//!
//! One thread. `decode` multiplies a matrix larger than the cache with one token: GB of packed weights a second. `chats`
//! does so with the tokens of four. `prefill` multiplies one that fits with 64 tokens: thousand million products and
//! sums (2 operations) a second. The best of 40 runs, in which the sets of instructions take turns: others may be using
//! the machine.
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // Counts become rates, patterns bytes.

use std::time::Instant;

use _native::error::Result;
use _native::kernels::{
    Activations, Attention, CacheFormat, Format, Into, Isa, Matrix, PAGE, Page, Tiles, multiply,
};

const RUNS: usize = 40;
/// Of weights that are read once: as a model's, they are in no cache that is ours alone.
const MANY: usize = 64 << 20;

fn main() -> Result<()> {
    let isas: Vec<_> = Isa::available().into_iter().filter(|isa| *isa != Isa::SCALAR).collect();
    print!("{:<10}", "");
    for isa in &isas {
        print!("{:>13}", isa.name());
    }
    println!();
    for format in Format::ALL {
        let rows = MANY / format.bytes(1, 768)?;
        row(&format!("{format:?}"), "decode, GB/s", &time(&isas, format, rows, 768, 1)?.0);
        row(&format!("{format:?}"), "4 chats, GB/s", &time(&isas, format, rows, 768, 4)?.0);
        row(&format!("{format:?}"), "prefill, GOP/s", &time(&isas, format, 768, 768, 64)?.1);
    }
    row("attention", "decode, GOP/s", &attend(&isas, 1, 1023)?);
    row("attention", "prefill, GOP/s", &attend(&isas, 64, 448)?);
    Ok(())
}

fn row(name: &str, unit: &str, rates: &[f64]) {
    print!("{name:<10}");
    for rate in rates {
        print!("{:>13.1}", rate / 1e9);
    }
    println!("   {unit}");
}

/// Bytes of weights and operations a second, for each set of instructions.
fn time(
    isas: &[Isa],
    format: Format,
    rows: usize,
    columns: usize,
    tokens: usize,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let raw: Vec<u8> =
        (0..format.bytes(rows, columns)?).map(|i| ((i * 7919) >> 3) as u8 & 0x1f | 0x20).collect();
    let matrix = Matrix::pack(format, &raw, rows, columns)?;
    let mut activations = Activations::new(tokens, columns, format.block() == 1)?;
    let values: Vec<f32> = (0..columns).map(|i| (i as f32).sin()).collect();
    for token in 0..tokens {
        activations.set(Isa::detect(), token, &values);
    }
    let mut out = vec![0.0; tokens * rows];
    let seconds = best(isas, |isa| {
        let tiles = Tiles::new(&mut out, rows, tokens, rows);
        while let Some(mut tile) = tiles.next(0) {
            multiply(isa, &matrix, &activations, &mut tile, Into::Set)?;
        }
        Ok(())
    })?;
    let rates = |work: f64| seconds.iter().map(|seconds| work / seconds).collect();
    Ok((rates(matrix.bytes() as f64), rates(2.0 * (rows * columns * tokens) as f64)))
}

/// Operations a second, for each set of instructions: `tokens` × 9 heads of 64 after `past` positions.
fn attend(isas: &[Isa], tokens: usize, past: usize) -> Result<Vec<f64>> {
    let dimension = 64;
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
    let seconds = best(isas, |isa| {
        let tiles = Tiles::new(&mut out, width, 16, 3 * dimension);
        while let Some(mut tile) = tiles.next(0) {
            attention.attend(isa, &queries, past, |_| Page { keys: &page, values: &page }, &mut tile)?;
        }
        Ok(())
    })?;
    let work = 4.0 * (tokens * width) as f64 * (past as f64 + tokens as f64 / 2.0);
    Ok(seconds.iter().map(|seconds| work / seconds).collect())
}

fn best(isas: &[Isa], mut work: impl FnMut(Isa) -> Result<()>) -> Result<Vec<f64>> {
    let mut best = vec![f64::INFINITY; isas.len()];
    for _ in 0..RUNS {
        for (isa, best) in isas.iter().zip(&mut best) {
            let start = Instant::now();
            work(*isa)?;
            *best = best.min(start.elapsed().as_secs_f64());
        }
    }
    Ok(best)
}
