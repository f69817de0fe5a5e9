//! What the scheduler needs of a model: sequences that share a past, and one step over many of them at once.

use crate::error::Result;

/// A sequence of tokens whose keys and values are in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(pub u32);

/// Which tokens of a chunk want their logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    None,
    Last,
    All,
}

/// Tokens to append to a sequence in this step.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    pub sequence: Sequence,
    pub tokens: &'a [u32],
    pub wanted: Wanted,
}

/// A model with its cache. `model::Model` is the real one; tests of the scheduler use one that counts.
///
/// What a sequence says depends on its own tokens alone: whatever else is in the batch, the logits are the same bits.
pub trait Decoder: Send {
    /// How many tokens the vocabulary has: the length of a row of logits.
    fn vocabulary(&self) -> usize;

    /// The most tokens of one sequence.
    fn context(&self) -> usize;

    /// The most tokens of one step, over all chunks.
    fn batch(&self) -> usize;

    /// Opens an empty sequence.
    fn open(&mut self) -> Sequence;

    /// Opens a sequence that begins with the first `length` tokens of another, sharing their memory.
    fn fork(&mut self, from: Sequence, length: usize) -> Sequence;

    /// Forgets a sequence's tokens from `length` on.
    fn truncate(&mut self, sequence: Sequence, length: usize);

    /// Forgets a sequence.
    fn close(&mut self, sequence: Sequence);

    /// How many tokens a sequence holds.
    fn length(&self, sequence: Sequence) -> usize;

    /// Bytes of cache that are in use; what sequences share counts once.
    fn cache_bytes(&self) -> usize;

    /// Bytes of cache that `tokens` more tokens of one sequence take at the most.
    fn cache_bytes_for(&self, tokens: usize) -> usize;

    /// Appends the chunks' tokens to their sequences and writes the wanted rows to `logits`, in the order of chunks,
    /// `vocabulary` values each; `logits` is resized to fit.
    ///
    /// # Errors
    /// `OutOfMemory` when the cache can't grow, `TooLong` past the context; the sequences are then as before.
    fn decode(&mut self, chunks: &[Chunk<'_>], logits: &mut Vec<f32>) -> Result<()>;
}
