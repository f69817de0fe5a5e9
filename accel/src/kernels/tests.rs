//! Every format and every set of instructions against exact values in f64.

#[cfg(not(miri))]
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
    let mut raw: Vec<u8> =
        (0..weights / format.block() * format.block_bytes()).map(|_| random.next() as u8).collect();
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

fn multiplied(
    isa: Isa,
    matrix: &Matrix,
    activations: &Activations,
    tokens: usize,
    tile: (usize, usize),
) -> Vec<f32> {
    let mut out = vec![f32::NAN; tokens * matrix.rows()];
    let tiles = Tiles::new(&mut out, matrix.rows(), tile.0, tile.1);
    while let Some(mut tile) = tiles.next(0) {
        multiply(isa, matrix, activations, &mut tile, Into::Set).expect("it fits");
    }
    out
}

/// Says which kernels this machine could not try.
pub fn isas() -> Vec<Isa> {
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
    let matrix = Matrix::pack(format, &raw, rows, columns).expect("it fits");
    let mut weights = vec![0.0; rows * columns];
    format.dequantize(&raw, &mut weights).expect("it fits");
    let values = random.floats(tokens * columns);
    let mut by_vectors: Option<Vec<f32>> = None;
    for isa in isas() {
        let mut activations = Activations::new(tokens, columns, format.block() == 1).expect("it fits");
        for (token, values) in values.chunks_exact(columns).enumerate() {
            activations.set(isa, token, values);
        }
        let out = multiplied(isa, &matrix, &activations, tokens, (tokens, rows.next_multiple_of(16)));
        if isa != Isa::SCALAR {
            let same = by_vectors.get_or_insert_with(|| out.clone());
            assert_eq!(out, *same, "{format:?} {isa} {rows}×{columns}: not the bits of other vectors");
        }
        for token in 0..tokens {
            // What the kernels are given: codes times scales, not the values before.
            let given: Vec<f64> = if format.block() == 1 {
                activations.floats(token).iter().map(|value| f64::from(*value)).collect()
            } else {
                let blocks = activations.blocks(token).iter();
                blocks
                    .flat_map(|block| block.codes.map(|code| f64::from(code) * f64::from(block.scale)))
                    .collect()
            };
            for row in 0..rows {
                let terms =
                    weights[row * columns..][..columns].iter().zip(&given).map(|(w, x)| f64::from(*w) * x);
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
        // An interpreter is slow: under Miri, two small cases that take passes of 8, 4 and 3 tokens, and of 2.
        let shapes = if cfg!(miri) {
            &[(2, 1, 15), (2, 1, 2)][..]
        } else {
            &[(16, 1, 1), (33, 3, 9), (1, 2, 8), (48, 2, 15), (17, 2, 2)]
        };
        for (seed, (rows, blocks, tokens)) in shapes.iter().enumerate() {
            case(format, *rows, *blocks, *tokens, seed as u64);
        }
    }
}

#[cfg(not(miri))]
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

#[test]
#[cfg_attr(miri, ignore = "an interpreter is too slow")]
fn a_token_is_the_same_bits_in_every_batch_and_split() {
    for format in Format::ALL {
        let (rows, columns, tokens) = (40, format.block().max(BLOCK) * 2, 23);
        let mut random = Random::new(7);
        let raw = raw(format, rows * columns, &mut random);
        let matrix = Matrix::pack(format, &raw, rows, columns).expect("it fits");
        let values = random.floats(tokens * columns);
        for isa in isas() {
            let mut together = Activations::new(tokens, columns, true).expect("it fits");
            let places = together.rows(tokens);
            while let Some(mut place) = places.next(0) {
                let token = place.token();
                place.set(isa, &values[token * columns..][..columns]);
            }
            let whole = multiplied(isa, &matrix, &together, tokens, (tokens, 48));
            for tile in [(1, 16), (3, 32), (5, 48), (8, 16)] {
                assert_eq!(
                    multiplied(isa, &matrix, &together, tokens, tile),
                    whole,
                    "{format:?} {isa} {tile:?}"
                );
            }
            let mut alone = Activations::new(1, columns, true).expect("it fits");
            for (token, values) in values.chunks_exact(columns).enumerate() {
                alone.set(isa, 0, values);
                let out = multiplied(isa, &matrix, &alone, 1, (1, 48));
                assert_eq!(out, whole[token * rows..][..rows], "{format:?} {isa} token {token}");
            }
        }
    }
}

#[test]
fn a_packed_row_is_the_row_of_the_file() {
    for format in Format::ALL {
        let (rows, columns) = (19, format.block().max(BLOCK) * 2);
        let raw = raw(format, rows * columns, &mut Random::new(3));
        let matrix = Matrix::pack(format, &raw, rows, columns).expect("it fits");
        let mut expected = vec![0.0; rows * columns];
        format.dequantize(&raw, &mut expected).expect("it fits");
        let mut row = vec![0.0; columns];
        for (index, expected) in expected.chunks_exact(columns).enumerate() {
            matrix.dequantize_row(index, &mut row);
            for (got, expected) in row.iter().zip(expected) {
                // `scale · code - 8 · scale` rounds twice where `scale · (code - 8)` rounds once; codes are below 64.
                assert!(
                    (got - expected).abs() <= 64.0 * 0.02 * 127.0 * 2f32.powi(-24),
                    "{format:?}: {got} for {expected}"
                );
            }
        }
    }
}

#[test]
fn threads_pack_the_same_matrix_as_one() {
    let (rows, columns) = (200, 64);
    let raw = raw(Format::Q4_1, rows * columns, &mut Random::new(5));
    let alone = Matrix::pack(Format::Q4_1, &raw, rows, columns).expect("it fits");
    let mut shared = Matrix::new(Format::Q4_1, rows, columns, &mut Arena::new(0)).expect("it fits");
    let packing = shared.packing(&raw, 20, 3).expect("it fits");
    std::thread::scope(|scope| {
        for lane in 0..3 {
            let packing = &packing;
            scope.spawn(move || while packing.step(lane) {});
        }
    });
    for group in 0..alone.groups() {
        assert_eq!(alone.group(group), shared.group(group));
    }
}

#[test]
fn every_tile_is_handed_out_once_its_own_lane_first() {
    for (count, lanes) in [(1, 2), (7, 3), (40, 16), (5, 100)] {
        let mut buffer = vec![0u8; count];
        let tiles = Tiles::new(&mut buffer, 1, 1, 1).in_lanes(lanes);
        let own = tiles.own(1).map(|tile| tile.rows().start);
        assert!(own.is_none_or(|first| first == count / lanes.min(16)), "{count} {lanes}");
        let mut seen: Vec<_> = own.into_iter().collect();
        // Whoever takes all has its own first, then the next one's.
        while let Some(tile) = tiles.next(lanes - 1) {
            seen.push(tile.rows().start);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..count).collect::<Vec<_>>(), "{count} {lanes}");
    }
}

#[test]
fn sizes_that_contradict_each_other_are_errors() {
    let short = Matrix::pack(Format::Q4_1, &[0; 19], 1, 32);
    assert!(matches!(short, Err(crate::error::Error::Damaged(_))), "{short:?}");
    for (format, rows, columns) in [
        (Format::Q4_K, 4, 32),
        (Format::Q8_0, 1, 33),
        (Format::F32, usize::MAX, 2),
        (Format::Q6_K, usize::MAX / 2, 512),
        (Format::Q4_0, 1 << 62, 1 << 40),
    ] {
        assert!(
            Matrix::new(format, rows, columns, &mut Arena::new(0)).is_err(),
            "{format:?} {rows} × {columns}"
        );
    }
    assert!(Activations::new(usize::MAX, 64, false).is_err());
    assert!(Format::Q4_0.dequantize(&[0; 18], &mut [0.0; 64]).is_err());
    assert!(Format::from_number(7777).is_err());
    assert!(Isa::named("abacus").is_err());

    let matrix = Matrix::pack(Format::F32, &[0; 4 * 64 * 2], 2, 64).expect("it fits");
    let narrow = Activations::new(1, 32, true).expect("it fits");
    let coded = Activations::new(1, 64, false).expect("it fits");
    let fitting = Activations::new(1, 64, true).expect("it fits");
    let mut out = [0.0; 6];
    let mut product = |activations: &Activations, width: usize, columns: usize, tile: usize| {
        let tiles = Tiles::new(&mut out, width, 1, columns);
        for _ in 0..tile {
            tiles.next(0);
        }
        let mut tile = tiles.next(0).expect("a tile");
        multiply(Isa::SCALAR, &matrix, activations, &mut tile, Into::Set)
    };
    assert!(product(&fitting, 2, 2, 0).is_ok());
    assert!(product(&narrow, 2, 2, 0).is_err(), "columns");
    assert!(product(&coded, 2, 2, 0).is_err(), "no floats");
    assert!(product(&fitting, 3, 3, 0).is_err(), "width of the output");
    assert!(product(&fitting, 2, 1, 3).is_err(), "a tile that starts amid a group");
    assert!(product(&fitting, 2, 2, 1).is_err(), "a second token where there is one");
}

#[test]
fn empty_matrices_are_matrices() {
    let matrix = Matrix::pack(Format::Q8_0, &[], 0, 64).expect("it fits");
    assert_eq!((matrix.groups(), matrix.bytes()), (0, 0));
    let matrix = Matrix::pack(Format::Q8_0, &[], 5, 0).expect("it fits");
    matrix.dequantize_row(4, &mut []);
}

#[test]
fn what_follows_a_product_is_fused() {
    let (rows, columns) = (20, 32);
    let mut random = Random::new(11);
    let raw = raw(Format::F32, rows * columns, &mut random);
    let matrix = Matrix::pack(Format::F32, &raw, rows, columns).expect("it fits");
    let before = random.floats(rows);
    for isa in isas() {
        let mut activations = Activations::new(1, columns, true).expect("it fits");
        activations.set(isa, 0, &random.floats(columns));
        let product = multiplied(isa, &matrix, &activations, 1, (1, 32));
        for into in [Into::Add, Into::Silu, Into::Gelu] {
            let mut out = before.iter().map(|x| 8.0 * x).collect::<Vec<_>>();
            let tiles = Tiles::new(&mut out, rows, 1, 32);
            multiply(isa, &matrix, &activations, &mut tiles.next(0).expect("it fits"), into)
                .expect("it fits");
            for ((got, x), product) in out.iter().zip(&before).zip(&product) {
                let (x, product) = (8.0 * f64::from(*x), f64::from(*product));
                let cubic = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                let expected = match into {
                    Into::Set => product,
                    Into::Add => x + product,
                    Into::Silu => x / (1.0 + (-x).exp()) * product,
                    Into::Gelu => x / 2.0 * (1.0 + cubic.tanh()) * product,
                };
                // A handful of roundings, and those of an exponent that is up to 60 (2^-18 relative).
                let bound = (expected.abs() + 1e-4) * 2f64.powi(-17);
                assert!((f64::from(*got) - expected).abs() <= bound, "{into:?} {isa}: {got} for {expected}");
            }
        }
    }
}
