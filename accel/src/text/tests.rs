//! Small models for the tests of this module, and what no file and no text may do to it.

use std::sync::{Arc, OnceLock};

use proptest::prelude::*;

use super::{Constraints, Template, Tokenizer};
use crate::error::Error;
use crate::gguf::Gguf;
use crate::gguf::sample::Sample;

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

fn strings(sample: Sample, key: &str, strings: &[Vec<u8>]) -> Sample {
    let mut bytes = array(8, strings.len());
    for string in strings {
        bytes.extend_from_slice(&(string.len() as u64).to_le_bytes());
        bytes.extend_from_slice(string);
    }
    sample.value(key, 9, &bytes)
}

fn integers(sample: Sample, key: &str, numbers: &[i32]) -> Sample {
    let mut bytes = array(5, numbers.len());
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    sample.value(key, 9, &bytes)
}

fn floats(sample: Sample, key: &str, numbers: &[f32]) -> Sample {
    let mut bytes = array(6, numbers.len());
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    sample.value(key, 9, &bytes)
}

fn array(kind: u32, length: usize) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &(length as u64).to_le_bytes()].concat()
}

fn flag(sample: Sample, key: &str, flag: bool) -> Sample {
    sample.value(key, 7, &[u8::from(flag)])
}

fn open(sample: Sample) -> crate::error::Result<Tokenizer> {
    Tokenizer::from_gguf(&Gguf::from_bytes(sample.finish())?)
}

/// A byte-pair vocabulary: all bytes by their number, then `more`.
fn byte_pair(more: &[(&str, i32)], merges: &[&str]) -> Sample {
    let alphabet = ('!'..='~').chain('¡'..='¬').chain('®'..='ÿ').chain('Ā'..='Ń');
    let texts = alphabet.map(String::from).chain(more.iter().map(|(text, _)| (*text).to_owned()));
    let texts: Vec<Vec<u8>> = texts.map(String::into_bytes).collect();
    let kinds: Vec<i32> =
        std::iter::repeat_n(NORMAL, 256).chain(more.iter().map(|(_, kind)| *kind)).collect();
    let sample =
        Sample::default().string("tokenizer.ggml.model", "gpt2").string("tokenizer.ggml.pre", "gpt-2");
    let sample =
        integers(strings(sample, "tokenizer.ggml.tokens", &texts), "tokenizer.ggml.token_type", &kinds);
    sample.strings("tokenizer.ggml.merges", merges)
}

/// A SentencePiece vocabulary: unknown, beginning, end, then `pieces` with their scores.
fn sentence_piece(pieces: &[(&str, f32)]) -> Sample {
    let special = ["<unk>", "<s>", "</s>"].map(|text| (text.to_owned(), CONTROL, 0.0));
    let bytes = (0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), BYTE, 0.0));
    let pieces = pieces.iter().map(|(text, score)| ((*text).to_owned(), NORMAL, *score));
    let all: Vec<(String, i32, f32)> = special.into_iter().chain(bytes).chain(pieces).collect();
    let texts: Vec<Vec<u8>> = all.iter().map(|(text, _, _)| text.clone().into_bytes()).collect();
    let kinds: Vec<i32> = all.iter().map(|(_, kind, _)| *kind).collect();
    let scores: Vec<f32> = all.iter().map(|(_, _, score)| *score).collect();
    let sample =
        strings(Sample::default().string("tokenizer.ggml.model", "llama"), "tokenizer.ggml.tokens", &texts);
    floats(integers(sample, "tokenizer.ggml.token_type", &kinds), "tokenizer.ggml.scores", &scores)
}

const PIECES: [(&str, f32); 8] = [
    ("▁", -1.0),
    ("a", -2.0),
    ("b", -2.0),
    ("c", -2.0),
    ("ab", -3.0),
    ("bc", -1.5),
    ("▁a", -4.0),
    ("▁abc", -9.0),
];

fn texts(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<String> {
    tokens.iter().map(|&token| String::from_utf8_lossy(tokenizer.token_bytes(token)).into_owned()).collect()
}

/// A small chat model, as constraints and templates want one.
pub fn chat_model() -> Tokenizer {
    let special = [("<|im_start|>", CONTROL), ("<|im_end|>", CONTROL), ("\":", NORMAL), ("Ġtrue", NORMAL)];
    open(byte_pair(&special, &["t r", "tr u", "tru e", "Ġ true"]).u32("tokenizer.ggml.eos_token_id", 257))
        .expect("a whole model")
}

#[test]
fn byte_pairs_merge_in_the_order_of_their_ranks() {
    let tokenizer =
        open(byte_pair(&[("ab", 1), ("bc", 1), ("abc", 1), ("Ġa", 1)], &["b c", "a b", "a bc", "Ġ a"]))
            .expect("a whole model");
    let split = |text: &str| texts(&tokenizer, &tokenizer.encode(text, false, false));
    assert_eq!(split("abc ab\n  a"), ["abc", " ", "ab", "\n", " ", " a"]);
    assert_eq!(split("é"), ["\u{fffd}", "\u{fffd}"]);
}

#[test]
fn pieces_merge_by_their_scores() {
    let tokenizer = open(sentence_piece(&PIECES)).expect("a whole model");
    let split = |text: &str| texts(&tokenizer, &tokenizer.encode(text, true, false));
    // "bc" before "ab", which left "a" to the space.
    assert_eq!(split("abc"), ["<s>", " abc"]);
    assert_eq!(split("ab é"), ["<s>", " ", "ab", " ", "\u{fffd}", "\u{fffd}"]);
    assert_eq!(split(""), ["<s>"]);
}

#[test]
fn control_tokens_are_read_only_when_asked_for() {
    let special = [("<|a|>", CONTROL), ("<|a|><|a|>", CONTROL), ("||", USER_DEFINED)];
    let tokenizer = open(byte_pair(&special, &[])).expect("a whole model");
    assert_eq!(tokenizer.encode("<|a|><|a|><|a|>||", false, true), [257, 256, 258]);
    let typed = tokenizer.encode("<|a|>||", false, false);
    assert_eq!(texts(&tokenizer, &typed), ["<", "|", "a", "|", ">", "||"]);
}

#[test]
fn ends_are_known_by_key_and_by_name() {
    let names = [("<|im_end|>", NORMAL), ("<|fim_pad|>", CONTROL), ("x1", NORMAL), ("x2", NORMAL)];
    let sample = byte_pair(&names, &[])
        .u32("tokenizer.ggml.eos_token_id", 258)
        .u32("tokenizer.ggml.eot_token_id", 259);
    let tokenizer = open(sample).expect("a whole model");
    assert_eq!(tokenizer.ends().collect::<Vec<_>>(), [256, 257, 258, 259]);
    assert!(tokenizer.is_control(256));
}

#[test]
fn harmony_goes_on_after_a_message() {
    let names = ["<|return|>", "<|call|>", "<|end|>"].map(|name| (name, CONTROL));
    let tokenizer = open(byte_pair(&names, &[])).expect("a whole model");
    assert_eq!(tokenizer.ends().collect::<Vec<_>>(), [256, 257]);
}

#[test]
fn prompts_begin_and_end_as_the_file_says() {
    let sample = byte_pair(&[("<s>", CONTROL), ("</s>", CONTROL)], &[]);
    let sample = sample.u32("tokenizer.ggml.bos_token_id", 256).u32("tokenizer.ggml.eos_token_id", 257);
    let sample =
        flag(flag(sample, "tokenizer.ggml.add_bos_token", true), "tokenizer.ggml.add_eos_token", true);
    let tokenizer = open(sample).expect("a whole model");
    assert_eq!(texts(&tokenizer, &tokenizer.encode("a", true, false)), ["<s>", "a", "</s>"]);
    assert_eq!(texts(&tokenizer, &tokenizer.encode("a", false, false)), ["a"]);
}

#[test]
fn what_is_not_known_is_refused() {
    let bare = || Sample::default().strings("tokenizer.ggml.tokens", &["a"]);
    for sample in [
        bare().string("tokenizer.ggml.model", "bert"),
        bare().string("tokenizer.ggml.model", "gpt2").strings("tokenizer.ggml.merges", &[]),
        bare().string("tokenizer.ggml.model", "gpt2").string("tokenizer.ggml.pre", "of-tomorrow"),
    ] {
        assert!(matches!(open(sample), Err(Error::Unsupported(_))));
    }
}

#[test]
fn damaged_metadata_is_refused() {
    let gpt2 =
        || Sample::default().string("tokenizer.ggml.model", "gpt2").string("tokenizer.ggml.pre", "gpt-2");
    let tokens = |tokens: &[&str]| gpt2().strings("tokenizer.ggml.tokens", tokens);
    for (name, sample) in [
        ("no model", Sample::default()),
        ("no tokens", gpt2()),
        ("an empty vocabulary", tokens(&[])),
        ("a token twice", tokens(&["a", "a"]).strings("tokenizer.ggml.merges", &[])),
        ("no merges", tokens(&["a"])),
        ("a merge of one text", tokens(&["a"]).strings("tokenizer.ggml.merges", &["ab"])),
        ("a merge of nothing", tokens(&["a"]).strings("tokenizer.ggml.merges", &[""])),
        ("too few kinds", integers(tokens(&["a", "b"]), "tokenizer.ggml.token_type", &[1])),
        ("an end that is no token", tokens(&["a"]).u32("tokenizer.ggml.eos_token_id", 1)),
        ("no beginning to add", flag(byte_pair(&[], &[]), "tokenizer.ggml.add_bos_token", true)),
        ("tokens that are numbers", integers(gpt2(), "tokenizer.ggml.tokens", &[1])),
    ] {
        assert!(matches!(open(sample), Err(Error::Damaged(_))), "{name}");
    }
}

#[test]
fn merges_may_refer_to_nothing() {
    let tokenizer = open(byte_pair(&[], &["x y", "xy z", "▁ a", "é é", "a  b"])).expect("a whole model");
    assert_eq!(texts(&tokenizer, &tokenizer.encode("xyz", false, false)), ["x", "y", "z"]);
}

#[test]
fn what_no_token_says_is_left_out_or_unknown() {
    let sample =
        Sample::default().string("tokenizer.ggml.model", "gpt2").string("tokenizer.ggml.pre", "smollm");
    let sample = sample.strings("tokenizer.ggml.tokens", &["a"]).strings("tokenizer.ggml.merges", &["a b"]);
    assert_eq!(open(sample).expect("a whole model").encode("abab b", true, true), [0, 0]);

    let sample = Sample::default().string("tokenizer.ggml.model", "llama");
    let sample = sample.strings("tokenizer.ggml.tokens", &["<unk>", "<s>", "a"]);
    assert_eq!(open(sample).expect("a whole model").encode("aé", false, false), [0, 0, 0, 2, 0, 0]);
}

#[test]
fn texts_that_are_not_utf8_are_only_bytes() {
    let sample = Sample::default().string("tokenizer.ggml.model", "llama");
    let tokens =
        [b"<unk>".to_vec(), b"\xff\xfe".to_vec(), b"a\xe2".to_vec(), b"<0x41>".to_vec(), b"<0x".to_vec()];
    let sample = strings(sample, "tokenizer.ggml.tokens", &tokens);
    let tokenizer =
        open(integers(sample, "tokenizer.ggml.token_type", &[2, 3, 4, 6, 6])).expect("a whole model");
    assert_eq!(tokenizer.token_bytes(1), b"\xff\xfe");
    assert_eq!((tokenizer.token_bytes(3), tokenizer.token_bytes(4)), (&b"A"[..], &b""[..]));
    assert_eq!(tokenizer.token_bytes(99), b"");
    // "a\xe2" is the beginning of "a▁", but can't be cut out of it.
    assert!(!tokenizer.encode("a▁", false, true).contains(&2));
}

#[test]
fn a_hundred_thousand_letters_are_no_trouble() {
    let long = "a".repeat(100_000);
    let tokenizer = open(byte_pair(&[("aa", 1), ("aaaa", 1)], &["a a", "aa aa"])).expect("a whole model");
    assert_eq!(tokenizer.encode(&long, false, false).len(), 25_000);
    let tokenizer = open(sentence_piece(&[("a", 0.0), ("aa", 1.0), ("▁", 0.0)])).expect("a whole model");
    assert_eq!(tokenizer.encode(&long, false, false).len(), 50_001);
}

#[test]
fn a_model_without_a_template_says_so() {
    let file = |sample: Sample| Gguf::from_bytes(sample.finish()).expect("a whole file");
    let tokenizer = chat_model();
    let bare = Template::from_gguf(&file(Sample::default()), &tokenizer).expect("a template");
    assert!(bare.is_stand_in());
    let own = file(Sample::default().string("tokenizer.chat_template", "{{ eos_token }}"));
    let own = Template::from_gguf(&own, &tokenizer).expect("a template");
    assert!(!own.is_stand_in());
    assert_eq!(own.render(&super::Chat::default()).as_deref(), Ok("<|im_end|>"));
}

#[test]
fn constraints_need_an_end() {
    let tokenizer = open(byte_pair(&[], &[])).expect("a whole model");
    let constraint = Constraints::new(Arc::new(tokenizer)).json_object();
    assert!(matches!(constraint, Err(Error::Unsupported(_))));
}

static MODEL: OnceLock<Tokenizer> = OnceLock::new();
static PIECE_MODEL: OnceLock<Tokenizer> = OnceLock::new();

proptest! {
    #[test]
    fn any_text_comes_back(text in any::<String>()) {
        let model = MODEL.get_or_init(chat_model);
        let tokens = model.encode(&text, false, false);
        let bytes: Vec<u8> = tokens.iter().flat_map(|&token| model.token_bytes(token).to_vec()).collect();
        prop_assert_eq!(String::from_utf8(bytes), Ok(text));
    }

    #[test]
    fn any_text_comes_back_from_pieces(text in "[abc é👍▁\n<s>]{0,40}") {
        let model = PIECE_MODEL.get_or_init(|| open(sentence_piece(&PIECES)).expect("a whole model"));
        let tokens = model.encode(&text, false, false);
        let bytes: Vec<u8> = tokens.iter().flat_map(|&token| model.token_bytes(token).to_vec()).collect();
        let space = if text.is_empty() { "" } else { " " };
        prop_assert_eq!(String::from_utf8(bytes), Ok(format!("{space}{}", text.replace('▁', " "))));
    }

}

proptest! {
    // Each case builds a tokenizer, which takes time without optimization.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_vocabulary_is_trouble(
        tokens in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..20),
        kinds in prop::collection::vec(-1i32..8, 20),
        merges in prop::collection::vec("[ab▁Ġ ]{0,4}", 0..5),
        is_byte_pair in any::<bool>(),
        text in any::<String>(),
    ) {
        let model = if is_byte_pair { "gpt2" } else { "llama" };
        let sample = Sample::default().string("tokenizer.ggml.model", model).string("tokenizer.ggml.pre", "default");
        let sample = integers(strings(sample, "tokenizer.ggml.tokens", &tokens), "tokenizer.ggml.token_type", &kinds);
        let merges: Vec<Vec<u8>> = merges.into_iter().map(String::into_bytes).collect();
        match open(strings(sample, "tokenizer.ggml.merges", &merges)) {
            Ok(tokenizer) => {
                let encoded = tokenizer.encode(&text, true, true);
                prop_assert!(encoded.iter().all(|&token| (token as usize) < tokenizer.vocabulary()));
                let _ = Constraints::new(Arc::new(tokenizer)).json_object();
            }
            Err(error) => prop_assert!(matches!(error, Error::Damaged(_)), "{}", error),
        }
    }
}
