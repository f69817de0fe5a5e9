//! Attention and the operations on vectors, for every set of instructions, against their definitions in f64.

use super::activations::BLOCK;
use super::tests::{Random, isas};
use super::*;

/// Numbers up to `127 / steps` that are held exactly, so that only the arithmetic is judged.
fn exactly(format: CacheFormat, count: usize, steps: f32, random: &mut Random) -> Vec<f32> {
    let mut number = |index: usize| match format {
        CacheFormat::F16 => half::f16::from_f32(random.float() * 128.0 / steps).to_f32(),
        // The largest of 32 makes the scale.
        CacheFormat::Q8_0 if index.is_multiple_of(BLOCK) => 127.0 / steps,
        CacheFormat::Q8_0 => (random.float() * 127.0).round() / steps,
    };
    (0..count).map(&mut number).collect()
}

/// A cache of one head, and the attention over it in f64.
struct Past {
    dimension: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
    pages: Vec<[Vec<u8>; 2]>,
}

impl Past {
    fn new(isa: Isa, format: CacheFormat, positions: usize, dimension: usize, random: &mut Random) -> Self {
        // Up to 2, in steps that the format has.
        let mut exact = || exactly(format, positions * dimension, 64.0, random);
        let (keys, values) = (exact(), exact());
        // Where nothing is written, a page holds NaN.
        let empty = || [(); 2].map(|()| [0x00, 0x7e].repeat(format.bytes(dimension) / 2));
        let mut pages: Vec<_> = (0..positions.div_ceil(PAGE)).map(|_| empty()).collect();
        for position in 0..positions {
            let [page_keys, page_values] = &mut pages[position / PAGE];
            write_key(isa, format, page_keys, position % PAGE, &keys[position * dimension..][..dimension]);
            write_value(
                isa,
                format,
                page_values,
                position % PAGE,
                &values[position * dimension..][..dimension],
            );
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
        let formats = [CacheFormat::F16, CacheFormat::Q8_0];
        let fits = |format: &CacheFormat| usize::is_multiple_of(dimension, format.step());
        let cases = formats
            .into_iter()
            .filter(fits)
            .flat_map(|format| isas().into_iter().map(move |isa| (format, isa)));
        let width = 2 * group * dimension;
        for (format, isa) in cases {
            let attention = Attention { group, dimension, format, scale: 0.3, softcap, window };
            let mut random = Random::new(past as u64 + 1);
            let cache = Past::new(isa, format, past + tokens, dimension, &mut random);
            let queries = exactly(format, tokens * width, 127.0, &mut random);
            let attend = |tile_rows: usize| {
                let mut out = vec![f32::NAN; tokens * width];
                let tiles = Tiles::new(&mut out, width, tile_rows, group * dimension);
                while let Some(mut tile) = tiles.next(0) {
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
    let attention = Attention {
        group: 1,
        dimension: 16,
        format: CacheFormat::F16,
        scale: 1.0,
        softcap: None,
        window: None,
    };
    let (page, short) = (vec![0; PAGE * 32], vec![0; PAGE * 32 - 1]);
    let attend = |attention: &Attention, queries: usize, values: &[u8]| {
        let mut out = [0.0; 64];
        let tiles = Tiles::new(&mut out, 32, 2, 16);
        let page = Page { keys: &page, values };
        attention.attend(Isa::SCALAR, &vec![0.0; queries], 0, |_| page, &mut tiles.next(0).expect("it fits"))
    };
    assert!(attend(&attention, 64, &page).is_ok());
    assert!(attend(&attention, 63, &page).is_err(), "queries");
    assert!(attend(&attention, 64, &short).is_err(), "page");
    assert!(attend(&Attention { group: 2, ..attention }, 64, &page).is_err(), "group");
    for dimension in [0, 8, 512] {
        assert!(attend(&Attention { dimension, ..attention }, 64, &page).is_err(), "dimension {dimension}");
    }
    let half_a_block = Attention { format: CacheFormat::Q8_0, ..attention };
    assert!(attend(&half_a_block, 64, &page).is_err(), "no whole number of blocks");
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
        let mut page = vec![0; PAGE * 32];
        write_key(isa, CacheFormat::F16, &mut page, 17, &[1e6; 16]);
        write_value(isa, CacheFormat::F16, &mut page, 3, &[-1e6; 16]);
        let mut halves = page.as_chunks::<2>().0.iter().map(|bits| half::f16::from_ne_bytes(*bits));
        assert!(halves.all(half::f16::is_finite), "{isa}");
        let mut coded = vec![0; CacheFormat::Q8_0.bytes(32)];
        write_value(isa, CacheFormat::Q8_0, &mut coded, 3, &[-1e9; 32]);
        assert!(half::f16::from_ne_bytes([coded[6], coded[7]]).is_finite(), "{isa}");
    }
}
