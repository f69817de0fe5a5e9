//! The buffers that a step works in, made once for a model.

use super::config::Config;
use super::rotation::Turns;
use super::step::BATCH;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::kernels::Activations;

/// Buffers for the rows of a step.
#[derive(Debug)]
pub struct Scratch {
    /// What flows from layer to layer.
    pub stream: Vec<f32>,
    pub query: Vec<f32>,
    pub key: Vec<f32>,
    pub value: Vec<f32>,
    pub attended: Vec<f32>,
    /// What a part of a layer adds to the stream, where that has a norm of its own.
    pub added: Vec<f32>,
    pub inner: Vec<f32>,
    pub normed: Activations,
    pub attended_codes: Activations,
    pub inner_codes: Activations,
    pub turns: Turns,
    pub sliding_turns: Option<Turns>,
}

impl Scratch {
    /// # Errors
    /// `OutOfMemory`.
    pub fn new(config: &Config, weights: &Weights) -> Result<Self> {
        let floats = weights.wants_floats();
        let divisors = weights.rotation_divisors.as_deref();
        let activations = |width| Activations::new(BATCH, width, floats);
        Ok(Self {
            stream: buffer(config.width)?,
            query: buffer(config.query_width())?,
            key: buffer(config.key_width())?,
            value: buffer(config.key_width())?,
            attended: buffer(config.query_width())?,
            added: buffer(config.width)?,
            inner: buffer(config.inner_width)?,
            normed: activations(config.width)?,
            attended_codes: activations(config.query_width())?,
            inner_codes: activations(config.inner_width)?,
            turns: Turns::new(config.rotation, divisors),
            sliding_turns: config.sliding.map(|sliding| Turns::new(sliding.rotation, None)),
        })
    }
}

fn buffer(width: usize) -> Result<Vec<f32>> {
    let mut buffer = Vec::new();
    buffer
        .try_reserve_exact(BATCH * width)
        .map_err(|_| Error::OutOfMemory(format!("{} bytes of scratch", BATCH * width * 4)))?;
    buffer.resize(BATCH * width, 0.0);
    Ok(buffer)
}
