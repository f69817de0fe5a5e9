//! Prompt lookup: what followed the last time the same few tokens stood here. Saxena, "Prompt lookup decoding", 2023.

use std::collections::HashMap;

use super::limits::MATCH;

/// Where each run of `MATCH` tokens of a text ended last.
#[derive(Default)]
pub struct Lookup {
    /// The index after the run.
    ends: HashMap<[u32; MATCH], usize>,
    /// How many tokens of the text have been looked at.
    seen: usize,
}

impl Lookup {
    /// Returns at most `most` tokens that may follow `text`: those after the latest earlier place where its last
    /// tokens stand. `text` is the one of the last call with tokens added.
    pub fn propose<'a>(&mut self, text: &'a [u32], most: usize) -> &'a [u32] {
        // The run at the very end stays out until there is a token after it, or it would always find itself.
        for end in self.seen.max(MATCH)..text.len() {
            if let Some(run) = run_before(text, end) {
                self.ends.insert(run, end);
            }
        }
        self.seen = self.seen.max(text.len());
        let found = run_before(text, text.len()).and_then(|run| self.ends.get(&run).copied());
        found.map_or(&[], |start| &text[start..text.len().min(start + most)])
    }
}

fn run_before(text: &[u32], end: usize) -> Option<[u32; MATCH]> {
    text.get(end.checked_sub(MATCH)?..end)?.try_into().ok()
}
