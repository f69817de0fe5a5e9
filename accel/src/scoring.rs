//! How likely a given text is to the model: an answer of which every token is told in advance.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::kernels::{Isa, log_sum_exp};
use crate::sched::{Next, Voice};

/// Natural log-probabilities, one for each token said.
#[derive(Clone, Default)]
pub struct Scores(Arc<Mutex<Vec<f32>>>);

impl Scores {
    #[must_use]
    pub fn take(&self) -> Vec<f32> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Says given tokens and notes how likely each was.
pub struct Scoring {
    tokens: Vec<u32>,
    said: usize,
    isa: Isa,
    scores: Scores,
}

impl Scoring {
    #[must_use]
    pub fn new(tokens: Vec<u32>, scores: Scores) -> Self {
        Self { tokens, said: 0, isa: Isa::detect(), scores }
    }
}

impl Voice for Scoring {
    fn next(&mut self, logits: &mut [f32]) -> Result<Next> {
        let token =
            self.foresee(1).first().copied().ok_or_else(|| Error::Failed("no token is left".into()))?;
        let logit = *logits
            .get(token as usize)
            .ok_or_else(|| Error::BadRequest(format!("there is no token {token}")))?;
        let score = logit - log_sum_exp(self.isa, logits);
        self.scores.0.lock().unwrap_or_else(PoisonError::into_inner).push(score);
        self.said += 1;
        Ok(Next { token, text: String::new(), ends: self.said == self.tokens.len(), record: None })
    }

    fn rest(&mut self) -> String {
        String::new()
    }

    fn foresee(&self, most: usize) -> &[u32] {
        let left = &self.tokens[self.said..];
        &left[..left.len().min(most)]
    }
}

#[cfg(test)]
mod tests {
    use super::{Scores, Scoring};
    use crate::error::Error;
    use crate::sched::Voice;

    #[test]
    fn it_says_what_it_was_told() {
        let scores = Scores::default();
        let mut scoring = Scoring::new(vec![1, 0, 7], scores.clone());
        assert_eq!(scoring.foresee(8), [1, 0, 7]);
        assert!(!scoring.next(&mut [0.0, 0.0]).expect("a token").ends);
        assert_eq!(scoring.next(&mut [0.0, 0.0]).expect("a token").token, 0);
        assert!(matches!(scoring.next(&mut [0.0, 0.0]), Err(Error::BadRequest(_))));
        let half = 0.5_f32.ln();
        assert!(scores.take().iter().all(|score| (score - half).abs() < 1e-6));
    }
}
