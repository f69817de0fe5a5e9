//! How many cores this process can have: what it uses, and what nobody uses.

use std::fs;
use std::time::Duration;

/// Time between two looks: the kernel counts in hundredths of a second, and a reading should be right to a tenth.
const INTERVAL: Duration = Duration::from_millis(200);
/// Hundredths of a second, whatever the kernel's own clock: `USER_HZ` of proc(5).
const TICKS_PER_SECOND: f64 = 100.0;

/// Looks at the machine now and then. Linux alone tells; elsewhere there are no readings.
#[derive(Debug, Default)]
pub struct Meter {
    last: Option<(Duration, Ticks)>,
}

/// Time since the machine and this process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    /// Of all cores together.
    idle: u64,
    /// Of all threads together.
    own: u64,
}

impl Meter {
    /// Returns how many cores this process could have had since the last reading; `None` when that is not long ago.
    pub fn read(&mut self, now: Duration) -> Option<f64> {
        if self.last.is_some_and(|(then, _)| now.saturating_sub(then) < INTERVAL) {
            return None;
        }
        let ticks =
            Ticks::of(&fs::read_to_string("/proc/stat").ok()?, &fs::read_to_string("/proc/self/stat").ok()?)?;
        let (then, before) = self.last.replace((now, ticks))?;
        Some(ticks.since(before) / TICKS_PER_SECOND / now.saturating_sub(then).as_secs_f64())
    }
}

impl Ticks {
    /// Reads the kernel's `/proc/stat` and `/proc/self/stat`, whose fields proc(5) describes.
    fn of(machine: &str, process: &str) -> Option<Self> {
        let all = machine.lines().next()?.strip_prefix("cpu ")?;
        // Idle, and idle while it waits for a disk.
        let idle = numbers(all, 3, 2)?;
        // Its name, in brackets, may hold anything; user and system time are the 12th and 13th fields after it.
        let own = numbers(process.rsplit_once(')')?.1, 11, 2)?;
        Some(Self { idle, own })
    }

    /// Ticks that were ours or nobody's.
    #[allow(clippy::cast_precision_loss)] // Some hundred ticks.
    fn since(self, before: Self) -> f64 {
        (self.idle.saturating_sub(before.idle) + self.own.saturating_sub(before.own)) as f64
    }
}

/// The sum of `count` numbers of a line after the first `skipped`.
fn numbers(line: &str, skipped: usize, count: usize) -> Option<u64> {
    line.split_whitespace().skip(skipped).take(count).map(|number| number.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::{Meter, Ticks};
    use std::time::Duration;

    #[test]
    fn ticks_are_those_of_the_kernel() {
        let machine = "cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        let process = "42 (a ) name) R 1 2 3 4 5 6 7 8 9 10 700 80 9 9 20 0 3 0 12 1 2";
        assert_eq!(Ticks::of(machine, process), Some(Ticks { idle: 4050, own: 780 }));
        let later = Ticks { idle: 4060, own: 800 };
        assert!((later.since(Ticks { idle: 4050, own: 780 }) - 30.0).abs() < 1e-9);
        for (machine, process) in
            [("", process), ("intr 5", process), (machine, "42 name"), (machine, "1 (x) R 1")]
        {
            assert!(Ticks::of(machine, process).is_none_or(|ticks| ticks.own == 0));
        }
    }

    #[test]
    fn readings_are_far_enough_apart() {
        let mut meter = Meter::default();
        assert_eq!(meter.read(Duration::from_secs(1)), None);
        assert_eq!(meter.read(Duration::from_millis(1100)), None);
        let cores = meter.read(Duration::from_secs(2));
        assert_eq!(cores.is_some(), cfg!(target_os = "linux"));
        assert!(cores.is_none_or(|cores| cores >= 0.0));
    }
}
