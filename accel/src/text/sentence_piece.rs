//! SentencePiece's byte-pair models: characters merge to the token of the highest score (Kudo and Richardson, 2018,
//! <https://arxiv.org/abs/1808.06226>).

use super::merging::{Merge, Row};
use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};
use crate::gguf::Gguf;

/// A character that is no token.
const NONE: u32 = u32::MAX;

/// The rules by which text becomes tokens.
#[derive(Debug)]
pub struct SentencePiece {
    /// The tokens of a byte that no other token says: its own, else "unknown".
    bytes: Vec<u32>,
    puts_space_first: bool,
}

impl SentencePiece {
    /// # Errors
    /// `Damaged` when some byte has no token and there is none for the unknown.
    pub fn from_gguf(gguf: &Gguf, vocabulary: &Vocabulary) -> Result<Self> {
        let token = |byte: u8| {
            let written = format!("<0x{byte:02X}>");
            vocabulary
                .find(written.as_bytes())
                .or_else(|| vocabulary.find(&[byte]))
                .or(vocabulary.unknown)
                .ok_or_else(|| {
                    Error::Damaged(format!("it has neither a token {written} nor one for the unknown"))
                })
        };
        Ok(Self {
            bytes: (0..=255).map(token).collect::<Result<_>>()?,
            puts_space_first: gguf.get("tokenizer.ggml.add_space_prefix")?.unwrap_or(true),
        })
    }

    /// Appends the tokens of a text that stands at the beginning or after a special token.
    pub fn encode(&self, vocabulary: &Vocabulary, text: &str, tokens: &mut Vec<u32>) {
        let space = if self.puts_space_first { " " } else { "" };
        let text = [space, text].concat().replace(' ', "▁");
        let bytes = text.as_bytes();
        let mut row = Row::default();
        for (start, character) in text.char_indices() {
            let range = start..start + character.len_utf8();
            let token = vocabulary.find(&bytes[range.clone()]);
            row.push(range, token.unwrap_or(NONE));
        }
        row.merge(|left, right| {
            let token = vocabulary.find(&bytes[left.range.start..right.range.end])?;
            Some(Merge { rank: rank(vocabulary.score(token)), symbol: token })
        });
        for piece in row.pieces() {
            match piece.symbol {
                NONE => tokens
                    .extend(bytes[piece.range.clone()].iter().map(|&byte| self.bytes[usize::from(byte)])),
                token => tokens.push(token),
            }
        }
    }
}

/// Orders scores from the highest to the lowest, NaN somewhere; 0.0 and -0.0 are the same.
fn rank(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 0 { !(bits | 1 << 31) } else { bits }
}
