//! The shape of a model, out of a file's metadata.
//!
//! Keys: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. What the file leaves to the architecture is as in
//! llama.cpp, which is what files are made for.

use crate::error::{Error, Result};
use crate::gguf::{FromValue, Gguf};
use crate::kernels::{Into, MOST_DIMENSIONS, Pairing};

/// Far above any model, and far below where sums of sizes could wrap.
const MOST: usize = 1 << 24;
const MOST_LAYERS: usize = 1 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    Llama,
    Qwen2,
    Qwen3,
    Gemma3,
}

impl Architecture {
    fn named(name: &str) -> Result<Self> {
        match name {
            "llama" => Ok(Self::Llama),
            "qwen2" => Ok(Self::Qwen2),
            "qwen3" => Ok(Self::Qwen3),
            "gemma3" => Ok(Self::Gemma3),
            _ => Err(Error::Unsupported(format!("the architecture {name}"))),
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma3 => "gemma3",
        }
    }

    #[must_use]
    pub fn pairing(self) -> Pairing {
        match self {
            Self::Llama => Pairing::Adjacent,
            Self::Qwen2 | Self::Qwen3 | Self::Gemma3 => Pairing::Halves,
        }
    }

    /// What becomes of the feed-forward gate.
    #[must_use]
    pub fn gate(self) -> Into {
        match self {
            Self::Gemma3 => Into::Gelu,
            Self::Llama | Self::Qwen2 | Self::Qwen3 => Into::Silu,
        }
    }
}

/// The shape of a model; widths are numbers of values.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub architecture: Architecture,
    pub layers: usize,
    /// Longest sequence that the model was made for.
    pub context: usize,
    pub width: usize,
    /// Width of the feed-forward part.
    pub inner_width: usize,
    pub heads: usize,
    /// Heads of keys and values; each serves `heads / key_heads` heads of queries.
    pub key_heads: usize,
    pub head_width: usize,
    pub epsilon: f32,
    /// What embeddings are multiplied by.
    pub embedding_scale: Option<f32>,
    /// What scores of attention are multiplied by.
    pub attention_scale: f32,
    /// Logits become `cap · tanh(logit / cap)`.
    pub logit_cap: Option<f32>,
    pub rotation: Rotation,
    pub sliding: Option<Sliding>,
}

/// How positions turn queries and keys (rotary embedding, Su et al. 2021).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rotation {
    /// How many values of a head turn.
    pub width: usize,
    pub base: f32,
    /// What positions are multiplied by.
    pub scale: f32,
}

/// Layers that see only the latest positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sliding {
    /// How many positions they see, the current one included.
    pub window: usize,
    /// Every how many layers one sees everything.
    pub period: usize,
    pub rotation: Rotation,
}

impl Config {
    /// Reads a file's shape.
    ///
    /// # Errors
    /// `Unsupported` for other architectures and for features of these that are not done here, `Damaged` when a value
    /// is missing or impossible.
    pub fn read(gguf: &Gguf) -> Result<Self> {
        let architecture = Architecture::named(gguf.require("general.architecture")?)?;
        let keys = Keys { gguf, prefix: architecture.name() };
        keys.refuse_features()?;
        let width = keys.size("embedding_length")?;
        let heads = keys.size("attention.head_count")?;
        let key_heads = keys.optional_size("attention.head_count_kv")?.unwrap_or(heads);
        let head_width = keys.head_width(width, heads)?;
        let layers = keys.size("block_count")?;
        let rotation = keys.rotation(head_width)?;
        let config = Self {
            architecture,
            layers,
            context: keys.size("context_length")?,
            width,
            inner_width: keys.size("feed_forward_length")?,
            heads,
            key_heads,
            head_width,
            epsilon: keys.require("attention.layer_norm_rms_epsilon")?,
            embedding_scale: (architecture == Architecture::Gemma3).then(|| root(width)),
            attention_scale: 1.0 / root(scaled_width(architecture, layers, width, heads, head_width)),
            logit_cap: keys.get("final_logit_softcapping")?.filter(|cap| *cap != 0.0),
            rotation,
            sliding: keys.sliding(architecture, rotation)?,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        if !self.heads.is_multiple_of(self.key_heads) {
            return Err(Error::Damaged(format!(
                "{} heads can't share {} heads of keys",
                self.heads, self.key_heads
            )));
        }
        if !self.head_width.is_multiple_of(16) || self.head_width > MOST_DIMENSIONS {
            return Err(Error::Unsupported(format!("heads of {} values", self.head_width)));
        }
        if self.layers > MOST_LAYERS {
            return Err(Error::Damaged(format!("{} layers", self.layers)));
        }
        let numbers = [self.epsilon, self.rotation.base, self.rotation.scale, self.logit_cap.unwrap_or(1.0)];
        if numbers.iter().any(|number| !number.is_finite() || *number < 0.0) || self.rotation.base == 0.0 {
            return Err(Error::Damaged(format!("impossible numbers in its metadata: {numbers:?}")));
        }
        Ok(())
    }

    /// Whether a layer sees only the latest positions.
    #[must_use]
    pub fn slides(&self, layer: usize) -> Option<Sliding> {
        self.sliding.filter(|sliding| !(layer + 1).is_multiple_of(sliding.period))
    }

    /// Width of all heads of queries.
    #[must_use]
    pub fn query_width(&self) -> usize {
        self.heads * self.head_width
    }

    /// Width of all heads of keys, or of values.
    #[must_use]
    pub fn key_width(&self) -> usize {
        self.key_heads * self.head_width
    }
}

/// Gemma 3 of 27 billion parameters, alone, divides scores by the root of another width (`query_pre_attn_scalar`), which
/// no key of the file has; llama.cpp knows it by its 62 layers.
fn scaled_width(
    architecture: Architecture,
    layers: usize,
    width: usize,
    heads: usize,
    head_width: usize,
) -> usize {
    if architecture == Architecture::Gemma3 && layers == 62 { width / heads } else { head_width }
}

#[allow(clippy::cast_precision_loss)] // Widths are far below 2^24.
fn root(width: usize) -> f32 {
    (width as f32).sqrt()
}

/// The keys of one architecture.
struct Keys<'a> {
    gguf: &'a Gguf,
    prefix: &'static str,
}

impl<'a> Keys<'a> {
    fn get<T: FromValue<'a>>(&self, key: &str) -> Result<Option<T>> {
        self.gguf.get(&format!("{}.{key}", self.prefix))
    }

    fn require<T: FromValue<'a>>(&self, key: &str) -> Result<T> {
        self.gguf.require(&format!("{}.{key}", self.prefix))
    }

    fn size(&self, key: &str) -> Result<usize> {
        let value = self.require(key)?;
        self.check_size(key, value)
    }

    fn optional_size(&self, key: &str) -> Result<Option<usize>> {
        self.get(key)?.map(|value| self.check_size(key, value)).transpose()
    }

    fn check_size(&self, key: &str, value: usize) -> Result<usize> {
        if (1..=MOST).contains(&value) {
            return Ok(value);
        }
        Err(Error::Damaged(format!("{}.{key} is {value}", self.prefix)))
    }

    /// Stops at what would be ignored otherwise, and change what the model says.
    fn refuse_features(&self) -> Result<()> {
        if self.get::<usize>("expert_count")?.is_some_and(|count| count > 0) {
            return Err(Error::Unsupported("a mixture of experts".into()));
        }
        let factors =
            ["attention.scale", "residual_scale", "embedding_scale", "logit_scale", "attention.clamp_kqv"];
        for key in factors {
            if self.get::<f32>(key)?.is_some_and(|factor| factor != 0.0) {
                return Err(Error::Unsupported(format!("{}.{key}", self.prefix)));
            }
        }
        Ok(())
    }

    fn head_width(&self, width: usize, heads: usize) -> Result<usize> {
        let keys = self.optional_size("attention.key_length")?.unwrap_or(width / heads);
        let values = self.optional_size("attention.value_length")?.unwrap_or(width / heads);
        if keys != values {
            return Err(Error::Unsupported(format!("keys of {keys} values and values of {values}")));
        }
        Ok(keys)
    }

    fn rotation(&self, head_width: usize) -> Result<Rotation> {
        let width = self.optional_size("rope.dimension_count")?.unwrap_or(head_width);
        if width > head_width || !width.is_multiple_of(2) {
            return Err(Error::Damaged(format!("{width} of a head's {head_width} values turn")));
        }
        let base = self.get("rope.freq_base")?.unwrap_or(10_000.0);
        let factor: f32 = match self.get::<f32>("rope.scaling.factor")? {
            Some(factor) => factor,
            None => self.get("rope.scale_linear")?.unwrap_or(1.0),
        };
        let factor = if factor == 0.0 { 1.0 } else { factor };
        match self.get("rope.scaling.type")?.unwrap_or("linear") {
            "linear" => Ok(Rotation { width, base, scale: 1.0 / factor }),
            "none" => Ok(Rotation { width, base, scale: 1.0 }),
            other => Err(Error::Unsupported(format!("rotary scaling of the type {other}"))),
        }
    }

    fn sliding(&self, architecture: Architecture, rotation: Rotation) -> Result<Option<Sliding>> {
        if architecture != Architecture::Gemma3 {
            return Ok(None);
        }
        let Some(window) = self.optional_size("attention.sliding_window")? else { return Ok(None) };
        let period = self.optional_size("attention.sliding_window_pattern")?.unwrap_or(6);
        let base = self.get("rope.freq_base_swa")?.unwrap_or(10_000.0);
        Ok(Some(Sliding { window, period, rotation: Rotation { base, scale: 1.0, ..rotation } }))
    }
}
