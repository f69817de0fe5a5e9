//! What a generation makes of logits. The scheduler knows tokens alone; text, sampling and grammar stand behind this.

use serde::Serialize;

use crate::error::Result;

/// A token that came, for those who asked. Log-probabilities are natural.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    #[serde(flatten)]
    pub token: Likely,
    /// The likeliest ones in its place.
    pub alternatives: Vec<Likely>,
}

/// A token with its log-probability. Its bytes need not be whole characters; the text has U+FFFD for those.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Likely {
    pub text: String,
    pub bytes: Vec<u8>,
    pub logprob: f32,
}

/// A token said.
#[derive(Debug, Clone, PartialEq)]
pub struct Next {
    pub token: u32,
    /// The text that can be shown now: whole characters, and nothing that may still become a stop string.
    pub text: String,
    /// Whether the answer ends with this token.
    pub ends: bool,
    pub record: Option<Record>,
}

/// One generation's way from logits to text: sampler, detokeniser, stop strings, grammar.
///
/// It must depend on the logits it has seen alone, never on when or how often it is asked in between.
pub trait Voice: Send {
    /// Says the next token. `logits` has a value for each token of the vocabulary, and may be changed.
    ///
    /// # Errors
    /// Whatever ends this generation, and it alone.
    fn next(&mut self, logits: &mut [f32]) -> Result<Next>;

    /// The text held back, when the answer ends with no further token.
    fn rest(&mut self) -> String;

    /// At most `most` tokens that it will say whatever the logits are; none where it can't know.
    fn foresee(&self, most: usize) -> &[u32] {
        let _ = most;
        &[]
    }
}
