//! What a model makes of a text before it turns it into probabilities: for embeddings.

use super::step::Step;
use crate::error::{Error, Result};
use crate::kernels::rms_norm;

impl Step<'_> {
    /// Writes the states of the first rows of the stream, after the last norm, `width` values each.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub(super) fn states(&mut self, rows: usize, states: &mut Vec<f32>) -> Result<()> {
        let (width, epsilon) = (self.config.width, self.config.epsilon);
        states.clear();
        states
            .try_reserve(rows * width)
            .map_err(|_| Error::OutOfMemory(format!("{} bytes for states", rows * width * 4)))?;
        states.resize(rows * width, 0.0);
        let stream = self.scratch.stream.chunks_exact(width);
        for (row, state) in stream.zip(states.chunks_exact_mut(width)) {
            rms_norm(self.isa, row, &self.weights.norm, epsilon, state);
        }
        Ok(())
    }
}
