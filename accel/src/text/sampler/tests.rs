use proptest::prelude::*;

use super::{Sampler, Sampling};
use crate::error::Error;

/// No stage but the draw.
fn plain(seed: u64) -> Sampling {
    Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: Some(seed), ..Sampling::default() }
}

fn greedy() -> Sampling {
    Sampling { temperature: 0.0, ..plain(0) }
}

fn draw(sampling: &Sampling, logits: &[f32], count: usize) -> Vec<u32> {
    let mut sampler = Sampler::new(sampling.clone()).expect("in range");
    (0..count).map(|_| sampler.sample(&mut logits.to_vec(), None).expect("a token").token).collect()
}

/// Which tokens come up at all.
fn support(sampling: &Sampling, logits: &[f32]) -> Vec<u32> {
    let mut tokens = draw(sampling, logits, 2000);
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

fn logits(probabilities: &[f32]) -> Vec<f32> {
    probabilities.iter().map(|probability| probability.ln() + 3.0).collect()
}

/// χ² of draws against probabilities.
fn chi_squared(tokens: &[u32], probabilities: &[f64]) -> f64 {
    let total: f64 = probabilities.iter().sum();
    (0..)
        .zip(probabilities)
        .map(|(token, probability)| {
            #[allow(clippy::cast_precision_loss)]
            let (expected, seen) = (
                probability / total * tokens.len() as f64,
                tokens.iter().filter(|&&drawn| drawn == token).count() as f64,
            );
            (seen - expected).powi(2) / expected
        })
        .sum()
}

const SHARES: [f32; 5] = [0.4, 0.3, 0.15, 0.1, 0.05];
/// χ² with 4 degrees of freedom exceeds this once in a thousand seeds; the seeds here are fixed.
const LIMIT: f64 = 18.5;

#[test]
fn draws_are_distributed_as_the_model_says() {
    let expected = SHARES.map(f64::from);
    for sampling in [plain(1), Sampling { top_k: 5, ..plain(2) }, Sampling { top_p: 0.9999, ..plain(3) }] {
        let tokens = draw(&sampling, &logits(&SHARES), 20_000);
        assert!(chi_squared(&tokens, &expected) < LIMIT, "{sampling:?}");
    }
}

#[test]
fn temperature_is_a_power_of_the_probabilities() {
    for (temperature, power) in [(0.5, 2.0), (2.0, 0.5)] {
        let tokens = draw(&Sampling { temperature, ..plain(4) }, &logits(&SHARES), 20_000);
        let expected = SHARES.map(|share| f64::from(share).powf(power));
        assert!(chi_squared(&tokens, &expected) < LIMIT, "{temperature}");
    }
}

#[test]
fn no_temperature_takes_the_first_of_the_highest() {
    assert_eq!(draw(&greedy(), &[1.0, 3.0, f32::NAN, 3.0], 2), [1, 1]);
}

#[test]
fn each_stage_cuts_where_it_says() {
    let logits = logits(&SHARES);
    assert_eq!(support(&Sampling { top_k: 2, ..plain(5) }, &logits), [0, 1]);
    assert_eq!(support(&Sampling { top_p: 0.69, ..plain(5) }, &logits), [0, 1]);
    assert_eq!(support(&Sampling { top_p: 0.71, ..plain(5) }, &logits), [0, 1, 2]);
    assert_eq!(support(&Sampling { top_p: 0.0, ..plain(5) }, &logits), [0]);
    assert_eq!(support(&Sampling { min_p: 0.26, ..plain(5) }, &logits), [0, 1, 2]);
    assert_eq!(support(&Sampling { min_p: 1.0, ..plain(5) }, &logits), [0]);
}

#[test]
fn top_p_counts_among_the_top_k() {
    // 0.4 of 0.7 is 0.57.
    assert_eq!(support(&Sampling { top_k: 2, top_p: 0.56, ..plain(6) }, &logits(&SHARES)), [0]);
    assert_eq!(support(&Sampling { top_k: 2, top_p: 0.58, ..plain(6) }, &logits(&SHARES)), [0, 1]);
}

#[test]
fn cuts_come_before_temperature() {
    let hot = Sampling { temperature: 50.0, top_p: 0.69, ..plain(7) };
    assert_eq!(support(&hot, &logits(&SHARES)), [0, 1]);
}

#[test]
fn repetition_divides_or_multiplies() {
    let sampling = Sampling { repetition_penalty: 2.0, ..greedy() };
    let mut sampler = Sampler::new(sampling).expect("in range");
    sampler.read(&[0, 1]);
    assert_eq!(sampler.sample(&mut [3.0, -1.0, 1.6, -1.9], None).expect("a token").token, 2);
    assert_eq!(sampler.sample(&mut [3.0, -1.0, f32::NAN, -1.9], None).expect("a token").token, 0);
    assert_eq!(sampler.sample(&mut [f32::NAN, -1.0, f32::NAN, -1.9], None).expect("a token").token, 3);
}

#[test]
fn presence_counts_once_and_frequency_each_time() {
    for (presence_penalty, frequency_penalty, second) in [(1.0, 0.0, 2.4), (0.0, 1.0, 0.9), (1.0, 1.0, -0.1)]
    {
        let sampling = Sampling { presence_penalty, frequency_penalty, ..greedy() };
        let mut sampler = Sampler::new(sampling).expect("in range");
        sampler.read(&[0, 0]);
        // The first, at 3.0, falls just below the second where the penalty is what it should be.
        assert_eq!(sampler.sample(&mut [3.0, second - 0.5], None).expect("a token").token, 0);
        assert_eq!(sampler.sample(&mut [3.0, second + 1.2], None).expect("a token").token, 1);
    }
}

#[test]
fn penalties_forget_what_left_the_window() {
    let sampling = Sampling { presence_penalty: 10.0, penalty_window: 2, ..greedy() };
    assert_eq!(draw(&sampling, &[3.0, 2.0, 1.0], 6), [0, 1, 2, 0, 1, 2]);
    let mut sampler = Sampler::new(sampling).expect("in range");
    sampler.read(&[0, 1, 2]);
    assert_eq!(sampler.sample(&mut [3.0, 2.0, 1.0], None).expect("a token").token, 0);
}

#[test]
fn a_token_outside_the_vocabulary_is_no_trouble() {
    let mut sampler = Sampler::new(Sampling { presence_penalty: 1.0, ..greedy() }).expect("in range");
    sampler.read(&[u32::MAX]);
    assert_eq!(sampler.sample(&mut [0.0, 1.0], None).expect("a token").token, 1);
}

#[test]
fn log_probabilities_are_the_models_own() {
    let sampling = Sampling {
        log_probabilities: Some(2),
        presence_penalty: 9.0,
        temperature: 0.1,
        top_k: 1,
        ..plain(8)
    };
    let mut sampler = Sampler::new(sampling).expect("in range");
    sampler.read(&[0]);
    let choice = sampler.sample(&mut logits(&SHARES), None).expect("a token");
    assert_eq!(choice.token, 1);
    let close = |value: f32, share: f32| (value - share.ln()).abs() < 1e-5;
    assert!(choice.log_probability.is_some_and(|value| close(value, 0.3)));
    assert_eq!(choice.alternatives.iter().map(|one| one.token).collect::<Vec<_>>(), [0, 1]);
    assert!(close(choice.alternatives[0].value, 0.4) && close(choice.alternatives[1].value, 0.3));
    // What was penalized is reported as it was before.
    let mut sampler =
        Sampler::new(Sampling { log_probabilities: Some(0), presence_penalty: 0.1, ..greedy() })
            .expect("in range");
    sampler.read(&[0]);
    let choice = sampler.sample(&mut logits(&SHARES), None).expect("a token");
    assert!(choice.token == 0 && choice.alternatives.is_empty());
    assert!(choice.log_probability.is_some_and(|value| close(value, 0.4)));
}

#[test]
fn only_what_is_possible_is_drawn() {
    let impossible = [f32::NAN, f32::NEG_INFINITY];
    assert!(matches!(
        Sampler::new(plain(9)).and_then(|mut sampler| sampler.sample(&mut impossible.to_vec(), None)),
        Err(Error::Failed(_))
    ));
    assert_eq!(support(&plain(9), &[f32::NAN, f32::NEG_INFINITY, 0.0, f32::NAN, 0.0]), [2, 4]);
    assert_eq!(support(&plain(9), &[0.0, f32::INFINITY, f32::NAN]), [1]);
    assert!(Sampler::new(plain(9)).and_then(|mut sampler| sampler.sample(&mut [], None)).is_err());
}

#[test]
fn numbers_out_of_range_are_refused() {
    for wrong in [
        Sampling { temperature: -0.1, ..plain(0) },
        Sampling { temperature: f32::NAN, ..plain(0) },
        Sampling { temperature: f32::INFINITY, ..plain(0) },
        Sampling { top_p: 1.1, ..plain(0) },
        Sampling { min_p: -0.1, ..plain(0) },
        Sampling { repetition_penalty: 0.0, ..plain(0) },
        Sampling { presence_penalty: f32::NAN, ..plain(0) },
    ] {
        assert!(matches!(Sampler::new(wrong), Err(Error::BadRequest(_))));
    }
}

/// The stages one after another on a sorted list, as the documentation has them.
fn allowed(sampling: &Sampling, logits: &[f32]) -> Vec<u32> {
    let mut order: Vec<(u32, f64)> = (0..).zip(logits.iter().map(|&logit| f64::from(logit))).collect();
    order.retain(|(_, logit)| *logit > f64::NEG_INFINITY);
    order.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
    if sampling.top_k > 0 {
        order.truncate(sampling.top_k);
    }
    let first = order[0].1;
    let total: f64 = order.iter().map(|(_, logit)| (logit - first).exp()).sum();
    let mut sum = 0.0;
    if sampling.top_p < 1.0 {
        let reaches = |(_, logit): &(u32, f64)| {
            sum += (logit - first).exp() / total;
            sum >= f64::from(sampling.top_p)
        };
        let kept = order.iter().position(reaches).map_or(order.len(), |last| last + 1);
        order.truncate(kept);
    }
    order.retain(|(_, logit)| *logit >= first + f64::from(sampling.min_p).ln() - 1e-5);
    order.into_iter().map(|(token, _)| token).collect()
}

proptest! {
    #[test]
    fn what_is_drawn_passed_every_stage(
        logits in prop::collection::vec(prop_oneof![-20f32..20.0, Just(f32::NEG_INFINITY), Just(f32::NAN)], 1..700),
        top_k in prop_oneof![Just(0usize), 1usize..100],
        top_p in prop_oneof![Just(1.0f32), 0.0f32..1.0],
        min_p in prop_oneof![Just(0.0f32), 0.0f32..1.0],
        temperature in 0.0f32..5.0,
        seed in any::<u64>(),
    ) {
        prop_assume!(logits.iter().any(|logit| logit.is_finite()));
        let sampling = Sampling { temperature, top_k, top_p, min_p, seed: Some(seed), ..Sampling::default() };
        // One more than the exact sums allow, where they end within rounding of top-p.
        let wider = Sampling { top_p: (top_p + 1e-5).min(1.0), ..sampling.clone() };
        let allowed = allowed(&wider, &logits);
        for token in draw(&sampling, &logits, 5) {
            prop_assert!(allowed.contains(&token));
        }
        prop_assert_eq!(draw(&sampling, &logits, 5), draw(&sampling, &logits, 5));
    }
}
