//! How likely a given text is to the model: an answer of which every token is told in advance.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
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
    scores: Scores,
}

impl Scoring {
    #[must_use]
    pub fn new(tokens: Vec<u32>, scores: Scores) -> Self {
        Self { tokens, said: 0, scores }
    }
}

impl Voice for Scoring {
    fn next(&mut self, logits: &mut [f32]) -> Result<Next> {
        let token =
            self.foresee(1).first().copied().ok_or_else(|| Error::Failed("no token is left".into()))?;
        let score = log_probability(logits, token)
            .ok_or_else(|| Error::BadRequest(format!("there is no token {token}")))?;
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

/// The natural logarithm of a token's share in softmax; `None` for a token that is not there.
#[must_use]
pub fn log_probability(logits: &[f32], token: u32) -> Option<f32> {
    let logit = *logits.get(usize::try_from(token).ok()?)?;
    Some(logit - log_sum_exp(logits))
}

/// log Σ exp, without overflow: the greatest is taken out first.
#[must_use]
pub fn log_sum_exp(logits: &[f32]) -> f32 {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if greatest.is_infinite() {
        return greatest;
    }
    greatest + logits.iter().map(|logit| (logit - greatest).exp()).sum::<f32>().ln()
}

#[cfg(test)]
mod tests {
    use super::{Scores, Scoring, log_probability, log_sum_exp};
    use crate::error::Error;
    use crate::sched::Voice;

    #[test]
    fn shares_are_those_of_softmax() {
        let logits = [1.0, 2.0, 3.0, f32::NEG_INFINITY];
        let shares: f32 = (0..4).filter_map(|token| log_probability(&logits, token)).map(f32::exp).sum();
        assert!((shares - 1.0).abs() < 1e-6);
        assert!((log_sum_exp(&[1000.0, 1000.0]) - 1000.693).abs() < 1e-3);
        assert_eq!(log_probability(&logits, 4), None);
    }

    #[test]
    fn it_says_what_it_was_told() {
        let scores = Scores::default();
        let mut scoring = Scoring::new(vec![1, 0, 7], scores.clone());
        assert_eq!(scoring.foresee(8), [1, 0, 7]);
        assert!(!scoring.next(&mut [0.0, 0.0]).expect("a token").ends);
        assert_eq!(scoring.next(&mut [0.0, 0.0]).expect("a token").token, 0);
        assert!(matches!(scoring.next(&mut [0.0, 0.0]), Err(Error::BadRequest(_))));
        assert_eq!(scores.take().len(), 2);
    }
}
