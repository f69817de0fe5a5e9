//! Who gets how many tokens of a step.

use super::limits::MOST_PROPOSED;
use super::pace::Pace;

/// Returns how many of its pending tokens each generation brings into a step of at most `batch`.
///
/// Those with one pending token speak: they always get it. What is left is for those that read a prompt, in equal
/// parts, so that a short prompt does not wait for a long one; whoever came first gets what does not divide.
pub fn plan(pending: &[usize], batch: usize, pace: &Pace) -> Vec<usize> {
    let mut shares: Vec<usize> = pending.iter().map(|&pending| usize::from(pending == 1)).collect();
    let speaking: usize = shares.iter().sum();
    let mut left = pace.reading(speaking).min(batch.saturating_sub(speaking));
    let mut readers: Vec<usize> = (0..pending.len()).filter(|&index| pending[index] > 1).collect();
    // The smallest first: what it leaves of its part goes to the others.
    readers.sort_by_key(|&index| (pending[index], index));
    let count = readers.len();
    for (position, index) in readers.into_iter().enumerate() {
        let share = left.div_ceil(count - position).min(pending[index]);
        shares[index] = share;
        left -= share;
    }
    shares
}

/// Returns how many tokens may be proposed in a step in which these shares are taken.
pub fn room_for_proposals(shares: &[usize], batch: usize) -> usize {
    let taken: usize = shares.iter().sum();
    let speaking = shares.iter().filter(|&&share| share == 1).count();
    batch.saturating_sub(taken).checked_div(speaking).unwrap_or(0).min(MOST_PROPOSED)
}
