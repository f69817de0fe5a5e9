//! The voice of an answer: what `text` knows of sampling, grammar, characters and stop strings, for the scheduler.

use std::sync::Arc;

use crate::error::Result;
use crate::fault;
use crate::sched::{Likely, Next, Record, Voice};
use crate::text::{Choice, Constraint, LogProbability, Sampler, TextStream, Tokenizer};

pub struct Speech {
    pub tokenizer: Arc<Tokenizer>,
    /// Has read the prompt.
    pub sampler: Sampler,
    pub constraint: Option<Constraint>,
    pub stream: TextStream,
}

impl Voice for Speech {
    fn next(&mut self, logits: &mut [f32]) -> Result<Next> {
        fault::maybe("word");
        let choice = self.sampler.sample(logits, self.constraint.as_mut())?;
        let token = choice.token;
        let mut ends = self.tokenizer.is_end(token);
        let record = if ends { None } else { self.record(&choice) };
        let bytes = said(&self.tokenizer, token);
        let mut text = self.stream.push(bytes);
        ends |=
            self.stream.stopped_by().is_some() || self.constraint.as_ref().is_some_and(Constraint::is_done);
        if ends {
            text.push_str(&self.stream.finish());
        }
        Ok(Next { token, text, ends, record })
    }

    fn rest(&mut self) -> String {
        self.stream.finish()
    }
}

impl Speech {
    fn record(&self, choice: &Choice) -> Option<Record> {
        let token = self.likely(choice.token, choice.log_probability?);
        let alternatives =
            choice.alternatives.iter().map(|&LogProbability { token, value }| self.likely(token, value));
        Some(Record { token, alternatives: alternatives.collect() })
    }

    fn likely(&self, token: u32, logprob: f32) -> Likely {
        let bytes = self.tokenizer.token_bytes(token).to_vec();
        Likely { text: String::from_utf8_lossy(&bytes).into_owned(), bytes, logprob }
    }
}

/// Control tokens of Mistral's that are part of what a model says: it calls tools with them.
const CALLING: [&[u8]; 3] = [b"[TOOL_CALLS]", b"[CALL_ID]", b"[ARGS]"];

/// What a token says; nothing for those that only have a meaning to the model.
fn said(tokenizer: &Tokenizer, token: u32) -> &[u8] {
    let bytes = tokenizer.token_bytes(token);
    let is_silent = tokenizer.is_end(token) || tokenizer.is_control(token) && !CALLING.contains(&bytes);
    if is_silent { &[] } else { bytes }
}
