//! How much the scheduler does at once. Constants that depend on each other stand together.

use std::time::Duration;

/// What the owner of the engine decides.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of cache, for answers that run and for prompts kept to be used again.
    pub cache_bytes: usize,
    /// Answers that run at once; further ones wait.
    pub generations: usize,
}

/// A step with nobody waiting for a token may take as long as this: it is also how late a stop can be seen.
pub const READING_ALONE: Duration = Duration::from_millis(250);
/// What reading somebody's prompt may add to a step in which others speak: they keep about 20 tokens a second, or
/// half of their pace where a step takes longer than this anyway.
pub const READING_BESIDE: Duration = Duration::from_millis(50);
/// Tokens of a prompt read in a step before any step has been measured.
pub const FIRST_READING: usize = 32;
/// Tokens of a prompt read in a step at the least, or a slow machine would never get through.
pub const LEAST_READING: usize = 8;

/// How often an answer that waits for its turn reports that, as long as others get on.
pub const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Room for growth, in tokens, that an answer must find before it begins: more than one page of cache, and enough
/// that a memory at its limit is not spent on answers that take turns in being put back.
pub const GROWTH: usize = 64;

/// Prompts kept at the most, however short; finding the best one looks at each.
pub const MOST_PREFIXES: usize = 64;

/// Tokens that must agree before what followed them is proposed.
pub const MATCH: usize = 3;
/// Tokens guessed ahead at the most. At 95 % acceptance and a quarter of a step for each more, 8 is the best number.
pub const MOST_PROPOSED: usize = 8;
/// After proposals that did not pay none are made for so many tokens; the pause doubles up to the longest.
pub const SHORTEST_PAUSE: u32 = 16;
pub const LONGEST_PAUSE: u32 = 256;
