//! Where texts lie among each other: one vector for each, of length 1, pooled as the model's file says.

use std::sync::{Mutex, PoisonError};

use crate::decoder::{Chunk, Decoder, Sequence, Wanted};
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::model::Model;

/// What of a text's states becomes its vector. Numbers are those of llama.cpp's `llama_pooling_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first one (of BERT's token CLS), which has seen itself alone where no token looks ahead.
    First,
    /// The last one, which has seen all of the text.
    Last,
}

impl Pooling {
    /// Reads a file's way of pooling; `None` for a model that answers.
    ///
    /// # Errors
    /// `Unsupported` for other ways, for models that rank texts and for those that look ahead; `Damaged`.
    pub fn from_gguf(gguf: &Gguf) -> Result<Option<Self>> {
        let architecture: &str = gguf.require("general.architecture")?;
        let pooling = match gguf.get::<u32>(&format!("{architecture}.pooling_type"))?.unwrap_or(0) {
            0 => return Ok(None),
            1 => Self::Mean,
            2 => Self::First,
            3 => Self::Last,
            4 => return Err(Error::Unsupported("a model that ranks texts".into())),
            other => return Err(Error::Unsupported(format!("pooling of the type {other}"))),
        };
        if gguf.get::<bool>(&format!("{architecture}.attention.causal"))? == Some(false) {
            return Err(Error::Unsupported("attention to what comes later".into()));
        }
        Ok(Some(pooling))
    }
}

/// A model that was loaded for its states.
pub struct Embedder {
    model: Mutex<Model>,
    pooling: Pooling,
}

impl Embedder {
    /// Takes a model whose steps write states: see `model::Options::states`.
    #[must_use]
    pub fn new(model: Model, pooling: Pooling) -> Self {
        Self { model: Mutex::new(model), pooling }
    }

    /// Returns the vector of a text's tokens.
    ///
    /// # Errors
    /// `TooLong`, `BadRequest` when there are no tokens, `OutOfMemory`, `Failed`.
    pub fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        if tokens.is_empty() {
            return Err(Error::BadRequest("an empty text lies nowhere".into()));
        }
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() > model.context() {
            return Err(Error::TooLong { tokens: tokens.len() });
        }
        let sequence = model.open();
        let pooled = self.pool(&mut model, sequence, tokens);
        model.close(sequence);
        let mut vector = pooled?;
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        if length > 0.0 {
            for value in &mut vector {
                *value /= length;
            }
        }
        Ok(vector)
    }

    fn pool(&self, model: &mut Model, sequence: Sequence, tokens: &[u32]) -> Result<Vec<f32>> {
        let (tokens, wanted) = match self.pooling {
            Pooling::Mean => (tokens, Wanted::All),
            // What follows changes nothing about it.
            Pooling::First => (&tokens[..1], Wanted::All),
            Pooling::Last => (tokens, Wanted::Last),
        };
        let mut sum = vec![0.0; model.width()];
        let mut states = Vec::new();
        for tokens in tokens.chunks(model.batch()) {
            model.decode(&[Chunk { sequence, tokens, wanted }], &mut states)?;
            if self.pooling == Pooling::Last {
                sum.fill(0.0);
            }
            for state in states.chunks_exact(sum.len()) {
                for (total, value) in sum.iter_mut().zip(state) {
                    *total += value;
                }
            }
        }
        // A mean and a sum have the same direction.
        Ok(sum)
    }
}
