//! Finds special tokens that are written out in a text.

use std::cmp::Reverse;
use std::ops::Range;

use aho_corasick::AhoCorasick;

use super::vocabulary::{Kind, Vocabulary};
use crate::error::{Error, Result};

/// The special tokens of a vocabulary.
#[derive(Debug)]
pub struct Special {
    /// Knows which of the tokens, by their place in `tokens`, are in a text at all: mostly none.
    automaton: AhoCorasick,
    /// Longest first, of equals the lower number first.
    tokens: Vec<SpecialToken>,
}

#[derive(Debug)]
struct SpecialToken {
    id: u32,
    text: String,
    is_control: bool,
}

impl Special {
    pub fn new(vocabulary: &Vocabulary) -> Result<Self> {
        let mut tokens = Vec::new();
        for (id, text) in vocabulary.tokens() {
            let kind = vocabulary.kind(id);
            // What is no text can't be in one.
            if let (Kind::Control | Kind::Unknown | Kind::UserDefined, Ok(text)) =
                (kind, std::str::from_utf8(text))
            {
                tokens.push(SpecialToken { id, text: text.into(), is_control: kind != Kind::UserDefined });
            }
        }
        tokens.sort_by_key(|token| Reverse(token.text.len()));
        let automaton = AhoCorasick::new(tokens.iter().map(|token| &token.text))
            .map_err(|error| Error::Unsupported(format!("its special tokens are too long: {error}")))?;
        Ok(Self { automaton, tokens })
    }

    /// Returns where which token stands, from left to right and without overlap; control tokens only on demand, and
    /// only outside what is `literal`.
    ///
    /// As in llama.cpp, longer tokens are found first in all of the text, and each from left to right in what is left.
    pub fn find(
        &self,
        text: &str,
        parse_control: bool,
        literal: &[Range<usize>],
    ) -> Vec<(Range<usize>, u32)> {
        let mut found = Vec::new();
        let mut free: Vec<Range<usize>> = std::iter::once(0..text.len()).collect();
        for token in self.present(text).filter(|token| parse_control || !token.is_control) {
            let mut rest = Vec::with_capacity(free.len());
            for range in free {
                let mut start = range.start;
                for (offset, _) in text[range.clone()].match_indices(&token.text) {
                    let place = range.start + offset..range.start + offset + token.text.len();
                    if token.is_control && overlaps(literal, &place) {
                        continue;
                    }
                    rest.push(start..place.start);
                    start = place.end;
                    found.push((place, token.id));
                }
                rest.push(start..range.end);
            }
            rest.retain(|range: &Range<usize>| !range.is_empty());
            free = rest;
        }
        found.sort_unstable_by_key(|(place, _)| place.start);
        found
    }

    /// Returns where control tokens are written out in a text, overlapping ones too, and where one may come about when
    /// something is written before or after it. A part of one that is a mere word counts for nothing.
    pub fn control_places(&self, text: &str) -> Vec<Range<usize>> {
        let found = self.automaton.find_overlapping_iter(text);
        let inside = found
            .filter(|found| self.tokens[found.pattern().as_usize()].is_control)
            .map(|found| found.range());
        let controls =
            || self.tokens.iter().filter(|token| token.is_control).map(|token| token.text.as_str());
        let begun = controls().filter_map(|token| {
            let cuts = token.char_indices().rev().map(|(cut, _)| &token[..cut]);
            cuts.filter(|start| !is_word(start)).find(|start| text.ends_with(start)).map(str::len)
        });
        let ended = controls().filter_map(|token| {
            let cuts = token.char_indices().skip(1).map(|(cut, _)| &token[cut..]);
            cuts.filter(|end| !is_word(end)).find(|end| text.starts_with(end)).map(str::len)
        });
        let edges = begun.max().map(|length| text.len() - length..text.len());
        inside.chain(edges).chain(ended.max().map(|length| 0..length)).collect()
    }

    /// The tokens that are in a text at least once.
    fn present(&self, text: &str) -> impl Iterator<Item = &SpecialToken> {
        let mut is_present = vec![false; self.tokens.len()];
        for found in self.automaton.find_overlapping_iter(text) {
            is_present[found.pattern().as_usize()] = true;
        }
        self.tokens.iter().zip(is_present).filter(|(_, is_present)| *is_present).map(|(token, _)| token)
    }
}

/// Whether a place has bytes in common with any of these ranges, which go from left to right.
fn overlaps(ranges: &[Range<usize>], place: &Range<usize>) -> bool {
    let after = ranges.partition_point(|range| range.end <= place.start);
    ranges.get(after).is_some_and(|range| range.start < place.end)
}

/// Whether a text has nothing in it that words have not; so has the empty one.
fn is_word(text: &str) -> bool {
    text.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
}
