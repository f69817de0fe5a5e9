//! Which tokens end an answer.
//!
//! Files say which token ends a text, but seldom which end a turn. llama.cpp knows those by their names
//! (`src/llama-vocab.cpp`, 2026-10), and so does this, with the same lists.

use std::collections::BTreeSet;

use super::vocabulary::{Kind, Vocabulary, special};
use crate::error::Result;
use crate::gguf::Gguf;

const NAMES: [&str; 22] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Tokens that end a file when code is filled in, by key; the first name that the vocabulary has counts.
const FILE_NAMES: [(&str, &[&str]); 3] = [
    ("fim_pad", &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"]),
    ("fim_rep", &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"]),
    ("fim_sep", &["<|file_sep|>"]),
];

/// What ends a turn or text in one family of models is an ordinary token in another that has all of the first names.
const EXCEPTIONS: [(&[&str], &str, Kind); 3] = [
    (&["<|return|>", "<|call|>"], "<|end|>", Kind::UserDefined),
    (&["<|calls|>", "<|flush|>"], "<|end|>", Kind::UserDefined),
    (&["<|tool_response>"], "</s>", Kind::Normal),
];

/// Finds the tokens after which an answer is over, and makes control tokens of those that are known by name.
pub fn find(vocabulary: &mut Vocabulary, gguf: &Gguf) -> Result<BTreeSet<u32>> {
    let mut ends: BTreeSet<u32> = NAMES.iter().filter_map(|name| mark(vocabulary, name)).collect();
    for (key, names) in FILE_NAMES {
        let given = special(gguf, key, vocabulary.len())?;
        ends.extend(given.or_else(|| names.iter().find_map(|name| mark(vocabulary, name))));
    }
    for key in ["eot", "eom"] {
        ends.extend(special(gguf, key, vocabulary.len())?);
    }
    ends.extend(vocabulary.end);
    for (enders, name, kind) in EXCEPTIONS {
        let is_end =
            |name: &&str| vocabulary.find(name.as_bytes()).is_some_and(|token| ends.contains(&token));
        if enders.iter().all(is_end)
            && let Some(token) = vocabulary.find(name.as_bytes())
            && ends.remove(&token)
        {
            vocabulary.set_kind(token, kind);
        }
    }
    Ok(ends)
}

fn mark(vocabulary: &mut Vocabulary, name: &str) -> Option<u32> {
    let token = vocabulary.find(name.as_bytes())?;
    vocabulary.set_kind(token, Kind::Control);
    Some(token)
}
