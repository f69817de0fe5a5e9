//! Whether guessing ahead pays, for one generation. Leviathan et al., "Fast Inference from Transformers via
//! Speculative Decoding", 2023, section 3: with acceptance p, k guesses give p + p² + … + pᵏ tokens more.

use super::limits::{LONGEST_PAUSE, MOST_PROPOSED, SHORTEST_PAUSE};
use super::lookup::Lookup;
use super::pace::Pace;

/// What is believed of a text that nothing was guessed in yet.
const FIRST_ACCEPTANCE: f64 = 0.5;
/// How much one guess changes that belief.
const WEIGHT: f64 = 0.1;
/// As many guesses are made to find out whether it pays again.
const TRIAL: usize = 2;

pub struct Speculation {
    lookup: Lookup,
    acceptance: f64,
    /// Tokens until the next trial, while guessing does not pay.
    pause: u32,
    next_pause: u32,
}

impl Speculation {
    pub fn new() -> Self {
        Self { lookup: Lookup::default(), acceptance: FIRST_ACCEPTANCE, pause: 0, next_pause: SHORTEST_PAUSE }
    }

    /// Returns what may come after `text`, in a step that speaks `spoken` tokens without it. At most `most`.
    pub fn propose<'a>(&mut self, text: &'a [u32], most: usize, spoken: usize, pace: &Pace) -> &'a [u32] {
        if self.pause > 0 {
            self.pause -= 1;
            return &[];
        }
        let best = best_number(self.acceptance, spoken, pace);
        self.lookup.propose(text, if best == 0 { TRIAL } else { best }.min(most))
    }

    /// Takes note that of `proposed` tokens the first `accepted` came true.
    pub fn note(&mut self, proposed: usize, accepted: usize, spoken: usize, pace: &Pace) {
        // Nothing is known of those after the first that did not.
        for position in 0..proposed.min(accepted + 1) {
            let came_true = if position < accepted { 1.0 } else { 0.0 };
            self.acceptance += WEIGHT * (came_true - self.acceptance);
        }
        if proposed == 0 {
            return;
        }
        if best_number(self.acceptance, spoken, pace) > 0 {
            self.next_pause = SHORTEST_PAUSE;
        } else {
            self.pause = self.next_pause;
            self.next_pause = (self.next_pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// How many guesses bring the most tokens a second; 0 when none do.
fn best_number(acceptance: f64, spoken: usize, pace: &Pace) -> usize {
    let count = |tokens: usize| f64::from(u32::try_from(tokens).unwrap_or(u32::MAX));
    let mut best = (0, 0.0);
    let (mut expected, mut likelihood) = (count(spoken), 1.0);
    for number in 0..=MOST_PROPOSED {
        if number > 0 {
            likelihood *= acceptance;
            expected += likelihood;
        }
        let Some(took) = pace.step(spoken + number) else { return MOST_PROPOSED / 2 };
        let speed = expected / took.as_secs_f64().max(1e-9);
        if speed > best.1 {
            best = (number, speed);
        }
    }
    best.0
}
