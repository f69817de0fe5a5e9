//! A model that counts: what it says is a hash of the tokens before, and its cache is pages that sequences share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::decoder::{Chunk, Decoder, Sequence, Wanted};
use crate::error::{Error, Result};
use crate::sched::{Next, Voice};

/// How many tokens there are.
pub const WORDS: u32 = 50;
const VOCABULARY: usize = WORDS as usize;
pub const PAGE: usize = 8;
pub const PAGE_BYTES: usize = 100;
pub const CONTEXT: usize = 400;
pub const BATCH: usize = 48;
/// The token that ends an answer; seldom the likeliest one.
pub const END: u32 = 0;

/// What tests look at from outside.
#[derive(Default)]
pub struct Watch {
    pub steps: AtomicUsize,
    pub tokens: AtomicUsize,
    pub most_bytes: AtomicUsize,
    pub open: AtomicUsize,
    /// The step that is asked to go wrong, counted from 1.
    pub panic_at: AtomicUsize,
    pub out_of_memory_at: AtomicUsize,
    nanoseconds: AtomicU64,
}

impl Watch {
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }
}

type Page = Arc<Vec<u32>>;

pub struct Counting {
    pub watch: Arc<Watch>,
    /// Whether it repeats what it has said: a text that is worth guessing.
    pub repeats: bool,
    sequences: BTreeMap<u32, Vec<Page>>,
    opened: u32,
}

impl Counting {
    pub fn new(watch: &Arc<Watch>, repeats: bool) -> Self {
        Self { watch: Arc::clone(watch), repeats, sequences: BTreeMap::new(), opened: 0 }
    }

    fn tokens(&self, sequence: Sequence) -> Vec<u32> {
        self.sequences[&sequence.0].iter().flat_map(|page| page.iter().copied()).collect()
    }

    fn insert(&mut self, pages: Vec<Page>) -> Sequence {
        self.opened += 1;
        self.sequences.insert(self.opened, pages);
        self.watch.open.store(self.sequences.len(), Ordering::Relaxed);
        Sequence(self.opened)
    }

    fn push(&mut self, sequence: Sequence, token: u32) {
        let pages = self.sequences.get_mut(&sequence.0).unwrap();
        match pages.last_mut() {
            Some(page) if page.len() < PAGE => Arc::make_mut(page).push(token),
            _ => pages.push(Arc::new(vec![token])),
        }
    }
}

/// The token that follows a text.
fn likeliest(text: &[u32], repeats: bool) -> u32 {
    let seen = if repeats { &text[text.len().saturating_sub(2)..] } else { text };
    let hash = seen
        .iter()
        .fold(17_u64, |hash, &token| (hash ^ u64::from(token)).wrapping_mul(0x0100_0000_01b3) >> 3);
    u32::try_from(hash % u64::from(WORDS)).unwrap()
}

impl Decoder for Counting {
    fn vocabulary(&self) -> usize {
        VOCABULARY
    }

    fn context(&self) -> usize {
        CONTEXT
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn open(&mut self) -> Sequence {
        self.insert(Vec::new())
    }

    fn fork(&mut self, from: Sequence, length: usize) -> Sequence {
        let pages = self.sequences[&from.0].clone();
        let forked = self.insert(pages);
        assert!(length <= self.length(forked), "forked beyond the end");
        self.truncate(forked, length);
        forked
    }

    fn truncate(&mut self, sequence: Sequence, length: usize) {
        assert!(length <= self.length(sequence), "truncated beyond the end");
        let pages = self.sequences.get_mut(&sequence.0).unwrap();
        pages.truncate(length.div_ceil(PAGE));
        if !length.is_multiple_of(PAGE) {
            let last = pages.last_mut().unwrap();
            if last.len() > length % PAGE {
                Arc::make_mut(last).truncate(length % PAGE);
            }
        }
    }

    fn close(&mut self, sequence: Sequence) {
        assert!(self.sequences.remove(&sequence.0).is_some(), "closed twice");
        self.watch.open.store(self.sequences.len(), Ordering::Relaxed);
    }

    fn length(&self, sequence: Sequence) -> usize {
        self.sequences[&sequence.0].iter().map(|page| page.len()).sum()
    }

    fn cache_bytes(&self) -> usize {
        let mut pages: Vec<_> = self.sequences.values().flatten().map(Arc::as_ptr).collect();
        pages.sort_unstable();
        pages.dedup();
        pages.len() * PAGE_BYTES
    }

    fn cache_bytes_for(&self, tokens: usize) -> usize {
        // A page begun by somebody else is copied.
        (tokens.div_ceil(PAGE) + 1) * PAGE_BYTES
    }

    fn decode(&mut self, chunks: &[Chunk<'_>], logits: &mut Vec<f32>) -> Result<()> {
        let step = self.watch.steps.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(step != self.watch.panic_at.load(Ordering::Relaxed), "asked to panic");
        if step == self.watch.out_of_memory_at.load(Ordering::Relaxed) {
            return Err(Error::OutOfMemory("asked to".into()));
        }
        logits.clear();
        let mut tokens = 0;
        for chunk in chunks {
            assert!(!chunk.tokens.is_empty(), "an empty chunk");
            for (position, &token) in chunk.tokens.iter().enumerate() {
                self.push(chunk.sequence, token);
                let is_last = position + 1 == chunk.tokens.len();
                if chunk.wanted == Wanted::All || (chunk.wanted == Wanted::Last && is_last) {
                    let next = likeliest(&self.tokens(chunk.sequence), self.repeats);
                    logits.extend((0..VOCABULARY).map(|token| f32::from(u8::from(token == next as usize))));
                }
            }
            tokens += chunk.tokens.len();
            assert!(self.length(chunk.sequence) <= CONTEXT, "past the context");
        }
        let mut sequences: Vec<_> = chunks.iter().map(|chunk| chunk.sequence).collect();
        sequences.sort_unstable();
        assert!(sequences.windows(2).all(|pair| pair[0] != pair[1]), "a sequence twice in a step");
        assert!((1..=BATCH).contains(&tokens), "{tokens} tokens in a step");
        self.watch.tokens.fetch_add(tokens, Ordering::Relaxed);
        self.watch.most_bytes.fetch_max(self.cache_bytes(), Ordering::Relaxed);
        // One token takes 4 ms, each further one 1 ms.
        let took = 3_000_000 + 1_000_000 * u64::try_from(tokens).unwrap();
        self.watch.nanoseconds.fetch_add(took, Ordering::Relaxed);
        Ok(())
    }
}

/// Says the likeliest token, or at `temperature` one that depends on its own count of tokens too, as a seeded sampler
/// does.
pub struct Plain {
    pub seed: u32,
    said: u32,
}

impl Plain {
    pub fn new(seed: u32) -> Self {
        Self { seed, said: 0 }
    }
}

impl Voice for Plain {
    fn next(&mut self, logits: &mut [f32]) -> Result<Next> {
        assert_eq!(logits.len(), VOCABULARY);
        let likeliest = logits.iter().position(|&logit| logit > 0.5).unwrap();
        let shift = if self.seed == 0 {
            0
        } else {
            self.seed.wrapping_mul(self.said).wrapping_mul(2_654_435_761) >> 30
        };
        self.said += 1;
        let token = (u32::try_from(likeliest).unwrap() + shift) % WORDS;
        let ends = token == END;
        Ok(Next { token, text: if ends { String::new() } else { format!("{token} ") }, ends, record: None })
    }

    fn rest(&mut self) -> String {
        ".".into()
    }
}
