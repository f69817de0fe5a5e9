//! Finds special tokens that are written out in a text.

use std::ops::Range;

use aho_corasick::AhoCorasick;

use super::vocabulary::{Kind, Vocabulary};
use crate::error::{Error, Result};

/// The special tokens of a vocabulary, to be found all at once.
#[derive(Debug)]
pub struct Special {
    automaton: AhoCorasick,
    tokens: Vec<SpecialToken>,
}

#[derive(Debug)]
struct SpecialToken {
    id: u32,
    is_control: bool,
}

impl Special {
    pub fn new(vocabulary: &Vocabulary) -> Result<Self> {
        let mut tokens = Vec::new();
        let mut texts = Vec::new();
        for (id, text) in vocabulary.tokens() {
            let kind = vocabulary.kind(id);
            if matches!(kind, Kind::Control | Kind::Unknown | Kind::UserDefined) {
                tokens.push(SpecialToken { id, is_control: kind != Kind::UserDefined });
                texts.push(text);
            }
        }
        let automaton = AhoCorasick::new(texts)
            .map_err(|error| Error::Unsupported(format!("its special tokens are too long: {error}")))?;
        Ok(Self { automaton, tokens })
    }

    /// Returns where which token stands, from left to right and without overlap; control tokens only on demand.
    ///
    /// As in llama.cpp, longer tokens are found first in all of the text, and each from left to right in what is left.
    pub fn find(&self, text: &str, parse_control: bool) -> Vec<(Range<usize>, u32)> {
        let mut found: Vec<(Range<usize>, u32)> = self
            .automaton
            .find_overlapping_iter(text)
            .map(|found| (found.range(), &self.tokens[found.pattern().as_usize()]))
            // A text that is no whole number of characters can't be cut out.
            .filter(|(range, token)| {
                (parse_control || !token.is_control)
                    && text.is_char_boundary(range.start)
                    && text.is_char_boundary(range.end)
            })
            .map(|(range, token)| (range, token.id))
            .collect();
        if found.is_empty() {
            return found;
        }
        found.sort_unstable_by_key(|(range, token)| (std::cmp::Reverse(range.len()), *token, range.start));
        let mut taken = vec![false; text.len()];
        // What was taken before is at least as long, so an overlap shows at one of the ends.
        found.retain(|(range, _)| {
            let is_free = !taken[range.start] && !taken[range.end - 1];
            if is_free {
                taken[range.clone()].fill(true);
            }
            is_free
        });
        found.sort_unstable_by_key(|(range, _)| range.start);
        found
    }
}
