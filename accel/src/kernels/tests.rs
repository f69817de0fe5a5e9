//! Every format and every set of instructions against exact values in f64.

use proptest::prelude::*;

use super::activations::BLOCK;
use super::*;

/// Numbers that look random, the same each time.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From -1 to 1.
    pub fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn floats(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| self.float()).collect()
    }
}

/// Blocks of random codes whose scales are of a size that weights have.
fn raw(format: Format, weights: usize, random: &mut Random) -> Vec<u8> {
    let mut raw: Vec<u8> = (0..weights / format.block() * format.block_bytes()).map(|_| random.next() as u8).collect();
    for block in raw.chunks_exact_mut(format.block_bytes()) {
        let mut half = |at: usize| {
            let bits = half::f16::from_f32(random.float() * 0.01).to_le_bytes();
            block[at..at + 2].copy_from_slice(&bits);
        };
        match format {
            Format::F32 => block.copy_from_slice(&random.float().to_le_bytes()),
            Format::BF16 => block.copy_from_slice(&half::bf16::from_f32(random.float()).to_le_bytes()),
            Format::F16 | Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => half(0),
            Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => {
                half(0);
                half(2);
            }
            Format::Q6_K => half(208),
        }
    }
    raw
}

fn multiplied(isa: Isa, matrix: &Matrix, activations: &Activations, tokens: usize, tile: (usize, usize)) -> Vec<f32> {
    let mut out = vec![f32::NAN; tokens * matrix.rows()];
    let tiles = Tiles::new(&mut out, matrix.rows(), tile.0, tile.1);
    while let Some(mut tile) = tiles.next() {
        multiply(isa, matrix, activations, &mut tile, Into::Set).unwrap();
    }
    out
}

/// Says which kernels this machine could not try.
fn isas() -> Vec<Isa> {
    let available = Isa::available();
    for name in Isa::NAMES {
        if !available.iter().any(|isa| isa.name() == name) {
            eprintln!("NOT TESTED on this processor: {name}");
        }
    }
    available
}

fn case(format: Format, rows: usize, blocks: usize, tokens: usize, seed: u64) {
    let mut random = Random::new(seed);
    let columns = blocks * format.block().max(BLOCK);
    let raw = raw(format, rows * columns, &mut random);
    let matrix = Matrix::pack(format, &raw, rows, columns).unwrap();
    let mut weights = vec![0.0; rows * columns];
    format.dequantize(&raw, &mut weights).unwrap();
    let values = random.floats(tokens * columns);
    for isa in isas() {
        let mut activations = Activations::new(tokens, columns, format.block() == 1).unwrap();
        for (token, values) in values.chunks_exact(columns).enumerate() {
            activations.set(isa, token, values);
        }
        let out = multiplied(isa, &matrix, &activations, tokens, (tokens, rows.next_multiple_of(16)));
        for token in 0..tokens {
            // What the kernels are given: codes times scales, not the values before.
            let given: Vec<f64> = if format.block() == 1 {
                activations.floats(token).iter().map(|value| f64::from(*value)).collect()
            } else {
                let blocks = activations.blocks(token).iter();
                blocks.flat_map(|block| block.codes.map(|code| f64::from(code) * f64::from(block.scale))).collect()
            };
            for row in 0..rows {
                let terms = weights[row * columns..][..columns].iter().zip(&given).map(|(w, x)| f64::from(*w) * x);
                let exact: f64 = terms.clone().sum();
                let size: f64 = terms.map(f64::abs).sum();
                // Sums of whole numbers are exact. Each block adds a few roundings, of 2^-24 each, to sums that are no
                // larger than `size` (a scale and its offset can cancel: 31 / 16 times what is left of them); they
                // grow with the number of blocks at the worst, which is well below 32 here. Floats: one each column.
                let roundings = if format.block() == 1 { columns as f64 } else { 64.0 };
                let bound = size * roundings * 2f64.powi(-24) + 1e-30;
                let got = f64::from(out[token * rows + row]);
                assert!(
                    (got - exact).abs() <= bound,
                    "{format:?} {isa} {rows}×{columns}, token {token}, row {row}: {got} for {exact} ± {bound}"
                );
            }
        }
    }
}

#[test]
fn products_are_those_of_the_exact_weights() {
    for format in Format::ALL {
        for (seed, (rows, blocks, tokens)) in [(16, 1, 1), (33, 3, 9), (1, 2, 8), (48, 2, 15)].into_iter().enumerate() {
            case(format, rows, blocks, tokens, seed as u64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn products_of_any_shape(
        format in prop::sample::select(Format::ALL.to_vec()),
        rows in 1usize..50, blocks in 1usize..5, tokens in 1usize..18, seed: u64,
    ) {
        case(format, rows, blocks, tokens, seed);
    }
}
