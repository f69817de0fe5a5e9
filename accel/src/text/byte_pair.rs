//! Byte-pair encoding: the bytes of a word merge in the order that training found (Sennrich et al., 2016,
//! <https://arxiv.org/abs/1508.07909>).

use hashbrown::HashMap;

use super::byte_alphabet;
use super::merging::{Merge, Row};
use super::pretokenizer::{self, Pretokenizer};
use super::strings::Index;
use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};
use crate::gguf::Gguf;

/// Stands for "no symbol"; symbols are counted from 0.
const NONE: u32 = u32::MAX;

/// The rules by which text becomes tokens.
#[derive(Debug)]
pub struct BytePair {
    pretokenizer: Pretokenizer,
    /// Bytes that are a token or that merges lead through.
    symbols: Index,
    /// The token that a symbol is.
    tokens: Vec<Option<u32>>,
    /// The symbol that a byte is.
    bytes: [u32; 256],
    merges: HashMap<(u32, u32), Merge>,
    keeps_words: bool,
}

impl BytePair {
    /// # Errors
    /// `Unsupported` when the pre-tokenizer is not known, `Damaged` when a merge is not two texts.
    pub fn from_gguf(gguf: &Gguf, vocabulary: &Vocabulary) -> Result<Self> {
        let Some(name) = gguf.get::<&str>("tokenizer.ggml.pre")? else {
            return Err(Error::Unsupported("a byte-pair vocabulary that names no pre-tokenizer".into()));
        };
        let mut rules = Self {
            pretokenizer: Pretokenizer::new(name)?,
            symbols: Index::default(),
            tokens: Vec::new(),
            bytes: [NONE; 256],
            merges: HashMap::new(),
            keeps_words: pretokenizer::keeps_words(name),
        };
        for (token, text) in vocabulary.tokens() {
            if let Some(bytes) = byte_alphabet::decode(text) {
                rules.add(&bytes, Some(token));
            }
        }
        for byte in 0..=255 {
            rules.bytes[usize::from(byte)] = rules.add(&[byte], None);
        }
        for (rank, merge) in (0..).zip(gguf.require::<Vec<&[u8]>>("tokenizer.ggml.merges")?) {
            rules.add_merge(rank, merge)?;
        }
        Ok(rules)
    }

    fn add(&mut self, bytes: &[u8], token: Option<u32>) -> u32 {
        let (symbol, is_new) = self.symbols.add(bytes);
        if is_new {
            self.tokens.push(token);
        }
        symbol
    }

    fn add_merge(&mut self, rank: u32, merge: &[u8]) -> Result<()> {
        // The first text may begin with a space of its own, but is never empty.
        let space = merge.iter().skip(1).position(|&byte| byte == b' ').map(|index| index + 1);
        let Some(space) = space else {
            return Err(Error::Damaged(format!(
                "merge {rank} is {:?}, not two texts",
                String::from_utf8_lossy(merge)
            )));
        };
        // A text with characters outside the alphabet can't come from any bytes, so its merge never happens.
        let (left, right) =
            (byte_alphabet::decode(&merge[..space]), byte_alphabet::decode(&merge[space + 1..]));
        if let (Some(left), Some(right)) = (left, right) {
            let pair = (self.add(&left, None), self.add(&right, None));
            let symbol = self.add(&[left, right].concat(), None);
            self.merges.entry(pair).or_insert(Merge { rank, symbol });
        }
        Ok(())
    }

    /// Appends the tokens of a text.
    pub fn encode(&self, text: &str, tokens: &mut Vec<u32>) {
        let mut row = Row::default();
        for word in self.pretokenizer.split(text) {
            match self.symbols.find(word.as_bytes()) {
                Some(symbol) if self.keeps_words && self.tokens[symbol as usize].is_some() => {
                    self.push(symbol, tokens);
                }
                _ => self.encode_word(word.as_bytes(), &mut row, tokens),
            }
        }
    }

    fn encode_word(&self, word: &[u8], row: &mut Row, tokens: &mut Vec<u32>) {
        row.clear();
        for (index, &byte) in word.iter().enumerate() {
            row.push(index..index + 1, self.bytes[usize::from(byte)]);
        }
        row.merge(|left, right| self.merges.get(&(left.symbol, right.symbol)).copied());
        for piece in row.pieces() {
            self.push(piece.symbol, tokens);
        }
    }

    /// Appends the token of a symbol. A symbol that is none falls apart, and of its bytes only printable ASCII is
    /// looked up once more; what no token says is left out. All of this is what llama.cpp does.
    fn push(&self, symbol: u32, tokens: &mut Vec<u32>) {
        if let Some(token) = self.token(symbol) {
            return tokens.push(token);
        }
        let bytes = self.symbols.strings().get(symbol);
        let printable = bytes.iter().filter(|byte| byte.is_ascii_graphic());
        tokens.extend(printable.filter_map(|&byte| self.token(self.bytes[usize::from(byte)])));
    }

    fn token(&self, symbol: u32) -> Option<u32> {
        self.tokens.get(symbol as usize).copied().flatten()
    }
}
