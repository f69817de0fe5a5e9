//! A model's weights, out of a file and into the kernels' packing.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use super::config::{Architecture, Config};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Tensor};
use crate::kernels::{Arena, Format, Matrix};
use crate::threads::Pool;

/// Rows that a thread packs at a time: enough to be worth the asking, and few enough for threads to end together.
const ROWS_AT_ONCE: usize = 256;

#[derive(Debug)]
pub struct Weights {
    /// A row for each token; also the head where the file has none of its own.
    pub embedding: Matrix,
    pub layers: Vec<Layer>,
    pub norm: Vec<f32>,
    head: Option<Matrix>,
    /// What each pair's frequency of rotation is divided by, if the file says so: long contexts of Llama 3.
    pub rotation_divisors: Option<Vec<f32>>,
    /// How many numbers the file holds.
    pub parameters: u64,
    /// The packing that most of them have.
    pub format: Format,
}

#[derive(Debug)]
pub struct Layer {
    pub norm: Vec<f32>,
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub query_norm: Option<Vec<f32>>,
    pub key_norm: Option<Vec<f32>>,
    pub output: Matrix,
    /// Norm of what attention adds.
    pub output_norm: Option<Vec<f32>>,
    pub inner_norm: Vec<f32>,
    pub gate: Matrix,
    pub up: Matrix,
    pub down: Matrix,
    /// Norm of what the feed-forward part adds.
    pub down_norm: Option<Vec<f32>>,
}

impl Layer {
    fn matrices(&self) -> [&Matrix; 7] {
        let Self { query, key, value, output, gate, up, down, .. } = self;
        [&query.matrix, &key.matrix, &value.matrix, output, gate, up, down]
    }
}

/// A matrix, and what is added to its product.
#[derive(Debug)]
pub struct Linear {
    pub matrix: Matrix,
    pub bias: Option<Vec<f32>>,
}

impl Weights {
    /// Packs all of a file's weights, on all threads of `pool`.
    ///
    /// `progress` hears how many bytes of how many are done, and may break it off.
    ///
    /// # Errors
    /// `Damaged` for missing tensors and wrong shapes, `Unsupported` for packings that the kernels don't know and for
    /// tensors that this engine would ignore, `OutOfMemory`, and `Failed` when broken off.
    pub fn load(gguf: &Gguf, config: &Config, pool: &mut Pool, progress: Progress<'_>) -> Result<Self> {
        let (mut total, mut packed) = (0, 0);
        for name in gguf.tensor_names() {
            let tensor = gguf.tensor(name)?;
            total += tensor.data.len() as u64;
            if let [columns, rows] = tensor.shape {
                packed += Matrix::bytes_for(tensor.format, *rows, *columns)?;
            }
        }
        let mut loader = Loader {
            gguf,
            pool,
            progress,
            arena: Arena::new(packed),
            total,
            done: 0,
            taken: HashSet::new(),
            formats: HashMap::new(),
            parameters: 0,
        };
        let weights = loader.weights(config)?;
        loader.refuse_leftovers()?;
        Ok(weights)
    }

    #[must_use]
    pub fn head(&self) -> &Matrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// Memory that the matrices take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(Layer::matrices);
        layers.chain([&self.embedding]).chain(&self.head).map(Matrix::bytes).sum()
    }

    /// Whether any matrix wants activations as floats.
    #[must_use]
    pub fn wants_floats(&self) -> bool {
        let layers = self.layers.iter().flat_map(Layer::matrices);
        layers.chain([self.head()]).any(|matrix| matrix.format().block() == 1)
    }
}

/// Hears bytes done and bytes in all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

struct Loader<'a> {
    gguf: &'a Gguf,
    pool: &'a mut Pool,
    progress: Progress<'a>,
    arena: Arena,
    total: u64,
    done: u64,
    taken: HashSet<String>,
    parameters: u64,
    /// How many numbers have which packing.
    formats: HashMap<Format, u64>,
}

impl<'a> Loader<'a> {
    fn weights(&mut self, config: &Config) -> Result<Weights> {
        let vocabulary = self.gguf.tensor("token_embd.weight")?.shape.get(1).copied().unwrap_or(0);
        let embedding = self.matrix("token_embd.weight", config.width, vocabulary)?;
        let layers = (0..config.layers).map(|index| self.layer(config, index)).collect::<Result<_>>()?;
        let head = match self.gguf.find_tensor("output.weight")? {
            Some(_) => Some(self.matrix("output.weight", config.width, vocabulary)?),
            None => None,
        };
        Ok(Weights {
            embedding,
            layers,
            norm: self.vector("output_norm.weight", config.width)?,
            head,
            rotation_divisors: self.optional_vector("rope_freqs.weight", config.rotation.width / 2)?,
            parameters: self.parameters,
            format: self.most_common_format(),
        })
    }

    fn layer(&mut self, config: &Config, index: usize) -> Result<Layer> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let Config { architecture, width, inner_width, head_width, .. } = *config;
        let (queries, keys) = (config.query_width(), config.key_width());
        let head_norms = matches!(architecture, Architecture::Qwen3 | Architecture::Gemma3);
        let sandwich = architecture == Architecture::Gemma3;
        let mut norm_if = |wanted: bool, part: &str, length: usize| {
            wanted.then(|| self.vector(&name(part), length)).transpose()
        };
        let query_norm = norm_if(head_norms, "attn_q_norm.weight", head_width)?;
        let key_norm = norm_if(head_norms, "attn_k_norm.weight", head_width)?;
        let output_norm = norm_if(sandwich, "post_attention_norm.weight", width)?;
        let down_norm = norm_if(sandwich, "post_ffw_norm.weight", width)?;
        Ok(Layer {
            norm: self.vector(&name("attn_norm.weight"), width)?,
            query: self.linear(&name("attn_q"), width, queries)?,
            key: self.linear(&name("attn_k"), width, keys)?,
            value: self.linear(&name("attn_v"), width, keys)?,
            query_norm,
            key_norm,
            output: self.matrix(&name("attn_output.weight"), queries, width)?,
            output_norm,
            inner_norm: self.vector(&name("ffn_norm.weight"), width)?,
            gate: self.matrix(&name("ffn_gate.weight"), width, inner_width)?,
            up: self.matrix(&name("ffn_up.weight"), width, inner_width)?,
            down: self.matrix(&name("ffn_down.weight"), inner_width, width)?,
            down_norm,
        })
    }

    fn linear(&mut self, name: &str, columns: usize, rows: usize) -> Result<Linear> {
        Ok(Linear {
            matrix: self.matrix(&format!("{name}.weight"), columns, rows)?,
            bias: self.optional_vector(&format!("{name}.bias"), rows)?,
        })
    }

    fn matrix(&mut self, name: &str, columns: usize, rows: usize) -> Result<Matrix> {
        let tensor = self.take(name, &[columns, rows])?;
        let mut matrix = Matrix::new(tensor.format, rows, columns, &mut self.arena)?;
        let packing = matrix.packing(tensor.data, ROWS_AT_ONCE, self.pool.threads())?;
        self.pool.run(&|lane| {
            while packing.step(lane) {}
            Ok(())
        })?;
        self.done += tensor.data.len() as u64;
        match (self.progress)(self.done, self.total) {
            ControlFlow::Continue(()) => Ok(matrix),
            ControlFlow::Break(()) => Err(Error::Failed("loading was broken off".into())),
        }
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>> {
        let tensor = self.take(name, &[length])?;
        let mut values = vec![0.0; length];
        tensor.format.dequantize(tensor.data, &mut values)?;
        self.done += tensor.data.len() as u64;
        Ok(values)
    }

    fn optional_vector(&mut self, name: &str, length: usize) -> Result<Option<Vec<f32>>> {
        self.gguf.find_tensor(name)?.map(|_| self.vector(name, length)).transpose()
    }

    /// Finds a tensor of an expected shape, and counts it.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor<'a>> {
        let tensor = self.gguf.tensor(name)?;
        if tensor.shape != shape {
            return Err(Error::Damaged(format!("{name} has the shape {:?}, not {shape:?}", tensor.shape)));
        }
        let count = shape.iter().product::<usize>() as u64;
        self.parameters += count;
        *self.formats.entry(tensor.format).or_default() += count;
        self.taken.insert(name.to_owned());
        Ok(tensor)
    }

    fn most_common_format(&self) -> Format {
        self.formats.iter().max_by_key(|(_, count)| *count).map_or(Format::F32, |(format, _)| *format)
    }

    fn refuse_leftovers(&self) -> Result<()> {
        match self.gguf.tensor_names().find(|name| !self.taken.contains(*name)) {
            Some(name) => Err(Error::Unsupported(format!("the tensor {name}"))),
            None => Ok(()),
        }
    }
}
