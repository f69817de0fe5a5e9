//! One answer in the making.

use std::time::Duration;

use super::Job;
use super::outbox::{Finished, Reason, Writer};
use super::pace::Pace;
use super::speculation::Speculation;
use super::voice::Voice;
use crate::decoder::{Decoder, Sequence};
use crate::error::{Error, Result};

pub struct Generation {
    pub id: u64,
    pub owner: Option<String>,
    /// Prompt and answer so far.
    pub tokens: Vec<u32>,
    /// Where its cache is; `None` while it waits.
    pub sequence: Option<Sequence>,
    /// How many of its tokens are in the cache.
    pub held: usize,
    prompt_tokens: usize,
    cached_tokens: Option<usize>,
    most_tokens: usize,
    voice: Box<dyn Voice>,
    speculation: Option<Speculation>,
    outbox: Writer,
    asked: Duration,
    first_token: Option<Duration>,
}

impl Generation {
    pub fn new(id: u64, job: Job, outbox: Writer, context: usize, now: Duration) -> Self {
        outbox.reading(0, job.prompt.len());
        Self {
            id,
            owner: job.owner,
            sequence: None,
            held: 0,
            prompt_tokens: job.prompt.len(),
            cached_tokens: None,
            most_tokens: job.most_tokens.min(context - job.prompt.len()),
            tokens: job.prompt,
            voice: job.voice,
            speculation: job.speculate.then(Speculation::new),
            outbox,
            asked: now,
            first_token: None,
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.outbox.is_stopped()
    }

    /// How many tokens must go through the model before the next one can be said.
    pub fn pending(&self) -> usize {
        self.tokens.len() - self.held
    }

    /// Its tokens as far as a cache can be of use: the last one goes through the model in any case, or nothing would
    /// come out.
    pub fn reusable(&self) -> &[u32] {
        &self.tokens[..self.tokens.len() - 1]
    }

    /// Begins, or goes on, with a sequence that holds the first tokens already.
    pub fn begin(&mut self, sequence: Sequence, held: usize) {
        self.sequence = Some(sequence);
        self.held = held;
        self.cached_tokens.get_or_insert(held);
        self.report_reading();
    }

    /// What it may say next, at most `most`, in a step that speaks `spoken` tokens without that.
    pub fn propose(&mut self, most: usize, spoken: usize, pace: &Pace) -> &[u32] {
        let most = most.min((self.most_tokens - self.answered()).saturating_sub(1));
        let foreseen = self.voice.foresee(most);
        if !foreseen.is_empty() {
            return foreseen;
        }
        match &mut self.speculation {
            Some(speculation) => speculation.propose(&self.tokens, most, spoken, pace),
            None => &[],
        }
    }

    /// Takes note that `tokens` more of its tokens are in the cache.
    pub fn read(&mut self, tokens: usize) {
        self.held += tokens;
        self.report_reading();
    }

    /// Says a token for each row of logits, as long as what was proposed comes true. Returns why it is over, if so.
    pub fn say(&mut self, rows: &mut [f32], proposed: &[u32], now: Duration) -> Result<Option<Reason>> {
        let width = rows.len() / (proposed.len() + 1);
        for (position, row) in rows.chunks_mut(width).enumerate() {
            let next = self.voice.next(row)?;
            self.tokens.push(next.token);
            self.first_token.get_or_insert(now.saturating_sub(self.asked));
            self.outbox.piece(next.text, 1, next.record);
            if next.ends {
                return Ok(Some(Reason::End));
            }
            if self.answered() >= self.most_tokens {
                return Ok(Some(Reason::Length));
            }
            if proposed.get(position) != Some(&next.token) {
                break;
            }
        }
        Ok(None)
    }

    /// Forgets the proposals that did not come true. All that the cache then lacks is the last token, which has not
    /// been through the model.
    pub fn settle(&mut self, decoder: &mut impl Decoder, proposed: usize, spoken: usize, pace: &Pace) {
        let Some(sequence) = self.sequence else { return };
        // A voice that failed said nothing after what the cache holds.
        let accepted = self.tokens.len().saturating_sub(1 + self.held);
        self.held += accepted;
        if decoder.length(sequence) > self.held {
            decoder.truncate(sequence, self.held);
        }
        if let Some(speculation) = &mut self.speculation {
            speculation.note(proposed, accepted, spoken, pace);
        }
    }

    pub fn finish(mut self, reason: Reason) {
        let rest = if reason == Reason::End { String::new() } else { self.voice.rest() };
        self.outbox.piece(rest, 0, None);
        let finished = Finished {
            reason,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.answered(),
            cached_tokens: self.cached_tokens.unwrap_or(0),
            first_token_ms: self.first_token.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        };
        self.outbox.finish(finished);
    }

    pub fn fail(self, error: Error) {
        self.outbox.fail(error);
    }

    fn answered(&self) -> usize {
        self.tokens.len() - self.prompt_tokens
    }

    pub fn report_reading(&self) {
        if self.answered() == 0 {
            self.outbox.reading(self.held, self.prompt_tokens);
        }
    }
}
