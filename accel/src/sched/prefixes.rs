//! Prompts and answers whose cache is kept, so that the next turn of a conversation begins where the last one ended.

use super::limits::MOST_PREFIXES;
use crate::decoder::{Decoder, Sequence};

struct Prefix {
    owner: String,
    /// Those in the cache, one for one.
    tokens: Vec<u32>,
    sequence: Sequence,
}

/// Least recently used first.
#[derive(Default)]
pub struct Prefixes(Vec<Prefix>);

impl Prefixes {
    /// Keeps a sequence with its tokens; what it makes superfluous is dropped.
    pub fn keep(&mut self, decoder: &mut impl Decoder, owner: String, tokens: Vec<u32>, sequence: Sequence) {
        let is_within = |a: &Prefix, b: &[u32]| a.owner == owner && b.starts_with(&a.tokens);
        for superfluous in self.0.extract_if(.., |kept| is_within(kept, &tokens)) {
            decoder.close(superfluous.sequence);
        }
        if tokens.is_empty()
            || self.0.iter().any(|kept| kept.owner == owner && kept.tokens.starts_with(&tokens))
        {
            decoder.close(sequence);
            return;
        }
        self.0.push(Prefix { owner, tokens, sequence });
        if self.0.len() > MOST_PREFIXES {
            self.drop_oldest(decoder);
        }
    }

    /// Returns the owner's sequence that has the most tokens at its head in common with `prompt`, and how many. It
    /// counts as used by that.
    pub fn best(&mut self, owner: &str, prompt: &[u32]) -> Option<(Sequence, usize)> {
        let candidates = self.0.iter().enumerate().filter(|(_, kept)| kept.owner == owner);
        let (index, shared) = candidates
            .map(|(index, kept)| (index, common(&kept.tokens, prompt)))
            .filter(|&(_, shared)| shared > 0)
            .max_by_key(|&(_, shared)| shared)?;
        let used = self.0.remove(index);
        let sequence = used.sequence;
        self.0.push(used);
        Some((sequence, shared))
    }

    /// Drops what has not been used for longest; returns whether there was any.
    pub fn drop_oldest(&mut self, decoder: &mut impl Decoder) -> bool {
        if self.0.is_empty() {
            return false;
        }
        decoder.close(self.0.remove(0).sequence);
        true
    }
}

/// How many tokens two texts have in common at their heads.
pub fn common(one: &[u32], other: &[u32]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}
