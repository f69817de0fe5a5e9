//! A model: weights, a cache of what sequences have said, and steps that add to it.

mod cache;
mod config;
mod contest;
mod rotation;
mod score;
mod scratch;
mod sharing;
mod states;
mod step;
mod weights;

use std::collections::HashSet;
use std::thread::available_parallelism;
use std::time::Instant;

pub use config::Architecture;
pub use score::score;
pub use weights::Progress;

use crate::decoder::{Chunk, Decoder, Sequence, Wanted};
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::kernels::{CacheFormat, Format, Isa};
use crate::threads::{self, Governor, Meter, Pool};
use cache::Cache;
use config::Config;
use contest::Contest;
use scratch::Scratch;
use step::{BATCH, Part};
use weights::Weights;

/// How a model is to be run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The most threads.
    pub threads: usize,
    /// Vector instructions; the fastest there are, for each kind of step, if not said.
    pub isa: Option<Isa>,
    /// The most tokens of a sequence; what the model was made for if not said, and never more.
    pub context: Option<usize>,
    /// The most memory for keys and values; enough for one sequence of the whole context if not said.
    pub cache_bytes: Option<usize>,
    /// Whether steps write states, of which embeddings are made, in place of logits.
    pub states: bool,
    /// How keys and values are kept.
    pub cache: CacheFormat,
}

impl Default for Options {
    fn default() -> Self {
        let threads = available_parallelism().map_or(1, usize::from);
        Self {
            threads,
            isa: None,
            context: None,
            cache_bytes: None,
            states: false,
            cache: CacheFormat::default(),
        }
    }
}

/// What there is to say about a model that is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub architecture: &'static str,
    pub parameters: u64,
    /// The packing of most parameters.
    pub quantization: Format,
    pub layers: usize,
    pub vocabulary: usize,
    /// The most tokens of a sequence.
    pub context: usize,
    /// The most tokens that the model was made for.
    pub trained_context: usize,
    pub isa: &'static str,
    pub threads: usize,
    pub weight_bytes: usize,
    /// The most memory for keys and values.
    pub cache_bytes: usize,
}

#[derive(Debug)]
pub struct Model {
    config: Config,
    weights: Weights,
    cache: Cache,
    cache_format: CacheFormat,
    scratch: Scratch,
    context: usize,
    states: bool,
    isa: Isa,
    contest: Contest,
    pool: Pool,
    governor: Governor,
    meter: Meter,
    began: Instant,
}

impl Model {
    /// Reads and packs a file's weights; the file is not needed any more then.
    ///
    /// # Errors
    /// `Unsupported` for what this engine does not do, `Damaged`, `OutOfMemory`, and `Failed` when `progress` breaks it
    /// off.
    pub fn load(gguf: &Gguf, options: Options, progress: Progress<'_>) -> Result<Self> {
        let config = Config::read(gguf)?;
        if !config.head_width.is_multiple_of(options.cache.step()) {
            return Err(Error::Unsupported(format!(
                "keys of {} values kept as {:?}",
                config.head_width, options.cache
            )));
        }
        let mut pool = Pool::new(options.threads)?;
        let weights = Weights::load(gguf, &config, &mut pool, progress)?;
        let scratch = Scratch::new(&config, &weights)?;
        let context = options.context.map_or(config.context, |context| context.clamp(1, config.context));
        let cache_bytes =
            options.cache_bytes.unwrap_or_else(|| Cache::new(&config, options.cache, 0).bytes_for(context));
        Ok(Self {
            cache: Cache::new(&config, options.cache, cache_bytes),
            cache_format: options.cache,
            config,
            weights,
            scratch,
            context,
            states: options.states,
            isa: options.isa.unwrap_or_else(Isa::detect),
            contest: options.isa.map_or_else(|| Contest::new(Isa::detect()), Contest::decided),
            governor: Governor::new(pool.size()),
            meter: Meter::default(),
            pool,
            began: Instant::now(),
        })
    }

    #[must_use]
    pub fn describe(&self) -> Description {
        Description {
            architecture: self.config.architecture.name(),
            parameters: self.weights.parameters,
            quantization: self.weights.format,
            layers: self.config.layers,
            vocabulary: self.vocabulary(),
            context: self.context,
            trained_context: self.config.context,
            isa: self.isa.name(),
            threads: self.pool.size(),
            weight_bytes: self.weights.bytes(),
            cache_bytes: self.cache.most_bytes(),
        }
    }

    /// How many values a state has.
    #[must_use]
    pub fn width(&self) -> usize {
        self.config.width
    }

    /// How many threads the latest step had, which the load of the machine decides.
    #[must_use]
    pub fn active_threads(&self) -> usize {
        self.pool.threads()
    }

    /// Lays chunks out as rows.
    fn parts(&self, chunks: &[Chunk<'_>]) -> Result<Vec<Part>> {
        let mut parts = Vec::with_capacity(chunks.len());
        let mut sequences = HashSet::new();
        let mut start = 0;
        for chunk in chunks {
            let position = self.cache.length(chunk.sequence);
            let position = position.ok_or_else(|| fault("a sequence that is not open"))?;
            if !sequences.insert(chunk.sequence) {
                return Err(fault("two chunks of one sequence in a step"));
            }
            if let Some(token) = chunk.tokens.iter().find(|token| **token as usize >= self.vocabulary()) {
                return Err(Error::BadRequest(format!("there is no token {token}")));
            }
            let tokens = position + chunk.tokens.len();
            if tokens > self.context {
                return Err(Error::TooLong { tokens });
            }
            let end = start + chunk.tokens.len();
            let first_wanted = match chunk.wanted {
                Wanted::None => end,
                Wanted::Last => start.max(end.saturating_sub(1)),
                Wanted::All => start,
            };
            parts.push(Part {
                sequence: chunk.sequence,
                position,
                rows: start..end,
                wanted: first_wanted..end,
            });
            start = end;
        }
        if start > BATCH {
            return Err(fault("more tokens than fit a step"));
        }
        Ok(parts)
    }
}

fn fault(what: &str) -> Error {
    Error::Failed(what.to_owned())
}

impl Decoder for Model {
    fn vocabulary(&self) -> usize {
        self.weights.embedding.rows()
    }

    fn context(&self) -> usize {
        self.context
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn open(&mut self) -> Sequence {
        self.cache.open()
    }

    fn fork(&mut self, from: Sequence, length: usize) -> Sequence {
        self.cache.fork(from, length)
    }

    fn truncate(&mut self, sequence: Sequence, length: usize) {
        self.cache.truncate(sequence, length);
    }

    fn close(&mut self, sequence: Sequence) {
        self.cache.close(sequence);
    }

    fn length(&self, sequence: Sequence) -> usize {
        self.cache.length(sequence).unwrap_or(0)
    }

    fn cache_bytes(&self) -> usize {
        self.cache.bytes()
    }

    fn cache_bytes_for(&self, tokens: usize) -> usize {
        self.cache.bytes_for(tokens)
    }

    fn decode(&mut self, chunks: &[Chunk<'_>], logits: &mut Vec<f32>) -> Result<()> {
        let parts = self.parts(chunks)?;
        let tokens: Vec<_> = chunks.iter().flat_map(|chunk| chunk.tokens).copied().collect();
        let wanted: Vec<_> = parts.iter().map(|part| (part.sequence, part.rows.len())).collect();
        self.cache.reserve(&wanted)?;
        if let Some(cores) = self.meter.read(self.began.elapsed()) {
            self.governor.bound(cores);
        }
        self.pool.set_threads(self.governor.threads());
        let isa = self.contest.isa(tokens.len());
        let start = Instant::now();
        let step = step::Step {
            config: &self.config,
            weights: &self.weights,
            states: self.states,
            isa,
            pool: &mut self.pool,
            cache: &mut self.cache,
            cache_format: self.cache_format,
            scratch: &mut self.scratch,
        };
        let outcome = step.run(&tokens, parts, logits);
        for (sequence, added) in wanted {
            match outcome {
                Ok(()) => self.cache.advance(sequence, added),
                // Gives back the pages that it would have needed.
                Err(_) => self.cache.truncate(sequence, usize::MAX),
            }
        }
        let took = start.elapsed();
        self.contest.observe(tokens.len(), self.pool.threads(), took);
        let step = threads::Step { tokens: tokens.len(), took, stalled: self.pool.take_stalled() };
        self.governor.observe(self.began.elapsed(), step);
        outcome
    }
}

#[cfg(test)]
mod tests;
