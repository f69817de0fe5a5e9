//! How many threads a step should have: fewer while other programs need the cores.
//!
//! Two threads on two cores are a trap the moment a browser draws: each waits for the other, which waits for the
//! browser. Two things are watched. The system says how many cores we could have (`Meter`), and no more threads are used
//! than that, at once and without trying. Where it says nothing, or the load is too small to decide, a core that is
//! taken from us shows as time that one thread waits for another in the middle of its piece; then a trial decides, in
//! real steps, whether fewer threads are faster. From time to time another trial decides whether one more is, sooner
//! after it was and later after it was not.

use std::time::Duration;

/// Steps and time over which speed is judged: several time slices of the system's scheduler.
const FEWEST_STEPS: u32 = 4;
const SHORTEST: Duration = Duration::from_millis(30);
/// The share of time spent waiting from which fewer threads may be faster. On a quiet machine it is a twentieth.
const SUSPICIOUS: f64 = 0.15;
/// What a trial must win for us to stay with it: less is noise.
const WORTH: f64 = 1.03;
/// How much of a core others may use before it is theirs: half of a thread that is hindered so much is lost in waiting.
const SLACK: f64 = 0.3;
/// How much less of it they may use before it is ours again, so that a load at the border changes nothing.
const MARGIN: f64 = 0.15;
/// How soon after a trial the next one may come.
const SOONEST: Duration = Duration::from_millis(250);
const LATEST: Duration = Duration::from_secs(8);

/// What a step took.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub tokens: usize,
    pub took: Duration,
    /// The part of it that the first thread waited for others in the middle of their pieces.
    pub stalled: Duration,
}

#[derive(Debug)]
pub struct Governor {
    most: usize,
    threads: usize,
    /// As many as there are cores for us, by the latest reading.
    bound: usize,
    window: Window,
    /// The trial that runs, if any.
    trial: Option<Trial>,
    fewer: Trials,
    more: Trials,
}

/// Steps with the same number of tokens and threads, one after another.
#[derive(Debug, Default, Clone, Copy)]
struct Window {
    tokens: usize,
    steps: u32,
    took: Duration,
    stalled: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Trial {
    /// What it is compared with.
    before: Window,
    threads_before: usize,
}

/// When trials in one direction may be made.
#[derive(Debug, Clone, Copy)]
struct Trials {
    not_before: Duration,
    pause: Duration,
    /// How many were lost, one after another.
    lost: u32,
}

impl Governor {
    /// Starts with all of `most` threads.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let trials = Trials { not_before: Duration::ZERO, pause: SOONEST, lost: 0 };
        Self {
            most,
            threads: most,
            bound: most,
            window: Window::default(),
            trial: None,
            fewer: trials,
            more: trials,
        }
    }

    /// How many threads the next step should have.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Takes note that this process could have had so many cores lately.
    pub fn bound(&mut self, cores: f64) {
        let with = |slack: f64| {
            let threads = (1..=self.most).rev().find(|threads| count(*threads) <= cores + slack);
            threads.unwrap_or(1)
        };
        // Between the two, all stays as it is.
        let bound = self.bound.clamp(with(SLACK - MARGIN), with(SLACK));
        if bound == self.bound {
            return;
        }
        // What was measured and learnt was so under another load.
        *self = Self { threads: bound, bound, ..Self::new(self.most) };
    }

    /// Takes note of a step that ended at `now`, a time from any fixed point.
    pub fn observe(&mut self, now: Duration, step: Step) {
        if self.most == 1 {
            return;
        }
        if step.tokens != self.window.tokens {
            // Other work: what was measured can't be compared with what comes.
            if let Some(trial) = self.trial.take() {
                self.threads = trial.threads_before;
            }
            self.window = Window { tokens: step.tokens, ..Window::default() };
            return;
        }
        self.window.steps += 1;
        self.window.took += step.took;
        self.window.stalled += step.stalled;
        if self.window.steps >= FEWEST_STEPS && self.window.took >= SHORTEST {
            let window =
                std::mem::replace(&mut self.window, Window { tokens: step.tokens, ..Window::default() });
            self.judge(now, window);
        }
    }

    fn judge(&mut self, now: Duration, window: Window) {
        if let Some(trial) = self.trial.take() {
            let won = trial.before.per_step() > window.per_step() * WORTH;
            let was_fewer = self.threads < trial.threads_before;
            let (tried, other) =
                if was_fewer { (&mut self.fewer, &mut self.more) } else { (&mut self.more, &mut self.fewer) };
            tried.ended(now, won);
            if won {
                // The other direction was just measured, too.
                other.not_before = now + other.pause;
            } else {
                self.threads = trial.threads_before;
            }
            return;
        }
        let suspicious = window.stalled.as_secs_f64() > SUSPICIOUS * window.took.as_secs_f64();
        if suspicious && self.threads > 1 && now >= self.fewer.not_before {
            // When two cores are busy, one thread fewer changes nothing: every other trial takes a large step.
            let fewer = if self.fewer.lost.is_multiple_of(2) { self.threads - 1 } else { self.threads / 2 };
            self.try_out(fewer, window);
        } else if self.threads < self.bound && now >= self.more.not_before {
            self.try_out(self.threads + 1, window);
        }
    }

    fn try_out(&mut self, threads: usize, before: Window) {
        self.trial = Some(Trial { before, threads_before: self.threads });
        self.threads = threads;
    }
}

#[allow(clippy::cast_precision_loss)] // Threads.
fn count(threads: usize) -> f64 {
    threads as f64
}

impl Window {
    fn per_step(&self) -> f64 {
        self.took.as_secs_f64() / f64::from(self.steps.max(1))
    }
}

impl Trials {
    fn ended(&mut self, now: Duration, won: bool) {
        (self.pause, self.lost) =
            if won { (SOONEST, 0) } else { (LATEST.min(self.pause * 2), self.lost.saturating_add(1)) };
        self.not_before = now + self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with four cores, some of which are busy with something else half of the time.
    struct Machine {
        now: Duration,
        busy: usize,
    }

    impl Machine {
        fn steps(&mut self, governor: &mut Governor, count: usize) {
            for _ in 0..count {
                let threads = governor.threads();
                let quiet = 20e-3 / [1.0, 1.8, 2.5, 3.0][threads - 1];
                // A thread on a busy core keeps the others waiting as long again.
                let collides = threads > 4 - self.busy;
                let stalled = if collides { quiet * 1.5 } else { quiet * 0.05 };
                let took = Duration::from_secs_f64(if collides { quiet + stalled } else { quiet });
                self.now += took;
                let stalled = Duration::from_secs_f64(stalled);
                governor.observe(self.now, Step { tokens: 1, took, stalled });
            }
        }
    }

    #[test]
    fn a_quiet_machine_keeps_all_threads() {
        let (mut machine, mut governor) = (Machine { now: Duration::ZERO, busy: 0 }, Governor::new(4));
        for _ in 0..500 {
            machine.steps(&mut governor, 1);
            assert_eq!(governor.threads(), 4);
        }
    }

    #[test]
    fn it_gives_way_and_comes_back() {
        let (mut machine, mut governor) = (Machine { now: Duration::ZERO, busy: 2 }, Governor::new(4));
        machine.steps(&mut governor, 300);
        let shares = (0..400).filter(|_| {
            machine.steps(&mut governor, 1);
            governor.threads() == 2
        });
        assert!(shares.count() > 300);
        machine.busy = 0;
        machine.steps(&mut governor, 4_000);
        assert_eq!(governor.threads(), 4);
    }

    #[test]
    fn steps_of_other_sizes_end_a_trial() {
        let (mut machine, mut governor) = (Machine { now: Duration::ZERO, busy: 1 }, Governor::new(4));
        while governor.threads() == 4 {
            machine.steps(&mut governor, 1);
        }
        let other = Step { tokens: 128, took: Duration::from_millis(60), stalled: Duration::ZERO };
        governor.observe(machine.now, other);
        assert_eq!(governor.threads(), 4);
    }

    /// Two cores and a program that takes a share of one: what a reading says, and how long steps take.
    fn step_beside(governor: &mut Governor, now: &mut Duration, share: f64) -> f64 {
        let two = governor.threads() == 2;
        let quiet = if two { 4e-3 } else { 6e-3 };
        // Who shares a core is late by the whole time slice of the other.
        let stalled = if two { quiet * share * 4.0 } else { 0.0 };
        *now += Duration::from_secs_f64(quiet + stalled);
        let took = Duration::from_secs_f64(quiet + stalled);
        governor.observe(*now, Step { tokens: 1, took, stalled: Duration::from_secs_f64(stalled) });
        quiet + stalled
    }

    #[test]
    fn a_busy_core_is_left_alone_at_once_and_never_tried() {
        let (mut governor, mut now) = (Governor::new(2), Duration::ZERO);
        // Our second thread and the other program share a core: half of it was ours.
        governor.bound(1.5);
        assert_eq!(governor.threads(), 1);
        for _ in 0..2_000 {
            step_beside(&mut governor, &mut now, 1.0);
            governor.bound(1.0);
            assert_eq!(governor.threads(), 1);
        }
        governor.bound(2.0);
        assert_eq!(governor.threads(), 2, "the other program has ended");
    }

    #[test]
    fn a_load_costs_little_whenever_it_comes_and_goes() {
        for period in [30, 200, 1_000] {
            let (mut governor, mut now, mut read) = (Governor::new(2), Duration::ZERO, Duration::ZERO);
            let (mut took, mut best) = (0.0, 0.0);
            for step in 0..6_000 {
                let share = if step / period % 2 == 0 { 1.0 } else { 0.0 };
                took += step_beside(&mut governor, &mut now, share);
                best += if share > 0.0 { 6e-3 } else { 4e-3 };
                // The load of the last fifth of a second, in cores.
                if now.saturating_sub(read) >= Duration::from_millis(200) {
                    read = now;
                    governor.bound(if share > 0.0 && governor.threads() == 2 { 1.5 } else { 2.0 - share });
                }
            }
            // A reading comes 200 ms late: a change costs at the most what the wrong number costs for that long.
            let late = 6_000.0 / f64::from(period) * 0.2 * 0.5;
            assert!(took <= best * 1.1 + late, "period {period}: {took:.2} s for {best:.2} s");
        }
    }

    #[test]
    fn a_load_at_the_border_changes_nothing() {
        let mut governor = Governor::new(4);
        governor.bound(2.75);
        assert_eq!(governor.threads(), 3);
        for cores in [2.8, 2.9, 2.7, 3.8] {
            governor.bound(cores);
            assert_eq!(governor.threads(), 3, "{cores}");
        }
        governor.bound(3.9);
        assert_eq!(governor.threads(), 4);
        for (cores, threads) in [(0.0, 1), (16.0, 4), (f64::NAN, 1)] {
            governor.bound(cores);
            assert_eq!(governor.threads(), threads, "{cores}");
        }
    }

    #[test]
    fn one_thread_is_all_there_is() {
        let mut governor = Governor::new(1);
        let step = Step { tokens: 1, took: Duration::from_millis(9), stalled: Duration::from_millis(8) };
        for second in 0..100 {
            governor.observe(Duration::from_secs(second), step);
        }
        assert_eq!(governor.threads(), 1);
    }
}
