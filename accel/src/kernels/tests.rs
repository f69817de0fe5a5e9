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
    while let Some(mut tile) = tiles.next() {
        multiply(isa, matrix, activations, &mut tile, Into::Set).expect("it fits");
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
    let matrix = Matrix::pack(format, &raw, rows, columns).expect("it fits");
    let mut weights = vec![0.0; rows * columns];
    format.dequantize(&raw, &mut weights).expect("it fits");
    let values = random.floats(tokens * columns);
    for isa in isas() {
        let mut activations = Activations::new(tokens, columns, format.block() == 1).expect("it fits");
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
        // An interpreter is slow: under Miri, one case that takes passes of 8, 4, 2 and 1 tokens.
        let shapes =
            if cfg!(miri) { &[(2, 1, 15)][..] } else { &[(16, 1, 1), (33, 3, 9), (1, 2, 8), (48, 2, 15)] };
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
            while let Some(mut place) = places.next() {
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
    let mut shared = Matrix::new(Format::Q4_1, rows, columns).expect("it fits");
    let packing = shared.packing(&raw, 20).expect("it fits");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| while packing.step() {});
        }
    });
    for group in 0..alone.groups() {
        assert_eq!(alone.group(group), shared.group(group));
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
        assert!(Matrix::new(format, rows, columns).is_err(), "{format:?} {rows} × {columns}");
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
            tiles.next();
        }
        let mut tile = tiles.next().expect("a tile");
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
            multiply(isa, &matrix, &activations, &mut tiles.next().expect("it fits"), into).expect("it fits");
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

/// A cache of one head, and the attention over it in f64.
struct Past {
    dimension: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
    pages: Vec<[Vec<u16>; 2]>,
}

impl Past {
    fn new(isa: Isa, positions: usize, dimension: usize, random: &mut Random) -> Self {
        // Values that f16 holds exactly, so that only the arithmetic is judged.
        let mut exact = |count: usize| -> Vec<f32> {
            (0..count).map(|_| half::f16::from_f32(random.float() * 2.0).to_f32()).collect()
        };
        let (keys, values) = (exact(positions * dimension), exact(positions * dimension));
        // Where nothing is written, a page holds NaN.
        let empty = || [vec![0x7e00; PAGE * dimension], vec![0x7e00; PAGE * dimension]];
        let mut pages: Vec<_> = (0..positions.div_ceil(PAGE)).map(|_| empty()).collect();
        for position in 0..positions {
            let [page_keys, page_values] = &mut pages[position / PAGE];
            write_key(isa, page_keys, position % PAGE, &keys[position * dimension..][..dimension]);
            write_value(isa, page_values, position % PAGE, &values[position * dimension..][..dimension]);
        }
        Self { dimension, keys, values, pages }
    }

    fn page(&self, index: usize) -> Page<'_> {
        Page { keys: &self.pages[index][0], values: &self.pages[index][1] }
    }

    fn attended(&self, attention: &Attention, query: &[f32], position: usize) -> Vec<f64> {
        let start = attention.window.map_or(0, |window| (position + 1).saturating_sub(window));
        let row =
            |from: &[f32], position: usize| from[position * self.dimension..][..self.dimension].to_vec();
        let scores: Vec<f64> = (start..=position)
            .map(|position| {
                let products = row(&self.keys, position).into_iter().zip(query);
                let score: f64 = products.map(|(k, q)| f64::from(k) * f64::from(*q)).sum::<f64>()
                    * f64::from(attention.scale);
                attention.softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
            })
            .collect();
        let largest = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut out = vec![0.0; self.dimension];
        for (weight, position) in weights.iter().zip(start..) {
            for (out, value) in out.iter_mut().zip(row(&self.values, position)) {
                *out += weight / total * f64::from(value);
            }
        }
        out
    }
}

#[test]
fn attention_is_that_of_the_definition() {
    let shapes = [
        (1, 16, None, None, 0, 1),
        (3, 64, None, None, 0, 70),
        (3, 64, None, Some(40), 100, 37),
        (4, 32, Some(5.0), None, 63, 3),
        (7, 128, None, None, 129, 2),
        (2, 256, None, Some(64), 190, 5),
    ];
    for (group, dimension, softcap, window, past, tokens) in shapes {
        if cfg!(miri) && dimension * tokens * group > 400 {
            continue;
        }
        let attention = Attention { group, dimension, scale: 0.3, softcap, window };
        let width = 2 * group * dimension;
        for isa in isas() {
            let mut random = Random::new(past as u64 + 1);
            let cache = Past::new(isa, past + tokens, dimension, &mut random);
            let queries = random.floats(tokens * width);
            let attend = |tile_rows: usize| {
                let mut out = vec![f32::NAN; tokens * width];
                let tiles = Tiles::new(&mut out, width, tile_rows, group * dimension);
                while let Some(mut tile) = tiles.next() {
                    attention
                        .attend(isa, &queries, past, |index| cache.page(index), &mut tile)
                        .expect("it fits");
                }
                out
            };
            let out = attend(tokens);
            for (index, got) in out.chunks_exact(dimension).enumerate() {
                let query = &queries[index * dimension..][..dimension];
                let exact = cache.attended(&attention, query, past + index / (2 * group));
                for (got, exact) in got.iter().zip(exact) {
                    // Values are up to 2. A score of a few units carries some roundings (2^-24 of each of up to 256
                    // terms); they change a weight by as much, and weights and sums of them round again.
                    let close = (f64::from(*got) - exact).abs() <= 2e-5;
                    assert!(close, "{attention:?} {isa} head {index}: {got} for {exact}");
                }
            }
            for tile_rows in [1, 2, 5] {
                assert_eq!(attend(tile_rows), out, "{attention:?} {isa} by {tile_rows}");
            }
        }
    }
}

#[test]
fn attention_refuses_what_does_not_fit() {
    let attention = Attention { group: 1, dimension: 16, scale: 1.0, softcap: None, window: None };
    let (page, short) = (vec![0; PAGE * 16], vec![0; PAGE * 16 - 1]);
    let attend = |attention: &Attention, queries: usize, values: &[u16]| {
        let mut out = [0.0; 64];
        let tiles = Tiles::new(&mut out, 32, 2, 16);
        let page = Page { keys: &page, values };
        attention.attend(Isa::SCALAR, &vec![0.0; queries], 0, |_| page, &mut tiles.next().expect("it fits"))
    };
    assert!(attend(&attention, 64, &page).is_ok());
    assert!(attend(&attention, 63, &page).is_err(), "queries");
    assert!(attend(&attention, 64, &short).is_err(), "page");
    assert!(attend(&Attention { group: 2, ..attention }, 64, &page).is_err(), "group");
    for dimension in [0, 8, 512] {
        assert!(attend(&Attention { dimension, ..attention }, 64, &page).is_err(), "dimension {dimension}");
    }
}

#[test]
fn vectors_are_those_of_the_definitions() {
    let mut random = Random::new(23);
    for length in [1, 15, 16, 64, 575] {
        let (x, weight) = (random.floats(length), random.floats(length));
        let square = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / length as f64;
        let logits: Vec<f32> = x.iter().map(|x| 20.0 * x).collect();
        let exact: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
        for isa in isas() {
            let mut out = vec![0.0; length];
            rms_norm(isa, &x, &weight, 1e-5, &mut out);
            let mut in_place = x.clone();
            rms_norm_in_place(isa, &mut in_place, &weight, 1e-5);
            assert_eq!(out, in_place);
            for ((got, x), weight) in out.iter().zip(&x).zip(&weight) {
                let expected = f64::from(*x) / (square + f64::from(1e-5f32)).sqrt() * f64::from(*weight);
                assert!(
                    (f64::from(*got) - expected).abs() <= 1e-5 * expected.abs() + 1e-7,
                    "{isa}: {got} for {expected}"
                );
            }
            assert!(
                (f64::from(log_sum_exp(isa, &logits)) - exact).abs() < 1e-5 * exact.abs() + 1e-5,
                "{isa}"
            );
            let mut probabilities = logits.clone();
            softmax(isa, &mut probabilities);
            for (got, x) in probabilities.iter().zip(&logits) {
                let expected = (f64::from(*x) - exact).exp();
                assert!(
                    (f64::from(*got) - expected).abs() <= 1e-5 * expected + 1e-9,
                    "{isa}: {got} for {expected}"
                );
            }
            let first = logits.iter().position(|x| logits.iter().all(|other| x >= other));
            assert_eq!(argmax(isa, &logits), first);
            let mut sum = x.clone();
            add(isa, &mut sum, &weight);
            assert!(
                sum.iter()
                    .zip(&x)
                    .zip(&weight)
                    .all(|((sum, x), weight)| sum.to_bits() == (x + weight).to_bits())
            );
        }
    }
    assert_eq!(argmax(Isa::SCALAR, &[]), None);
    for isa in isas() {
        assert_eq!(argmax(isa, &[0.0, f32::NAN, 7.0, 7.0]), Some(2), "{isa}");
        assert_eq!(argmax(isa, &[f32::NEG_INFINITY, -3.0]), Some(1), "{isa}");
    }
}

#[test]
fn pairs_turn_by_their_angle() {
    let angles = [0.3f32, -1.1, 2.0];
    let (cos, sin): (Vec<f32>, Vec<f32>) = angles.iter().map(|angle| (angle.cos(), angle.sin())).unzip();
    let head = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    for isa in isas() {
        for (pairing, pairs) in
            [(Pairing::Adjacent, [(0, 1), (2, 3), (4, 5)]), (Pairing::Halves, [(0, 3), (1, 4), (2, 5)])]
        {
            let mut turned = head;
            rope(isa, pairing, &mut turned, &cos, &sin);
            assert!((turned[6] - 7.0).abs() < f32::EPSILON, "what is past the angles stays");
            for ((a, b), angle) in pairs.into_iter().zip(angles) {
                let (length, before) = (head[a].hypot(head[b]), head[b].atan2(head[a]));
                assert!((turned[a] - length * (before + angle).cos()).abs() < 1e-5, "{isa} {pairing:?}");
                assert!((turned[b] - length * (before + angle).sin()).abs() < 1e-5, "{isa} {pairing:?}");
            }
        }
    }
}

#[test]
fn keys_beyond_half_precision_stay_finite() {
    for isa in isas() {
        let mut page = vec![0; PAGE * 16];
        write_key(isa, &mut page, 17, &[1e6; 16]);
        write_value(isa, &mut page, 3, &[-1e6; 16]);
        assert!(page.iter().all(|bits| half::f16::from_bits(*bits).is_finite()), "{isa}");
    }
}
