//! How long one choice takes: `sampling [VOCABULARY]`, microseconds for each setting.

use std::time::Instant;

use _native::error::Result;
use _native::text::{Sampler, Sampling};

const ROUNDS: usize = 200;

fn main() -> Result<()> {
    let vocabulary = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(49_152usize);
    let off =
        Sampling { temperature: 0.8, top_k: 0, top_p: 1.0, min_p: 0.0, seed: Some(1), ..Sampling::default() };
    for (name, sampling) in [
        ("greedy", Sampling { temperature: 0.0, ..off.clone() }),
        ("top-k 40, top-p 0.95, min-p 0.05", Sampling { seed: Some(1), ..Sampling::default() }),
        (
            "the same with penalties",
            Sampling { repetition_penalty: 1.1, seed: Some(1), ..Sampling::default() },
        ),
        (
            "the same, 5 log-probabilities",
            Sampling { log_probabilities: Some(5), seed: Some(1), ..Sampling::default() },
        ),
        ("min-p 0.05", Sampling { min_p: 0.05, ..off.clone() }),
        ("top-p 0.95", Sampling { top_p: 0.95, ..off.clone() }),
        ("all", off),
    ] {
        println!("{:8.1} µs  {name}", median(&sampling, vocabulary)?);
    }
    Ok(())
}

/// Median over rows that are like a model's: most logits near 0, some far above.
fn median(sampling: &Sampling, vocabulary: usize) -> Result<f64> {
    let mut sampler = Sampler::new(sampling.clone())?;
    let mut state = 1u64;
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let mut logits: Vec<f32> = (0..vocabulary).map(|_| logit(&mut state)).collect();
        let start = Instant::now();
        sampler.sample(&mut logits, None)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[ROUNDS / 2])
}

/// The sum of four even numbers, nearly normal with a deviation of 2.3.
fn logit(state: &mut u64) -> f32 {
    (0..4)
        .map(|_| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            #[allow(clippy::cast_precision_loss)]
            let number = (*state >> 40) as f32;
            number / 16_777_216.0 * 4.0 - 2.0
        })
        .sum()
}
