use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

use proptest::prelude::*;

use super::read;
use crate::gguf::sample::Sample;

const WIDTH: usize = 32;
const TOKENS: [&str; 8] = ["a", "b", "Ġ", "▁", "ab", "<s>", "<|im_end|>", "<0x0A>"];
const KINDS: [i32; 8] = [1, 1, 1, 1, 4, 3, 3, 6];
const TEMPLATE: &str =
    "{% for m in messages %}<s>{{ m.role|upper }}{{ m.content | trim }}{% endfor %}{{ tools|tojson }}";

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/gguf")
}

fn numbers(sample: Sample, key: &str, kind: u32, numbers: &[[u8; 4]]) -> Sample {
    let head = [kind.to_le_bytes().to_vec(), (numbers.len() as u64).to_le_bytes().to_vec()].concat();
    sample.value(key, 9, &[head, numbers.concat()].concat())
}

/// A whole model of one layer: what the fuzzer begins with.
fn seed(architecture: &str, tokenizer: &str) -> Vec<u8> {
    let key = |name: &str| format!("{architecture}.{name}");
    let mut sample = Sample::default()
        .string("general.architecture", architecture)
        .u32(&key("block_count"), 1)
        .u32(&key("context_length"), 64)
        .u32(&key("embedding_length"), 32)
        .u32(&key("feed_forward_length"), 32)
        .u32(&key("attention.head_count"), 2)
        .u32(&key("attention.head_count_kv"), 1)
        .f32(&key("attention.layer_norm_rms_epsilon"), 1e-5)
        .string("tokenizer.ggml.model", tokenizer)
        .string("tokenizer.ggml.pre", "llama-bpe")
        .strings("tokenizer.ggml.tokens", &TOKENS)
        .strings("tokenizer.ggml.merges", &["a b"])
        .u32("tokenizer.ggml.bos_token_id", 5)
        .u32("tokenizer.ggml.eos_token_id", 6)
        .string("tokenizer.chat_template", TEMPLATE);
    sample = numbers(sample, "tokenizer.ggml.token_type", 5, &KINDS.map(i32::to_le_bytes));
    sample = numbers(sample, "tokenizer.ggml.scores", 6, &[-1.5f32; 8].map(f32::to_le_bytes));
    let matrices = [("attn_q", 32), ("attn_k", 16), ("attn_v", 16), ("attn_output", 32)];
    let inner = [("ffn_gate", 32), ("ffn_up", 32), ("ffn_down", 32)];
    sample = sample.tensor("token_embd.weight", &[WIDTH, 8], &[0.25; WIDTH * 8]);
    sample = sample.tensor("output_norm.weight", &[WIDTH], &[1.0; WIDTH]);
    let norms = ["attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"];
    for norm in &norms[..if architecture == "gemma3" { 4 } else { 2 }] {
        sample = sample.tensor(&format!("blk.0.{norm}.weight"), &[WIDTH], &[1.0; WIDTH]);
    }
    for norm in ["attn_q_norm", "attn_k_norm"].iter().filter(|_| architecture != "llama") {
        sample = sample.tensor(&format!("blk.0.{norm}.weight"), &[16], &[1.0; 16]);
    }
    for (part, rows) in matrices.into_iter().chain(inner) {
        let values: Vec<u8> = (0..rows * WIDTH / 32).flat_map(|_| [0; 34]).collect();
        let name = format!("blk.0.{part}.weight");
        sample = sample.packed(&name, crate::kernels::Format::Q8_0, &[WIDTH, rows], &values);
    }
    sample.finish()
}

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("seed-llama", seed("llama", "gpt2")),
        ("seed-gemma", seed("gemma3", "llama")),
        ("seed-qwen", seed("qwen3", "gpt2")),
    ]
}

#[test]
#[ignore = "writes what the fuzzer begins with"]
fn write_seeds() {
    for (name, bytes) in seeds() {
        fs::write(corpus().join(name), bytes).expect("a folder");
    }
}

#[test]
fn the_seeds_are_whole_models() {
    for (name, bytes) in seeds() {
        let gguf = crate::gguf::Gguf::from_bytes(bytes).expect("a whole file");
        let tokenizer = crate::text::Tokenizer::from_gguf(&gguf).expect("a tokenizer");
        let template = crate::text::Template::from_gguf(&gguf, &tokenizer).expect("a template");
        assert!(!template.is_stand_in());
        let options = crate::model::Options { threads: 1, ..crate::model::Options::default() };
        let loaded =
            crate::model::Model::load(&gguf, options, &mut |_, _| std::ops::ControlFlow::Continue(()));
        assert!(loaded.is_ok(), "{name}: {:?}", loaded.err());
    }
}

#[test]
fn what_the_fuzzer_has_found_is_no_trouble() {
    let mut files: Vec<_> =
        fs::read_dir(corpus()).expect("a corpus").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(files.len() > 20, "{} files", files.len());
    let size: u64 = files.iter().map(|file| file.metadata().expect("a file").len()).sum();
    assert!(size < 400_000, "{size} bytes are too much to commit");
    for file in files {
        let bytes = fs::read(&file).expect("a file");
        assert!(catch_unwind(|| read(&bytes)).is_ok(), "{}", file.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn damage_anywhere_is_no_trouble(
        which in 0..3usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let (_, mut bytes) = seeds().swap_remove(which);
        for (place, value) in damage {
            // The head, where damage tells most.
            let place = place.index(1500.min(bytes.len()));
            bytes[place] = value;
        }
        if is_cut {
            bytes.truncate(length.index(bytes.len()));
        }
        read(&bytes);
    }
}
