//! Measures a model: loading, a prompt of 512 tokens, 128 tokens after it, and 2, 4 and 8 sequences at once.
//!
//! `measure MODEL.gguf [THREADS [RUNS [ISA]]]`. Prints a line of JSON for each run, rates in tokens per second; those of
//! answers are by the median step, in which other programs had no part unless they had one in most.

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use _native::decoder::{Chunk, Decoder, Sequence, Wanted};
use _native::gguf::Gguf;
use _native::kernels::{Isa, argmax};
use _native::model::{Model, Options};

const PROMPT: usize = 512;
const ANSWER: usize = 128;
/// How many sequences go on at once.
const SEQUENCES: [usize; 4] = [1, 2, 4, 8];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("measure MODEL.gguf [THREADS [RUNS [ISA]]]")?;
    let number = |index: usize, default: usize| arguments.get(index).map_or(Ok(default), |text| text.parse());
    let isa = arguments.get(3).map(|name| Isa::named(name)).transpose()?;
    let context = PROMPT + (ANSWER + 64) * 9;
    let options = Options { threads: number(1, 2)?, isa, context: Some(context), ..Options::default() };
    let runs = number(2, 3)?;

    let began = Instant::now();
    let gguf = Gguf::open(Path::new(path))?;
    let mut model = Model::load(&gguf, options, &mut |_, _| ControlFlow::Continue(()))?;
    let load = began.elapsed().as_secs_f64();
    let isa = isa.unwrap_or_else(Isa::detect);
    for run in 0..runs {
        let began = Instant::now();
        let (sequence, first) = read_prompt(&mut model, isa)?;
        let prefill = rate(PROMPT, began);

        print!("{{\"run\": {run}, \"threads\": {}, \"load_seconds\": {load:.3}", options.threads);
        print!(", \"prefill\": {prefill:.1}");
        for count in SEQUENCES {
            let shared: Vec<_> = (0..count).map(|_| model.fork(sequence, PROMPT)).collect();
            print!(", \"decode_{count}\": {:.1}", generate(&mut model, isa, &shared, first)?);
            for sequence in shared {
                model.close(sequence);
            }
        }
        println!("}}");
        model.close(sequence);
    }
    Ok(())
}

fn rate(tokens: usize, since: Instant) -> f64 {
    f64::from(u32::try_from(tokens).unwrap_or(u32::MAX)) / since.elapsed().as_secs_f64()
}

/// Reads a prompt of tokens from all over the vocabulary; returns its sequence and what the model says next.
fn read_prompt(model: &mut Model, isa: Isa) -> Result<(Sequence, u32), Box<dyn Error>> {
    let vocabulary = u32::try_from(model.vocabulary())?;
    let prompt: Vec<_> = (0..u32::try_from(PROMPT)?).map(|index| (index * 7919 + 13) % vocabulary).collect();
    let sequence = model.open();
    let mut logits = Vec::new();
    for tokens in prompt.chunks(model.batch()) {
        let wanted = if prompt.ends_with(tokens) { Wanted::Last } else { Wanted::None };
        model.decode(&[Chunk { sequence, tokens, wanted }], &mut logits)?;
    }
    Ok((sequence, best(&logits, isa)))
}

/// Lets sequences go on together with their likeliest tokens; returns their rate.
fn generate(model: &mut Model, isa: Isa, sequences: &[Sequence], first: u32) -> Result<f64, Box<dyn Error>> {
    let mut rates = Vec::with_capacity(ANSWER);
    let mut latest = vec![first; sequences.len()];
    let mut logits = Vec::new();
    for _ in 0..ANSWER {
        let began = Instant::now();
        let chunks: Vec<_> = sequences
            .iter()
            .zip(&latest)
            .map(|(sequence, token)| Chunk {
                sequence: *sequence,
                tokens: std::slice::from_ref(token),
                wanted: Wanted::Last,
            })
            .collect();
        model.decode(&chunks, &mut logits)?;
        latest = logits.chunks_exact(model.vocabulary()).map(|row| best(row, isa)).collect();
        rates.push(rate(sequences.len(), began));
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[ANSWER / 2])
}

fn best(logits: &[f32], isa: Isa) -> u32 {
    argmax(isa, logits).and_then(|token| u32::try_from(token).ok()).unwrap_or(0)
}
