//! How long steps take on this machine, as far as it has been seen. Decides how much is done at once, never what.

use std::time::Duration;

use super::limits::{FIRST_READING, LEAST_READING, READING_ALONE, READING_BESIDE};

/// Steps of up to this many tokens, all spoken, are remembered one by one.
const REMEMBERED: usize = 64;
/// A new time counts an eighth: one that was disturbed is soon forgotten.
const WEIGHT: u32 = 8;

pub struct Pace {
    /// By how many tokens were spoken in the step, when none were read beside.
    speaking: [Option<Duration>; REMEMBERED + 1],
    /// For one token of a prompt.
    reading: Option<Duration>,
}

impl Pace {
    pub fn new() -> Self {
        Self { speaking: [None; REMEMBERED + 1], reading: None }
    }

    /// Takes note of a step.
    pub fn note(&mut self, spoken: usize, read: usize, took: Duration) {
        if read == 0 {
            if let Some(known) = self.speaking.get_mut(spoken) {
                *known = Some(blend(*known, took));
            }
            return;
        }
        let for_reading = took.saturating_sub(self.step(spoken).unwrap_or_default());
        let each = for_reading / u32::try_from(read).unwrap_or(u32::MAX);
        // The rest of a prompt, a few tokens, takes as long as a whole step and says little.
        if read >= LEAST_READING && !each.is_zero() {
            self.reading = Some(blend(self.reading, each));
        }
    }

    /// How long a step that speaks `spoken` tokens takes: seen, or reckoned from a smaller one that was seen.
    pub fn step(&self, spoken: usize) -> Option<Duration> {
        let known = self.speaking.get(..=spoken).unwrap_or(&self.speaking);
        let (nearest, took) =
            known.iter().enumerate().rev().find_map(|(tokens, took)| Some((tokens, (*took)?)))?;
        let more = u32::try_from(spoken - nearest).unwrap_or(u32::MAX);
        // Where reading was never seen, a further token is taken to cost a quarter of a step.
        Some(took + self.reading.unwrap_or(took / 4).min(took) * more)
    }

    /// How many tokens of prompts to read in a step that speaks `spoken` tokens.
    pub fn reading(&self, spoken: usize) -> usize {
        let Some(each) = self.reading else { return FIRST_READING };
        let within = if spoken == 0 {
            READING_ALONE
        } else {
            READING_BESIDE.max(self.step(spoken).unwrap_or_default())
        };
        let tokens = within.as_nanos() / each.as_nanos().max(1);
        usize::try_from(tokens).unwrap_or(usize::MAX).max(LEAST_READING)
    }
}

fn blend(known: Option<Duration>, seen: Duration) -> Duration {
    known.map_or(seen, |known| (known * (WEIGHT - 1) + seen) / WEIGHT)
}
