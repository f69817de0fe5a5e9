//! Sums and selections over a row of logits, each in one pass. NaN and -∞ count as impossible.

use std::cmp::Ordering;

/// Values of a chunk that is looked at as a whole, small enough for a few vector registers.
const CHUNK: usize = 16;
/// Values whose sum is kept in single precision.
const BLOCK: usize = 1024;

/// Buckets for each step of 1 in logits, and enough of them for all weights that are not 0.
const BUCKETS_PER_UNIT: f32 = 8.0;
const BUCKETS: u16 = 8 * 86;

/// A token with its logit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    pub token: u32,
    pub logit: f32,
}

/// The `count` tokens of the highest logits from `least` on, highest first, of equals the lower number first.
pub fn highest(logits: &[f32], count: usize, least: f32) -> Vec<Candidate> {
    if count == 0 {
        return Vec::new();
    }
    // Twice as many as wanted, so that sorting out the lower half is seldom.
    let capacity = count.saturating_mul(2).min(logits.len()).max(1);
    let mut best = Vec::with_capacity(capacity);
    let mut threshold = least.next_down();
    for (index, chunk) in logits.chunks(CHUNK).enumerate() {
        // Counted rather than looked for, so that the compiler makes vectors of it.
        if chunk.iter().map(|&logit| u32::from(logit > threshold)).sum::<u32>() == 0 {
            continue;
        }
        for (offset, &logit) in chunk.iter().enumerate() {
            if logit > threshold {
                if best.len() == capacity && capacity > count {
                    threshold = keep(&mut best, count);
                    if logit <= threshold {
                        continue;
                    }
                }
                // A vocabulary is numbered by 32 bits.
                #[allow(clippy::cast_possible_truncation)]
                let token = (index * CHUNK + offset) as u32;
                best.push(Candidate { token, logit });
            }
        }
    }
    if best.len() > count {
        keep(&mut best, count);
    }
    best.sort_unstable_by(before);
    best
}

/// Keeps the first `count` in the order of `before` and returns the lowest logit among them.
fn keep(candidates: &mut Vec<Candidate>, count: usize) -> f32 {
    let (_, last, _) = candidates.select_nth_unstable_by(count - 1, before);
    let lowest = last.logit;
    candidates.truncate(count);
    lowest
}

#[allow(clippy::trivially_copy_pass_by_ref)] // The signature that sorting asks for.
fn before(left: &Candidate, right: &Candidate) -> Ordering {
    // There is no NaN among candidates.
    right.logit.partial_cmp(&left.logit).unwrap_or(Ordering::Equal).then(left.token.cmp(&right.token))
}

/// All tokens whose logit is at least `least`, in the order of the vocabulary.
pub fn from(logits: &[f32], least: f32) -> Vec<Candidate> {
    let all = (0..).zip(logits).map(|(token, &logit)| Candidate { token, logit });
    all.filter(|candidate| candidate.logit >= least && candidate.logit > f32::NEG_INFINITY).collect()
}

/// The fewest tokens that have this part of all probability together, in no particular order, but always the same.
///
/// Weights are summed in buckets of like logits, so that only the bucket with the last of the tokens is sorted.
pub fn nucleus(logits: &[f32], first: f32, part: f32) -> Vec<Candidate> {
    let mut sums = [0.0; BUCKETS as usize];
    for &logit in logits {
        if let Some(bucket) = bucket(logit, first) {
            sums[bucket] += f64::from(weight(logit, first, 1.0));
        }
    }
    let wanted = f64::from(part) * sums.iter().sum::<f64>();
    let mut sum = 0.0;
    let reaches = |more: &f64| {
        sum += more;
        sum >= wanted
    };
    let last = sums.iter().position(reaches).unwrap_or(sums.len() - 1);
    let before_last: f64 = sums[..last].iter().sum();
    let (mut kept, mut border) = (Vec::new(), Vec::new());
    for (token, &logit) in (0..).zip(logits) {
        match bucket(logit, first) {
            Some(bucket) if bucket < last => kept.push(Candidate { token, logit }),
            Some(bucket) if bucket == last => border.push(Candidate { token, logit }),
            _ => {}
        }
    }
    border.sort_unstable_by(before);
    border.truncate(shortest(&border, first, wanted - before_last));
    kept.append(&mut border);
    kept
}

/// How many of the candidates, from the first on, it takes to have the wanted weight together, or all of them.
pub fn shortest(candidates: &[Candidate], first: f32, wanted: f64) -> usize {
    let mut sum = 0.0;
    let reaches = |candidate: &Candidate| {
        sum += f64::from(weight(candidate.logit, first, 1.0));
        sum >= wanted
    };
    candidates.iter().position(reaches).map_or(candidates.len(), |last| last + 1)
}

/// The weight of all candidates together.
pub fn total(candidates: &[Candidate], first: f32, scale: f32) -> f64 {
    candidates.iter().map(|candidate| f64::from(weight(candidate.logit, first, scale))).sum()
}

/// Which bucket a logit falls into; `None` when its weight is 0.
fn bucket(logit: f32, first: f32) -> Option<usize> {
    let distance = (first - logit) * BUCKETS_PER_UNIT;
    // NaN fails the comparison; what passes is small and not negative.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (distance < f32::from(BUCKETS)).then_some(distance as usize)
}

/// The sum of exp((logit - highest) · scale) over all logits; `highest` is the highest of them, and finite.
pub fn sum_of_exponentials(logits: &[f32], highest: f32, scale: f32) -> f64 {
    logits.chunks(BLOCK).map(|block| f64::from(sum_of_block(block, highest, scale))).sum()
}

fn sum_of_block(block: &[f32], highest: f32, scale: f32) -> f32 {
    let mut sums = [0.0; CHUNK];
    let chunks = block.chunks_exact(CHUNK);
    let rest: f32 = chunks.remainder().iter().map(|&logit| weight(logit, highest, scale)).sum();
    for chunk in chunks {
        for (sum, &logit) in sums.iter_mut().zip(chunk) {
            *sum += weight(logit, highest, scale);
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// exp((logit - highest) · scale), 0 when that is below 10⁻³⁷ or not a number.
pub fn weight(logit: f32, highest: f32, scale: f32) -> f32 {
    let power = (logit - highest) * scale;
    // NaN fails the comparison.
    if power > -86.0 { exponential(power) } else { 0.0 }
}

/// exp(x) for -86 < x ≤ 0, to 2 units in the last place; written so that the compiler makes vectors of it.
///
/// Cody and Waite's reduction to |r| ≤ ln 2 / 2 and the polynomial of Cephes' `expf`
/// (<https://netlib.org/cephes/>, `single/expf.c`).
fn exponential(x: f32) -> f32 {
    /// Adding 1.5 · 2²³ rounds to a whole number and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    let r = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let mut sum = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5] {
        sum = sum * r + coefficient;
    }
    let power_of_two = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    (sum * r * r + r + 1.0) * power_of_two
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Candidate, before, exponential, highest, sum_of_exponentials};

    #[test]
    fn exponentials_are_right_to_a_few_units() {
        for step in 0..43_000u16 {
            let x = -f32::from(step) / 500.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exponential(x)) - exact).abs() / exact;
            assert!(error < 3e-7, "{x}: {error}");
        }
    }

    #[test]
    fn the_impossible_adds_nothing() {
        let sum = sum_of_exponentials(&[1.0, f32::NAN, f32::NEG_INFINITY, 1.0], 1.0, 1.0);
        assert!((sum - 2.0).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn the_highest_are_those_of_a_full_sort(
            logits in prop::collection::vec(
                prop_oneof![(-4i8..4).prop_map(f32::from), any::<f32>(), Just(f32::NEG_INFINITY), Just(f32::NAN)], 0..200),
            count in 0usize..60,
            least in prop_oneof![Just(f32::NEG_INFINITY), -3.0f32..3.0],
        ) {
            let mut all: Vec<Candidate> = (0..).zip(&logits).map(|(token, &logit)| Candidate { token, logit }).collect();
            all.retain(|candidate| candidate.logit >= least && candidate.logit > f32::NEG_INFINITY);
            all.sort_unstable_by(before);
            all.truncate(count);
            prop_assert_eq!(highest(&logits, count, least), all);
        }
    }
}
