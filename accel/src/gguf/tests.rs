use proptest::prelude::*;

use super::Gguf;
use super::sample::Sample;
use crate::error::Error;
use crate::kernels::Format;

fn small() -> Sample {
    Sample::default()
        .string("general.architecture", "llama")
        .u32("llama.block_count", 30)
        .f32("llama.rope.freq_base", 10_000.0)
        .strings("tokenizer.ggml.tokens", &["<s>", "Ġthe", ""])
        .tensor("output_norm.weight", &[3], &[1.0, 2.0, 3.0])
        .packed("blk.0.ffn_up.weight", Format::Q8_0, &[32, 2], &[7; 68])
}

fn message<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.expect_err("refused").to_string()
}

#[test]
fn values_come_back_by_key_and_type() {
    let gguf = Gguf::from_bytes(small().finish()).expect("a whole file");
    assert_eq!(gguf.require("general.architecture"), Ok("llama"));
    assert_eq!(gguf.require("llama.block_count"), Ok(30u32));
    assert_eq!(gguf.require("llama.block_count"), Ok(30usize));
    assert_eq!(gguf.require("llama.rope.freq_base"), Ok(10_000.0f32));
    assert_eq!(gguf.require("tokenizer.ggml.tokens"), Ok(vec!["<s>", "Ġthe", ""]));
    assert_eq!(gguf.get::<u32>("llama.vocab_size"), Ok(None));
    assert_eq!(gguf.keys().count(), 4);
}

#[test]
fn errors_name_the_key() {
    let gguf = Gguf::from_bytes(small().finish()).expect("a whole file");
    let wrong = message(gguf.require::<u32>("general.architecture"));
    assert_eq!(wrong, "the model file is damaged: general.architecture is of type string, not a u32");
    let missing = message(gguf.require::<u32>("llama.vocab_size"));
    assert_eq!(missing, "the model file is damaged: llama.vocab_size is missing");
}

#[test]
fn tensors_come_back_by_name() {
    let gguf = Gguf::from_bytes(small().finish()).expect("a whole file");
    let tensor = gguf.tensor("blk.0.ffn_up.weight").expect("there");
    assert_eq!((tensor.format, tensor.shape, tensor.data), (Format::Q8_0, &[32, 2][..], &[7; 68][..]));
    assert!(gguf.find_tensor("output.weight").expect("not an error").is_none());
    assert!(message(gguf.tensor("output.weight")).contains("output.weight is missing"));
}

#[test]
fn a_file_cut_anywhere_is_damaged() {
    let whole = small().finish();
    // The last tensor ends 28 bytes before its padding does.
    for length in 0..whole.len() - 28 {
        assert!(matches!(Gguf::from_bytes(whole[..length].to_vec()), Err(Error::Damaged(_))), "{length}");
    }
}

#[test]
fn what_is_there_twice_is_refused() {
    assert!(message(Gguf::from_bytes(small().u32("llama.block_count", 1).finish())).contains("twice"));
    let twice = small().tensor("output_norm.weight", &[1], &[1.0]);
    assert!(message(Gguf::from_bytes(twice.finish())).contains("twice"));
}

#[test]
fn lengths_that_lie_cost_nothing() {
    let huge = u64::MAX.to_le_bytes();
    for kind in [4u32, 8, 9, 10] {
        let mut array = kind.to_le_bytes().to_vec();
        array.extend_from_slice(&huge);
        assert!(
            message(Gguf::from_bytes(Sample::default().value("key", 9, &array).finish())).contains("damaged")
        );
    }
    for shape in [&[usize::MAX, usize::MAX][..], &[0], &[1 << 40, 1 << 40, 1 << 40], &[]] {
        let file = Sample::default().packed("tensor", Format::F32, shape, &[]).finish();
        assert!(matches!(Gguf::from_bytes(file), Err(Error::Damaged(_))), "{shape:?}");
    }
}

#[test]
fn arrays_nest_only_so_deep() {
    let level = [9u32.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec()].concat();
    let file = Sample::default().value("key", 9, &level.repeat(100_000)).finish();
    assert!(message(Gguf::from_bytes(file)).contains("levels deep"));
}

#[test]
fn other_versions_and_byte_orders_are_unsupported() {
    for (version, words) in [(1u32, "version 1"), (4, "version 4"), (3u32.swap_bytes(), "big-endian")] {
        let mut file = small().finish();
        file[4..8].copy_from_slice(&version.to_le_bytes());
        assert!(message(Gguf::from_bytes(file)).contains(words));
    }
}

#[test]
fn an_unknown_packing_spoils_only_its_own_tensor() {
    let whole = small().finish();
    let gguf = Gguf::from_bytes(whole.clone()).expect("a whole file");
    assert!(gguf.tensor("output_norm.weight").is_ok());
    // The type of a one-dimensional tensor follows its name, the number of dimensions and one length.
    let name = b"output_norm.weight";
    let at = whole.windows(name.len()).position(|window| window == name).expect("there") + name.len() + 12;
    let mut file = whole;
    file[at] = 39;
    let gguf = Gguf::from_bytes(file).expect("a whole file");
    assert!(matches!(gguf.tensor("output_norm.weight"), Err(Error::Unsupported(_))));
    assert!(gguf.tensor("blk.0.ffn_up.weight").is_ok());
}

proptest! {
    /// The body of the fuzz target `gguf`, for machines that have no fuzzer.
    #[test]
    fn damage_is_found_or_harmless(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut file = small().finish();
        for (place, value) in changes {
            let place = place.index(file.len());
            file[place] = value;
        }
        if let Ok(gguf) = Gguf::from_bytes(file) {
            gguf.touch();
        }
    }
}
