//! Which instructions steps of one token use.
//!
//! Such a step reads every weight once and computes little with it: how well a set of instructions keeps memory busy
//! depends on the processor, and not on its width. On a Zen 4, AVX2 wrote 288 tokens a second and AVX-512 258, while
//! AVX-512 read prompts faster; on a Sapphire Rapids both write alike. As vectors of any width give the same bits, the
//! first steps try them in turn, and the fastest stays. Steps of more tokens compute, and use the widest there is.

use std::time::Duration;

use crate::kernels::Isa;

/// Steps with each set: an odd number, enough that a step in which another program had the core does not decide.
const ROUNDS: usize = 15;
/// What a set must win over the one that longer steps use: less is noise.
const WORTH: f64 = 1.03;

#[derive(Debug)]
pub struct Contest {
    /// What steps of more tokens use.
    widest: Isa,
    /// The sets in contest, until it is decided.
    rivals: Vec<Isa>,
    /// What each step of one token took, of as many threads.
    took: Vec<Duration>,
    threads: usize,
    /// What steps of one token use when it is.
    winner: Isa,
}

impl Contest {
    /// Between all sets that give the same bits as `isa`.
    #[must_use]
    pub fn new(isa: Isa) -> Self {
        Self { rivals: isa.alike(), ..Self::decided(isa) }
    }

    /// No contest.
    #[must_use]
    pub fn decided(isa: Isa) -> Self {
        Self { widest: isa, rivals: vec![isa], took: Vec::new(), threads: 0, winner: isa }
    }

    /// What a step of so many tokens should use.
    #[must_use]
    pub fn isa(&self, tokens: usize) -> Isa {
        match (tokens, self.rivals.len()) {
            (2.., _) => self.widest,
            (_, 0 | 1) => self.winner,
            (_, count) => self.rivals[self.took.len() % count],
        }
    }

    /// Takes note of what a step took.
    pub fn observe(&mut self, tokens: usize, threads: usize, took: Duration) {
        if tokens != 1 || self.rivals.len() < 2 {
            return;
        }
        if threads != self.threads {
            self.threads = threads;
            self.took.clear();
        }
        self.took.push(took);
        if self.took.len() == ROUNDS * self.rivals.len() {
            self.decide();
        }
    }

    fn decide(&mut self) {
        let medians: Vec<_> = (0..self.rivals.len()).map(|index| self.median(index)).collect();
        let of =
            |isa| self.rivals.iter().position(|rival| *rival == isa).map_or(f64::MAX, |index| medians[index]);
        let fastest = self.rivals.iter().copied().min_by(|a, b| of(*a).total_cmp(&of(*b)));
        self.winner = fastest.filter(|isa| of(*isa) * WORTH < of(self.widest)).unwrap_or(self.widest);
        self.rivals.clear();
        self.took = Vec::new();
    }

    fn median(&self, index: usize) -> f64 {
        let mut took: Vec<_> = self.took.iter().skip(index).step_by(self.rivals.len()).collect();
        took.sort_unstable();
        took[took.len() / 2].as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Contest, ROUNDS};
    use crate::kernels::Isa;

    /// Holds a contest in which a step takes what `took` says, and returns what steps of one token use then.
    fn held(took: impl Fn(Isa, usize) -> u64) -> Isa {
        let mut contest = Contest::new(Isa::detect());
        for step in 0..ROUNDS * Isa::available().len() {
            let isa = contest.isa(1);
            contest.observe(1, 2, Duration::from_micros(took(isa, step)));
            assert_eq!(contest.isa(2), Isa::detect(), "longer steps take no part");
            contest.observe(512, 2, Duration::from_secs(1));
        }
        contest.isa(1)
    }

    #[test]
    fn the_fastest_set_wins() {
        for expected in Isa::detect().alike() {
            // One step in four is disturbed by another program.
            let took = |isa, step| {
                if step % 4 == 3 {
                    90_000
                } else if isa == expected {
                    3_000
                } else {
                    3_300
                }
            };
            assert_eq!(held(took), expected);
        }
    }

    #[test]
    fn a_difference_that_may_be_noise_changes_nothing() {
        for faster in Isa::detect().alike() {
            assert_eq!(held(|isa, _| if isa == faster { 3_000 } else { 3_050 }), Isa::detect());
        }
    }

    #[test]
    fn steps_of_other_threads_are_not_compared() {
        let mut contest = Contest::new(Isa::detect());
        for step in 0..10 * ROUNDS {
            contest.observe(1, 1 + step % 2, Duration::from_micros(step as u64));
        }
        assert_eq!(contest.took.len(), usize::from(contest.rivals.len() > 1));
    }

    #[test]
    fn what_was_asked_for_is_not_contested() {
        for isa in Isa::available() {
            let mut contest = Contest::decided(isa);
            for _ in 0..100 {
                contest.observe(1, 1, Duration::from_micros(5));
                assert_eq!((contest.isa(1), contest.isa(9)), (isa, isa));
            }
        }
    }
}
