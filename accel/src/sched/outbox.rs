//! Events on their way from the scheduler to whoever asked. Writing never waits: what is not read yet grows together
//! into one event of each kind, so a reader that stalls costs no more than the answer's text.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::voice::Record;
use crate::error::{Error, Result};

/// Why an answer is over. `Length`: the context or the most tokens are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    End,
    Length,
    Stopped,
}

/// How an answer ended. `cached_tokens` of the prompt had been read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Finished {
    pub reason: Reason,
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub cached_tokens: usize,
    /// Milliseconds from the request to its first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<u64>,
}

/// The events of `inference_node/engines/engine.py`, with the same names in JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    Reading {
        done: usize,
        total: usize,
    },
    /// The next text, and how many tokens made it. Only a piece that has tokens may be without text.
    Piece {
        text: String,
        count: usize,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tokens: Vec<Record>,
    },
    Finished(Finished),
}

#[derive(Default)]
struct Outbox {
    unread: Mutex<Unread>,
    changed: Condvar,
    is_stopped: AtomicBool,
}

#[derive(Default)]
struct Unread {
    events: VecDeque<Event>,
    /// Tokens that no piece has counted yet.
    uncounted: usize,
    end: Option<Result<()>>,
    /// When the reader last got text.
    said: Option<Instant>,
    /// Whether the reader waits for a moment, and not for what comes: nothing but the end wakes it.
    is_resting: bool,
}

impl Outbox {
    fn unread(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, unread: &Unread) {
        if !unread.is_resting || unread.end.is_some() {
            self.changed.notify_one();
        }
    }
}

/// The scheduler's end. Dropped without an end, it says that the engine is gone.
pub struct Writer(Arc<Outbox>);

/// The end of whoever asked. Dropping it stops the generation.
pub struct Reader(Arc<Outbox>);

/// Returns both ends of a new outbox.
#[must_use]
pub fn outbox() -> (Writer, Reader) {
    let shared = Arc::new(Outbox::default());
    (Writer(Arc::clone(&shared)), Reader(shared))
}

impl Writer {
    /// Whether nobody wants any more of it.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.is_stopped.load(Ordering::Acquire)
    }

    pub fn reading(&self, done: usize, total: usize) {
        let mut unread = self.0.unread();
        match unread.events.back_mut() {
            Some(last @ Event::Reading { .. }) => *last = Event::Reading { done, total },
            _ => unread.events.push_back(Event::Reading { done, total }),
        }
        self.0.tell(&unread);
    }

    /// Takes the text of a token, or what is left at the end. Tokens that show nothing count with the next text.
    pub fn piece(&self, text: String, tokens: usize, record: Option<Record>) {
        let mut unread = self.0.unread();
        unread.uncounted += tokens;
        if text.is_empty() && record.is_none() {
            return;
        }
        let more = std::mem::take(&mut unread.uncounted);
        if let Some(Event::Piece { text: before, count, tokens }) = unread.events.back_mut() {
            before.push_str(&text);
            *count += more;
            tokens.extend(record);
        } else {
            unread.events.push_back(Event::Piece { text, count: more, tokens: record.into_iter().collect() });
        }
        self.0.tell(&unread);
    }

    pub fn finish(self, finished: Finished) {
        self.end(Ok(()), Some(Event::Finished(finished)));
    }

    pub fn fail(self, error: Error) {
        self.end(Err(error), None);
    }

    fn end(&self, end: Result<()>, event: Option<Event>) {
        let mut unread = self.0.unread();
        if unread.end.is_none() {
            unread.events.extend(event);
            unread.end = Some(end);
        }
        self.0.tell(&unread);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end(Err(Error::Failed("it ended before the answer did".into())), None);
    }
}

impl Reader {
    /// Returns what came since the last call, or waits for something at most `timeout`; `None` when nothing came.
    /// After the end there is always nothing more: an empty list.
    ///
    /// Text comes at least `apart` after the text before it: until then it grows together, and wakes nobody for each
    /// token. The end does not wait.
    ///
    /// # Errors
    /// What made the answer fail, once everything before it has been read.
    pub fn next(&self, timeout: Duration, apart: Duration) -> Result<Option<Vec<Event>>> {
        let mut now = Instant::now();
        let deadline = now.checked_add(timeout);
        let mut unread = self.0.unread();
        let rested = unread.said.and_then(|said| said.checked_add(apart));
        loop {
            let rest = match (&unread.end, rested) {
                (None, Some(rested)) => rested.saturating_duration_since(now),
                _ => Duration::ZERO,
            };
            if rest.is_zero() && !unread.events.is_empty() {
                let events: Vec<_> = unread.events.drain(..).collect();
                if events.iter().any(|event| matches!(event, Event::Piece { .. })) {
                    unread.said = Some(now);
                }
                return Ok(Some(events));
            }
            if let Some(end) = &unread.end {
                return end.clone().map(|()| Some(Vec::new()));
            }
            let left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(now));
            if left.is_zero() {
                return Ok(None);
            }
            unread.is_resting = !rest.is_zero();
            let wait = if unread.is_resting { left.min(rest) } else { left };
            unread = self.0.changed.wait_timeout(unread, wait).unwrap_or_else(PoisonError::into_inner).0;
            unread.is_resting = false;
            now = Instant::now();
        }
    }

    /// Asks for the end; it comes with the scheduler's next step.
    pub fn stop(&self) {
        self.0.is_stopped.store(true, Ordering::Release);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop();
    }
}
