//! Panics on demand, so that a test can see what becomes of a fault of ours in the extension as people run it.
//!
//! `DOMOVOI_ACCEL_PANIC="word 8"` panics where the eighth word of the process is picked. Nobody else sets it.

use std::env;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

static ASKED: OnceLock<Option<(String, usize)>> = OnceLock::new();
static PASSED: AtomicUsize = AtomicUsize::new(0);

/// Panics if it was asked for, the so-many-th time that this place is passed.
pub fn maybe(place: &str) {
    let asked = ASKED.get_or_init(|| {
        let wish = env::var("DOMOVOI_ACCEL_PANIC").ok()?;
        let (place, count) = wish.split_once(' ')?;
        Some((place.to_owned(), count.parse().ok()?))
    });
    if let Some((asked, count)) = asked
        && asked == place
    {
        assert!(PASSED.fetch_add(1, Ordering::Relaxed) + 1 != *count, "a panic, as asked: {place}");
    }
}
