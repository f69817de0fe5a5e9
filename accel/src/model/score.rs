//! How likely a model finds a text.

use crate::decoder::{Chunk, Decoder, Wanted};
use crate::error::Result;
use crate::kernels::{Isa, log_sum_exp};

/// Returns the natural logarithm of the probability of each token but the first, given those before it.
///
/// # Errors
/// As `Decoder::decode`.
pub fn score(model: &mut impl Decoder, tokens: &[u32]) -> Result<Vec<f32>> {
    let isa = Isa::detect();
    let sequence = model.open();
    let mut scores = Vec::with_capacity(tokens.len().saturating_sub(1));
    let mut logits = Vec::new();
    let mut decode_all = || {
        let mut next = tokens.iter().skip(1);
        for chunk in tokens[..tokens.len().saturating_sub(1)].chunks(model.batch()) {
            model.decode(&[Chunk { sequence, tokens: chunk, wanted: Wanted::All }], &mut logits)?;
            for (row, token) in logits.chunks_exact(model.vocabulary()).zip(&mut next) {
                scores.push(row[*token as usize] - log_sum_exp(isa, row));
            }
        }
        Ok(())
    };
    let outcome = decode_all();
    model.close(sequence);
    outcome.map(|()| scores)
}
