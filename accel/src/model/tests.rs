use std::ops::ControlFlow;

use proptest::prelude::*;

use super::{Model, Options, score};
use crate::decoder::{Chunk, Decoder, Sequence, Wanted};
use crate::error::Error;
use crate::gguf::Gguf;
use crate::gguf::sample::Sample;
use crate::kernels::{Isa, PAGE};

const WIDTH: usize = 32;
const VOCABULARY: u32 = 23;
const CONTEXT: u32 = 300;

/// Numbers without a pattern, about as large as weights are.
fn weights(seed: usize, count: usize) -> Vec<f32> {
    let mut state = u32::try_from(seed).expect("small").wrapping_mul(2_654_435_761).max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f32::from(u16::try_from(state >> 16).expect("16 bits")) / 65_536.0 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

fn tiny(architecture: &str) -> Sample {
    let key = |name: &str| format!("{architecture}.{name}");
    let mut sample = Sample::default()
        .string("general.architecture", architecture)
        .u32(&key("block_count"), 2)
        .u32(&key("context_length"), CONTEXT)
        .u32(&key("embedding_length"), 32)
        .u32(&key("feed_forward_length"), 64)
        .u32(&key("attention.head_count"), 2)
        .u32(&key("attention.head_count_kv"), 1)
        .f32(&key("attention.layer_norm_rms_epsilon"), 1e-5)
        .tensor("token_embd.weight", &[WIDTH, 23], &weights(1, WIDTH * 23))
        .tensor("output_norm.weight", &[WIDTH], &[1.0; WIDTH]);
    let parts = [("attn_q", 32, 32), ("attn_k", 32, 16), ("attn_v", 32, 16), ("attn_output", 32, 32)];
    let inner = [("ffn_gate", 32, 64), ("ffn_up", 32, 64), ("ffn_down", 64, 32)];
    for layer in 0..2 {
        for norm in ["attn_norm", "ffn_norm"] {
            sample = sample.tensor(&format!("blk.{layer}.{norm}.weight"), &[WIDTH], &[1.0; WIDTH]);
        }
        for (index, (part, columns, rows)) in parts.iter().chain(&inner).enumerate() {
            let values = weights(100 * layer + index + 2, columns * rows);
            sample = sample.tensor(&format!("blk.{layer}.{part}.weight"), &[*columns, *rows], &values);
        }
    }
    sample
}

fn load(sample: Sample, options: Options) -> Result<Model, Error> {
    Model::load(&Gguf::from_bytes(sample.finish())?, options, &mut |_, _| ControlFlow::Continue(()))
}

fn model(threads: usize, pages: usize) -> Model {
    let page = 2 * 2 * PAGE * 16 * 2;
    let options = Options { threads, cache_bytes: Some(pages * page), ..Options::default() };
    load(tiny("llama"), options).expect("a model")
}

fn last_logits(model: &mut Model, sequence: Sequence, tokens: &[u32]) -> Vec<f32> {
    let mut logits = Vec::new();
    for tokens in tokens.chunks(model.batch()) {
        model.decode(&[Chunk { sequence, tokens, wanted: Wanted::Last }], &mut logits).expect("room");
    }
    logits
}

fn text(length: u32) -> Vec<u32> {
    (0..length).map(|index| (index * index + 3) % VOCABULARY).collect()
}

#[test]
fn all_ways_to_read_a_text_give_the_same_bits() {
    let tokens = text(150);
    let mut alone = model(1, 20);
    let sequence = alone.open();
    let expected = last_logits(&mut alone, sequence, &tokens);
    let mut model = model(3, 20);
    let (sequence, other) = (model.open(), model.open());
    let mut logits = Vec::new();
    let mut rest = &tokens[..];
    for count in [1, 2, 7, 64, 1, 30, 45] {
        let (these, others) = rest.split_at(count);
        rest = others;
        let neighbour = Chunk { sequence: other, tokens: &tokens[..=count / 3], wanted: Wanted::All };
        let chunk = Chunk { sequence, tokens: these, wanted: Wanted::Last };
        model.decode(&[neighbour, chunk], &mut logits).expect("room");
    }
    assert!(rest.is_empty());
    assert_eq!(logits[logits.len() - model.vocabulary()..], expected);
}

#[test]
fn vectors_of_any_width_give_the_same_bits() {
    let tokens = text(150);
    let read = |isa: Option<Isa>, count: usize| {
        let options = Options { threads: 2, isa, ..Options::default() };
        let mut model = load(tiny("llama"), options).expect("a model");
        let sequence = model.open();
        let chunks = tokens.chunks(count);
        chunks.map(|tokens| last_logits(&mut model, sequence, tokens)).last().expect("logits")
    };
    // Token by token, all sets have their turns and one wins.
    let expected = read(None, 1);
    for isa in Isa::detect().alike() {
        for count in [1, 50] {
            assert_eq!(read(Some(isa), count), expected, "{isa}, {count} tokens at once");
        }
    }
}

#[test]
fn all_rows_are_the_last_rows_of_shorter_texts() {
    let tokens = text(70);
    let mut model = model(2, 20);
    let mut rows = Vec::new();
    let sequence = model.open();
    model.decode(&[Chunk { sequence, tokens: &tokens, wanted: Wanted::All }], &mut rows).expect("room");
    for length in [1, 64, 65, 70] {
        let sequence = model.open();
        let last = last_logits(&mut model, sequence, &tokens[..length]);
        assert_eq!(rows[(length - 1) * 23..length * 23], last);
    }
}

#[test]
fn scores_are_log_probabilities() {
    let mut model = model(1, 20);
    let total: f32 =
        (0..VOCABULARY).map(|token| score(&mut model, &[5, token]).expect("room")[0].exp()).sum();
    assert!((total - 1.0).abs() < 1e-5);
    assert_eq!(model.cache_bytes(), 0);
}

#[test]
fn a_step_that_does_not_fit_changes_nothing() {
    let mut model = model(1, 2);
    let page = model.cache_bytes_for(1) / 2;
    let (sequence, other) = (model.open(), model.open());
    let before = last_logits(&mut model, sequence, &text(60));
    let mut logits = Vec::new();
    let chunks = [(sequence, 5), (other, 65)].map(|(sequence, length)| (sequence, text(length)));
    let chunks = chunks.each_ref().map(|(sequence, tokens)| Chunk {
        sequence: *sequence,
        tokens,
        wanted: Wanted::Last,
    });
    assert!(matches!(model.decode(&chunks, &mut logits), Err(Error::OutOfMemory(_))));
    assert_eq!((model.length(sequence), model.length(other), model.cache_bytes()), (60, 0, page));
    model.truncate(sequence, 59);
    assert_eq!(last_logits(&mut model, sequence, &text(60)[59..]), before);
}

#[test]
fn the_context_ends() {
    let mut model = model(1, 20);
    let sequence = model.open();
    last_logits(&mut model, sequence, &text(CONTEXT));
    let chunk = Chunk { sequence, tokens: &[1], wanted: Wanted::Last };
    assert_eq!(model.decode(&[chunk], &mut Vec::new()), Err(Error::TooLong { tokens: 301 }));
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let refused = |sample: Sample| load(sample, Options::default()).expect_err("refused").to_string();
    assert!(refused(tiny("mamba")).ends_with("the architecture mamba"));
    assert!(refused(tiny("llama").u32("llama.expert_count", 8)).ends_with("a mixture of experts"));
    let biased = tiny("llama").tensor("blk.0.ffn_up.bias", &[64], &[0.0; 64]);
    assert!(refused(biased).ends_with("the tensor blk.0.ffn_up.bias"));
    assert!(refused(tiny("qwen3")).ends_with("the tensor blk.0.attn_q_norm.weight is missing"));
    assert!(refused(tiny("llama").string("llama.rope.scaling.type", "yarn")).contains("yarn"));
}

#[test]
fn loading_tells_how_far_it_is_and_can_be_broken_off() {
    let gguf = Gguf::from_bytes(tiny("llama").finish()).expect("a whole file");
    let mut steps = Vec::new();
    let mut note = |done, total| {
        steps.push((done, total));
        if steps.len() == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    assert!(matches!(Model::load(&gguf, Options::default(), &mut note), Err(Error::Failed(_))));
    assert_eq!(steps.len(), 5);
    assert!(steps.is_sorted() && steps.iter().all(|(done, total)| done <= total));
}

/// What can happen to sequences; numbers choose among those that are open.
#[derive(Debug, Clone)]
enum Event {
    Open,
    Fork(prop::sample::Index, prop::sample::Index),
    Truncate(prop::sample::Index, prop::sample::Index),
    Close(prop::sample::Index),
    Say(Vec<(prop::sample::Index, u32)>),
}

fn event() -> impl Strategy<Value = Event> {
    use prop::sample::Index;
    prop_oneof![
        Just(Event::Open),
        any::<(Index, Index)>().prop_map(|(from, length)| Event::Fork(from, length)),
        any::<(Index, Index)>().prop_map(|(of, length)| Event::Truncate(of, length)),
        any::<Index>().prop_map(Event::Close),
        prop::collection::vec((any::<Index>(), 1u32..70), 1..3).prop_map(Event::Say),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Sequences that share pages say what each would say alone, and pages are given back.
    #[test]
    fn sequences_are_nobody_elses_business(events in prop::collection::vec(event(), 1..24)) {
        let mut shared = model(2, 9);
        let mut open: Vec<(Sequence, Vec<u32>)> = Vec::new();
        let mut logits = Vec::new();
        let mut salt = 0;
        for event in events {
            match event {
                Event::Say(_) | Event::Fork(..) | Event::Truncate(..) | Event::Close(_) if open.is_empty() => {}
                Event::Open => open.push((shared.open(), Vec::new())),
                Event::Fork(from, length) => {
                    let (from, said) = from.get(&open);
                    let length = length.index(said.len() + 1);
                    let said = said[..length].to_vec();
                    let fork = shared.fork(*from, length);
                    open.push((fork, said));
                }
                Event::Truncate(of, length) => {
                    let index = of.index(open.len());
                    let (sequence, said) = &mut open[index];
                    said.truncate(length.index(said.len() + 1));
                    shared.truncate(*sequence, said.len());
                }
                Event::Close(which) => shared.close(open.swap_remove(which.index(open.len())).0),
                Event::Say(chunks) => {
                    salt += 1;
                    let mut added: Vec<(usize, Vec<u32>)> = Vec::new();
                    for (which, count) in chunks {
                        let which = which.index(open.len());
                        if added.iter().all(|(other, _)| *other != which) {
                            let tokens = (0..count).map(|index| (index * 7 + salt) % VOCABULARY).collect();
                            added.push((which, tokens));
                        }
                    }
                    let chunks: Vec<_> = added
                        .iter()
                        .map(|(which, tokens)| Chunk { sequence: open[*which].0, tokens, wanted: Wanted::Last })
                        .collect();
                    if shared.decode(&chunks, &mut logits).is_ok() {
                        for (row, (which, tokens)) in added.iter().enumerate() {
                            open[*which].1.extend(tokens);
                            let mut alone = model(1, 9);
                            let sequence = alone.open();
                            let expected = last_logits(&mut alone, sequence, &open[*which].1);
                            prop_assert_eq!(&logits[row * 23..][..23], &expected[..]);
                        }
                    }
                }
            }
            for (sequence, said) in &open {
                prop_assert_eq!(shared.length(*sequence), said.len());
            }
            prop_assert!(shared.cache_bytes() <= shared.describe().cache_bytes);
        }
        for (sequence, _) in open {
            shared.close(sequence);
        }
        prop_assert_eq!(shared.cache_bytes(), 0);
    }
}
