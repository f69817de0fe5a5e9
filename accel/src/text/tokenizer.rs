//! From text to tokens and back, by the vocabulary and rules in a model file.
//!
//! Our own code rather than the `tokenizers` crate: that one reads Hugging Face's `tokenizer.json`, which a GGUF file
//! does not hold, knows neither GGUF's names of rules nor llama.cpp's order of special tokens, and would more than
//! double what this crate compiles. The rules here are those of llama.cpp, token for token (`tests/accel`).

use std::ops::Range;

use super::byte_pair::BytePair;
use super::literal::Prompt;
use super::pretokenizer;
use super::sentence_piece::SentencePiece;
use super::special::Special;
use super::vocabulary::{Alphabet, Kind, Vocabulary};
use crate::error::{Error, Result};
use crate::gguf::Gguf;

/// The vocabulary of a model and the rules by which text becomes its tokens.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    special: Special,
    rules: Rules,
    adds_beginning: bool,
    adds_end: bool,
}

#[derive(Debug)]
enum Rules {
    BytePair(Box<BytePair>),
    SentencePiece(SentencePiece),
}

impl Tokenizer {
    /// Reads the `tokenizer.ggml` metadata of a model file.
    ///
    /// # Errors
    /// `Unsupported` when the kind of tokenizer or its pre-tokenizer is not known, `Damaged` when the metadata
    /// contradicts itself.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let alphabet = match gguf.require::<&str>("tokenizer.ggml.model")? {
            "gpt2" => Alphabet::Gpt2,
            "llama" => Alphabet::SentencePiece,
            model => return Err(Error::Unsupported(format!("the tokenizer model {model}"))),
        };
        let vocabulary = Vocabulary::from_gguf(gguf, alphabet)?;
        let rules = match alphabet {
            Alphabet::Gpt2 => Rules::BytePair(Box::new(BytePair::from_gguf(gguf, &vocabulary)?)),
            Alphabet::SentencePiece => Rules::SentencePiece(SentencePiece::from_gguf(gguf, &vocabulary)?),
        };
        let adds_beginning = match gguf.get("tokenizer.ggml.add_bos_token")? {
            Some(adds) => adds,
            None if alphabet == Alphabet::SentencePiece => true,
            None => pretokenizer::begins_text(gguf.require("tokenizer.ggml.pre")?),
        };
        let adds_end = gguf.get("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
        for (adds, token, name) in
            [(adds_beginning, vocabulary.beginning, "bos"), (adds_end, vocabulary.end, "eos")]
        {
            if adds && token.is_none() {
                return Err(Error::Damaged(format!("it adds the token {name} to prompts, but has none")));
            }
        }
        let special = Special::new(&vocabulary)?;
        Ok(Self { vocabulary, special, rules, adds_beginning, adds_end })
    }

    /// How many tokens there are; a model may have more logits than that.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.vocabulary.len()
    }

    /// Returns the tokens of a text.
    ///
    /// `add_special` puts the tokens of beginning and end around it where the model wants them. `parse_special` reads
    /// control tokens that are written out: for what a template wrote, never for what a person typed. Characters that
    /// the vocabulary can't say are left out, or "unknown" where it has such a token.
    #[must_use]
    pub fn encode(&self, text: &str, add_special: bool, parse_special: bool) -> Vec<u32> {
        self.encode_around(text, add_special, parse_special, &[])
    }

    /// Returns the tokens of a prompt that a template wrote, control tokens included; those that people spelt are text.
    #[must_use]
    pub fn encode_prompt(&self, prompt: &Prompt) -> Vec<u32> {
        let mut tokens = self.encode_around(&prompt.text, true, true, &prompt.literal);
        // Where the template has written the token that begins a text, the tokenizer adds no second one.
        let beginning = self.vocabulary.beginning;
        if beginning.is_some() && tokens.first().copied() == beginning && tokens.get(1).copied() == beginning
        {
            tokens.remove(0);
        }
        tokens
    }

    fn encode_around(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
        literal: &[Range<usize>],
    ) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(text.len() / 3 + 2);
        tokens.extend(self.vocabulary.beginning.filter(|_| add_special && self.adds_beginning));
        let mut start = 0;
        for (range, token) in self.special.find(text, parse_special, literal) {
            self.encode_plain(&text[start..range.start], &mut tokens);
            tokens.push(token);
            start = range.end;
        }
        self.encode_plain(&text[start..], &mut tokens);
        tokens.extend(self.vocabulary.end.filter(|_| add_special && self.adds_end));
        tokens
    }

    /// The tokens that are not made of the letters around them.
    pub(super) fn special(&self) -> &Special {
        &self.special
    }

    fn encode_plain(&self, text: &str, tokens: &mut Vec<u32>) {
        match &self.rules {
            _ if text.is_empty() => {}
            Rules::BytePair(rules) => rules.encode(text, tokens),
            Rules::SentencePiece(rules) => rules.encode(&self.vocabulary, text, tokens),
        }
    }

    /// What a token adds to a text, control tokens as they are written; nothing for a number that is no token's.
    /// Whole characters only when put together: see `TextStream`.
    #[must_use]
    pub fn token_bytes(&self, token: u32) -> &[u8] {
        self.vocabulary.bytes(token)
    }

    /// Whether a token has a meaning to the model and no text of its own.
    #[must_use]
    pub fn is_control(&self, token: u32) -> bool {
        matches!(self.vocabulary.kind(token), Kind::Control | Kind::Unknown | Kind::Unused)
    }

    /// Whether an answer is over when the model says this token.
    #[must_use]
    pub fn is_end(&self, token: u32) -> bool {
        self.vocabulary.ends().contains(&token)
    }

    /// The tokens after which an answer is over, in ascending order.
    pub fn ends(&self) -> impl Iterator<Item = u32> {
        self.vocabulary.ends().iter().copied()
    }

    /// The token that begins a text.
    #[must_use]
    pub fn beginning(&self) -> Option<u32> {
        self.vocabulary.beginning
    }

    /// The token that ends a text.
    #[must_use]
    pub fn end(&self) -> Option<u32> {
        self.vocabulary.end
    }
}
