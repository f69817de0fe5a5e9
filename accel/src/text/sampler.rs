//! Chooses the next token from a row of logits.
//!
//! Stages in the order of llama.cpp's defaults: the grammar's mask, penalties, top-k, top-p, min-p, temperature, and a
//! draw. Top-p and min-p so see the model's own probabilities, not those that the temperature makes.

use std::collections::{HashMap, VecDeque};

use super::constraint::Constraint;
use super::logits::{Candidate, from, highest, nucleus, shortest, sum_of_exponentials, total, weight};
use super::random::Random;
use crate::error::{Error, Result};

/// Tokens that penalties look back on, at the most, so that they can be counted by 16 bits.
const LONGEST_WINDOW: usize = 65_535;

/// How to choose tokens; the defaults are llama.cpp's.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0 takes the most likely token, 1 draws by the model's probabilities, more flattens them.
    pub temperature: f32,
    /// Draw from this many of the most likely tokens; 0 for all.
    pub top_k: usize,
    /// Draw from the fewest most likely tokens that have this much probability together; 1 for all.
    pub top_p: f32,
    /// Draw from tokens at least this part as likely as the most likely one; 0 for all.
    pub min_p: f32,
    /// Divides positive logits of tokens in the window and multiplies negative ones; 1 for none.
    pub repetition_penalty: f32,
    /// Subtracted from logits of tokens in the window.
    pub presence_penalty: f32,
    /// Subtracted from logits of tokens in the window, times how often they are in it.
    pub frequency_penalty: f32,
    /// How many of the last tokens, of prompt and answer, the penalties look at.
    pub penalty_window: usize,
    /// The same seed draws the same tokens from the same logits.
    pub seed: Option<u64>,
    /// Whether to report log-probabilities, and of how many of the most likely tokens beside the chosen one.
    pub log_probabilities: Option<usize>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            penalty_window: 64,
            seed: None,
            log_probabilities: None,
        }
    }
}

impl Sampling {
    fn check(&self) -> Result<()> {
        let ranges = [
            ("temperature", self.temperature, 0.0, 100.0),
            ("top_p", self.top_p, 0.0, 1.0),
            ("min_p", self.min_p, 0.0, 1.0),
            ("repetition_penalty", self.repetition_penalty, 0.01, 100.0),
            ("presence_penalty", self.presence_penalty, -100.0, 100.0),
            ("frequency_penalty", self.frequency_penalty, -100.0, 100.0),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(Error::BadRequest(format!("{name} is {value}, not from {least} to {most}")));
            }
        }
        Ok(())
    }

    fn has_penalties(&self) -> bool {
        #[allow(clippy::float_cmp)]
        let penalizes =
            self.repetition_penalty != 1.0 || self.presence_penalty != 0.0 || self.frequency_penalty != 0.0;
        penalizes && self.penalty_window > 0
    }
}

/// A token and its natural log-probability by the model itself, before any stage of sampling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogProbability {
    pub token: u32,
    pub value: f32,
}

/// The token that was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub token: u32,
    /// Of the chosen token, where asked for.
    pub log_probability: Option<f32>,
    /// The most likely tokens, most likely first, as many as were asked for.
    pub alternatives: Vec<LogProbability>,
}

/// Chooses the tokens of one answer.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: Random,
    window: VecDeque<u32>,
    counts: HashMap<u32, u16>,
}

impl Sampler {
    /// # Errors
    /// `BadRequest` when a number is out of range.
    pub fn new(mut sampling: Sampling) -> Result<Self> {
        sampling.check()?;
        sampling.penalty_window = sampling.penalty_window.min(LONGEST_WINDOW);
        let random = Random::new(sampling.seed);
        Ok(Self { sampling, random, window: VecDeque::new(), counts: HashMap::new() })
    }

    /// Reads the tokens of the prompt, which penalties count like those of the answer.
    pub fn read(&mut self, tokens: &[u32]) {
        if self.sampling.has_penalties() {
            let unseen = tokens.len().saturating_sub(self.sampling.penalty_window);
            tokens[unseen..].iter().for_each(|&token| self.remember(token));
        }
    }

    /// Chooses a token, remembers it, and tells the constraint. `logits` serve as scratch.
    ///
    /// # Errors
    /// `Failed` when no token is possible: all logits are NaN or -∞, or the constraint allows none.
    pub fn sample(&mut self, logits: &mut [f32], mut constraint: Option<&mut Constraint>) -> Result<Choice> {
        let report = self.sampling.log_probabilities.map(|count| Report::new(logits, count));
        if let Some(constraint) = &mut constraint {
            constraint.mask(logits)?;
        }
        let changed = self.penalize(logits);
        let token = self.choose(logits)?;
        let raw = changed.get(&token).copied().unwrap_or(logits[token as usize]);
        if let Some(constraint) = constraint {
            constraint.commit(token)?;
        }
        if self.sampling.has_penalties() {
            self.remember(token);
        }
        let log_probability = report.as_ref().map(|report| report.log_probability(raw));
        Ok(Choice {
            token,
            log_probability,
            alternatives: report.map(|report| report.alternatives).unwrap_or_default(),
        })
    }

    fn remember(&mut self, token: u32) {
        if self.window.len() == self.sampling.penalty_window
            && let Some(oldest) = self.window.pop_front()
            && let Some(count) = self.counts.get_mut(&oldest)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&oldest);
            }
        }
        self.window.push_back(token);
        *self.counts.entry(token).or_default() += 1;
    }

    /// Lowers the logits of tokens in the window and returns what they were.
    fn penalize(&self, logits: &mut [f32]) -> HashMap<u32, f32> {
        let mut changed = HashMap::new();
        for (&token, &count) in &self.counts {
            let Some(logit) = logits.get_mut(token as usize) else { continue };
            changed.insert(token, *logit);
            let repetition = self.sampling.repetition_penalty;
            *logit = if *logit > 0.0 { *logit / repetition } else { *logit * repetition };
            *logit -= f32::from(count) * self.sampling.frequency_penalty + self.sampling.presence_penalty;
        }
        changed
    }

    fn choose(&mut self, logits: &[f32]) -> Result<u32> {
        let Sampling { temperature, top_k, top_p, min_p, .. } = self.sampling;
        let mut best = highest(logits, if temperature == 0.0 { 1 } else { top_k.max(1) }, f32::NEG_INFINITY);
        let Some(&first) = best.first() else {
            return Err(Error::Failed("the model gave no probability to any token".into()));
        };
        if temperature == 0.0 || first.logit == f32::INFINITY {
            return Ok(first.token);
        }
        let draw = self.random.next();
        let scale = 1.0 / temperature;
        if top_k == 0 && top_p >= 1.0 && min_p == 0.0 {
            return Ok(draw_from_all(logits, first.logit, scale, draw));
        }
        // Each of the stages cuts the end off the same order, so it does not matter that top-p counts the probability
        // of tokens that min-p would cut.
        let least = if min_p > 0.0 { first.logit + min_p.ln() } else { f32::NEG_INFINITY };
        if top_k == 0 {
            best = if top_p < 1.0 { nucleus(logits, first.logit, top_p) } else { from(logits, least) };
        } else if top_p < 1.0 {
            let kept = shortest(&best, first.logit, f64::from(top_p) * total(&best, first.logit, 1.0));
            best.truncate(kept);
        }
        best.retain(|candidate| candidate.logit >= least);
        Ok(draw_from(&best, first, scale, draw).token)
    }
}

/// Draws by the probabilities of candidates, in their order.
fn draw_from(candidates: &[Candidate], first: Candidate, scale: f32, draw: f64) -> Candidate {
    let mut left = draw * total(candidates, first.logit, scale);
    let chosen = candidates.iter().find(|candidate| {
        left -= f64::from(weight(candidate.logit, first.logit, scale));
        left < 0.0
    });
    // Rounding may leave a little past the last weight.
    chosen.or(candidates.last()).copied().unwrap_or(first)
}

/// Draws by all probabilities, in the order of the vocabulary.
fn draw_from_all(logits: &[f32], first: f32, scale: f32, draw: f64) -> u32 {
    let mut left = draw * sum_of_exponentials(logits, first, scale);
    let mut last = 0;
    for (token, &logit) in (0..).zip(logits) {
        let weight = f64::from(weight(logit, first, scale));
        if weight > 0.0 {
            last = token;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
    }
    last
}

/// Log-probabilities of the model's own distribution.
#[derive(Debug)]
struct Report {
    highest: f32,
    log_sum: f32,
    alternatives: Vec<LogProbability>,
}

impl Report {
    fn new(logits: &[f32], count: usize) -> Self {
        let candidates = highest(logits, count.max(1), f32::NEG_INFINITY);
        let first = candidates.first().map_or(f32::NEG_INFINITY, |candidate| candidate.logit);
        #[allow(clippy::cast_possible_truncation)]
        let log_sum = sum_of_exponentials(logits, first, 1.0).ln() as f32;
        let mut report = Self { highest: first, log_sum, alternatives: Vec::new() };
        let alternatives = candidates.iter().take(count);
        report.alternatives = alternatives
            .map(|candidate| LogProbability {
                token: candidate.token,
                value: report.log_probability(candidate.logit),
            })
            .collect();
        report
    }

    fn log_probability(&self, logit: f32) -> f32 {
        if self.highest.is_finite() {
            logit - self.highest - self.log_sum
        } else if logit.is_infinite() && logit > 0.0 {
            // One token that is infinitely likely.
            0.0
        } else {
            f32::NEG_INFINITY
        }
    }
}

#[cfg(test)]
mod tests;
