//! The scheduler's behaviour, a step at a time. It keeps three things true: the cache never takes more than its bound,
//! the answer that came first never waits for a later one, and every job is ended exactly once.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::Job;
use super::generation::Generation;
use super::limits::{GROWTH, Limits, SIGN_OF_LIFE};
use super::outbox::{Reason, Writer};
use super::pace::Pace;
use super::plan::{plan, room_for_proposals};
use super::prefixes::{Prefixes, common};
use crate::decoder::{Chunk, Decoder, Sequence, Wanted};
use crate::error::{Error, Result};

pub struct Machine<D: Decoder> {
    decoder: D,
    limits: Limits,
    context: usize,
    clock: Box<dyn Fn() -> Duration + Send>,
    waiting: Vec<Generation>,
    running: Vec<Generation>,
    prefixes: Prefixes,
    pace: Pace,
    logits: Vec<f32>,
    added: u64,
    /// When those who wait last heard that the machine lives.
    reassured: Duration,
}

/// What one running generation brings into a step: tokens of its text, then those that are guessed to follow.
struct Part {
    index: usize,
    tokens: Vec<u32>,
    proposed: usize,
    speaks: bool,
}

impl Part {
    fn rows(&self) -> usize {
        if self.speaks { 1 + self.proposed } else { 0 }
    }
}

impl<D: Decoder> Machine<D> {
    /// # Errors
    /// `OutOfMemory` when the cache's bound does not leave room for the shortest answer.
    pub fn new(decoder: D, limits: Limits) -> Result<Self> {
        let start = Instant::now();
        Self::with_clock(decoder, limits, Box::new(move || start.elapsed()))
    }

    pub fn with_clock(decoder: D, limits: Limits, clock: Box<dyn Fn() -> Duration + Send>) -> Result<Self> {
        let context = context_within(&decoder, limits.cache_bytes);
        if context < 2 {
            return Err(Error::OutOfMemory(format!("{} bytes of cache hold no answer", limits.cache_bytes)));
        }
        Ok(Self {
            decoder,
            limits,
            context,
            clock,
            waiting: Vec::new(),
            running: Vec::new(),
            prefixes: Prefixes::default(),
            pace: Pace::new(),
            logits: Vec::new(),
            added: 0,
            reassured: Duration::ZERO,
        })
    }

    pub fn context(&self) -> usize {
        self.context
    }

    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Queues a job whose prompt leaves room in the context.
    pub fn add(&mut self, job: Job, outbox: Writer) {
        self.added += 1;
        self.waiting.push(Generation::new(self.added, job, outbox, self.context, (self.clock)()));
    }

    /// Carries everything on by one run of the model.
    ///
    /// # Errors
    /// What the model can't recover from; the machine is of no use after it.
    pub fn step(&mut self) -> Result<()> {
        self.end_stopped();
        self.admit();
        self.reassure();
        while !self.running.is_empty() {
            let Some(parts) = self.parts() else { continue };
            match self.decode(&parts) {
                Ok(()) => break,
                // The bound is kept, but the system may have less than that.
                Err(error @ Error::OutOfMemory(_)) => self.give_way(&error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends everything as stopped.
    pub fn close(mut self) {
        let all = self.waiting.drain(..).chain(self.running.drain(..));
        all.for_each(|generation| generation.finish(Reason::Stopped));
    }

    /// Ends everything with an error.
    pub fn fail(&mut self, error: &Error) {
        let all = self.waiting.drain(..).chain(self.running.drain(..));
        all.for_each(|generation| generation.fail(error.clone()));
    }

    fn end_stopped(&mut self) {
        for generation in self.waiting.extract_if(.., |generation| generation.is_stopped()) {
            generation.finish(Reason::Stopped);
        }
        while let Some(index) = self.running.iter().position(Generation::is_stopped) {
            self.end(index, Ok(Reason::Stopped));
        }
    }

    /// Gives those who wait a sign of life, so that nobody takes a long queue for an engine that hangs.
    fn reassure(&mut self) {
        let now = (self.clock)();
        if now.saturating_sub(self.reassured) >= SIGN_OF_LIFE {
            self.reassured = now;
            self.waiting.iter().for_each(Generation::report_reading);
        }
    }

    /// Lets those begin that there is room for: first whose owner has the fewest running, then who came first.
    fn admit(&mut self) {
        while self.running.len() < self.limits.generations {
            let running_of =
                |owner: &Option<String>| self.running.iter().filter(|other| other.owner == *owner).count();
            let order = |generation: &Generation| (running_of(&generation.owner), generation.id);
            let Some(index) = (0..self.waiting.len()).min_by_key(|&index| order(&self.waiting[index])) else {
                return;
            };
            let sequence = self.open(index);
            let held = self.decoder.length(sequence);
            let others = self.running.iter().map(Generation::pending);
            let growth = others.chain([self.waiting[index].tokens.len() - held]);
            let bytes = growth.map(|tokens| self.decoder.cache_bytes_for(tokens + GROWTH)).sum();
            // Alone it always fits in the end: that is how the context was chosen.
            if !self.make_room(bytes) && !self.running.is_empty() {
                self.decoder.close(sequence);
                return;
            }
            let mut generation = self.waiting.remove(index);
            generation.begin(sequence, held);
            self.running.push(generation);
        }
    }

    /// Opens a sequence that begins with as much as there is in the cache of the waiting generation's tokens.
    fn open(&mut self, index: usize) -> Sequence {
        let generation = &self.waiting[index];
        let Some(owner) = &generation.owner else { return self.decoder.open() };
        let tokens = generation.reusable();
        let siblings = self.running.iter().filter(|other| other.owner.as_ref() == Some(owner));
        let running = siblings
            .filter_map(|other| Some((other.sequence?, common(&other.tokens[..other.held], tokens))))
            .max_by_key(|&(_, shared)| shared);
        let kept = self.prefixes.best(owner, tokens);
        match running.into_iter().chain(kept).max_by_key(|&(_, shared)| shared) {
            Some((from, shared)) if shared > 0 => self.decoder.fork(from, shared),
            _ => self.decoder.open(),
        }
    }

    /// Drops kept prompts until `bytes` more fit; returns whether they do.
    fn make_room(&mut self, bytes: usize) -> bool {
        while !self.fits(bytes) {
            if !self.prefixes.drop_oldest(&mut self.decoder) {
                return false;
            }
        }
        true
    }

    fn fits(&self, bytes: usize) -> bool {
        self.decoder.cache_bytes().saturating_add(bytes) <= self.limits.cache_bytes
    }

    /// Returns what goes into the next step; `None` when somebody had to be put back for lack of memory.
    fn parts(&mut self) -> Option<Vec<Part>> {
        let pending: Vec<usize> = self.running.iter().map(Generation::pending).collect();
        let mut shares = plan(&pending, self.decoder.batch(), &self.pace);
        let mut bytes = self.bytes_for(&shares);
        while !self.make_room(bytes) {
            if shares.len() == 1 && shares[0] > 1 {
                shares[0] /= 2;
                bytes = self.bytes_for(&shares);
            } else {
                self.give_way(&Error::OutOfMemory("the cache is full".into()));
                return None;
            }
        }
        let most = room_for_proposals(&shares, self.decoder.batch());
        let spoken = shares.iter().filter(|&&share| share == 1).count();
        let mut parts = Vec::with_capacity(shares.len());
        for (index, share) in shares.into_iter().enumerate().filter(|&(_, share)| share > 0) {
            let generation = &mut self.running[index];
            let speaks = share == generation.pending();
            let from = generation.held;
            let mut tokens = generation.tokens[from..from + share].to_vec();
            if share == 1 && speaks {
                tokens.extend_from_slice(generation.propose(most, spoken, &self.pace));
                // Guesses are not worth a kept prompt.
                let more = self.decoder.cache_bytes_for(tokens.len()) - self.decoder.cache_bytes_for(1);
                if self.fits(bytes + more) { bytes += more } else { tokens.truncate(1) }
            }
            let proposed = tokens.len() - share;
            parts.push(Part { index, tokens, proposed, speaks });
        }
        Some(parts)
    }

    fn bytes_for(&self, shares: &[usize]) -> usize {
        shares.iter().filter(|&&share| share > 0).map(|&share| self.decoder.cache_bytes_for(share)).sum()
    }

    /// Frees memory: a kept prompt's, or else that of whoever came last, who begins anew when there is room again. One
    /// that is alone can't be helped.
    fn give_way(&mut self, error: &Error) {
        if self.prefixes.drop_oldest(&mut self.decoder) {
            return;
        }
        let Some(last) = (0..self.running.len()).max_by_key(|&index| self.running[index].id) else { return };
        if self.running.len() == 1 {
            self.end(last, Err(error.clone()));
            return;
        }
        let mut generation = self.running.remove(last);
        if let Some(sequence) = generation.sequence.take() {
            self.decoder.close(sequence);
        }
        generation.held = 0;
        self.waiting.push(generation);
    }

    fn decode(&mut self, parts: &[Part]) -> Result<()> {
        let chunks: Vec<Chunk<'_>> = parts
            .iter()
            .filter_map(|part| {
                let wanted = match part {
                    Part { speaks: false, .. } => Wanted::None,
                    Part { proposed: 0, .. } => Wanted::Last,
                    _ => Wanted::All,
                };
                Some(Chunk { sequence: self.running[part.index].sequence?, tokens: &part.tokens, wanted })
            })
            .collect();
        let begun = (self.clock)();
        self.decoder.decode(&chunks, &mut self.logits)?;
        let ended = (self.clock)();
        let read: usize =
            parts.iter().map(|part| part.tokens.len() - part.proposed).filter(|&tokens| tokens > 1).sum();
        let tokens: usize = parts.iter().map(|part| part.tokens.len()).sum();
        self.pace.note(tokens - read, read, ended.saturating_sub(begun));
        self.deliver(parts, ended);
        Ok(())
    }

    /// Hands out the rows of logits, and ends what has come to its end.
    fn deliver(&mut self, parts: &[Part], now: Duration) {
        let spoken = parts.iter().filter(|part| part.speaks).count();
        let mut ended = Vec::new();
        let mut rows = self.logits.as_mut_slice();
        for part in parts {
            let (own, others) = rows.split_at_mut(part.rows() * self.decoder.vocabulary());
            rows = others;
            let generation = &mut self.running[part.index];
            let (read, proposed) = part.tokens.split_at(part.tokens.len() - part.proposed);
            generation.read(read.len());
            if !part.speaks {
                continue;
            }
            let said = generation.say(own, proposed, now);
            generation.settle(&mut self.decoder, proposed.len(), spoken, &self.pace);
            match said {
                Ok(None) => {}
                Ok(Some(reason)) => ended.push((part.index, Ok(reason))),
                Err(error) => ended.push((part.index, Err(error))),
            }
        }
        // From the back, so that the places of those before stay.
        ended.sort_by_key(|&(index, _)| Reverse(index));
        for (index, outcome) in ended {
            self.end(index, outcome);
        }
    }

    fn end(&mut self, index: usize, outcome: Result<Reason>) {
        let mut generation = self.running.remove(index);
        if let Some(sequence) = generation.sequence.take() {
            match generation.owner.take() {
                Some(owner) => {
                    let held = generation.tokens[..generation.held].to_vec();
                    self.prefixes.keep(&mut self.decoder, owner, held, sequence);
                }
                None => self.decoder.close(sequence),
            }
        }
        match outcome {
            Ok(reason) => generation.finish(reason),
            Err(error) => generation.fail(error),
        }
    }
}

/// The most tokens of one sequence that can be had one by one within `bytes`.
fn context_within(decoder: &impl Decoder, bytes: usize) -> usize {
    let one = decoder.cache_bytes_for(1);
    let (mut low, mut high) = (0, decoder.context());
    while low < high {
        let middle = (low + high).div_ceil(2);
        if decoder.cache_bytes_for(middle).saturating_add(one) <= bytes {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}
