//! The closed set of what can go wrong in the engine. Each becomes a typed Python exception in `python`.

/// Why the engine can't do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file is no whole GGUF file, or contradicts itself.
    #[error("the model file is damaged: {0}")]
    Damaged(String),
    /// The file may be fine, but this engine does not know its architecture, packing, tokenizer or template.
    #[error("not supported by the native engine: {0}")]
    Unsupported(String),
    /// Memory for weights, cache or scratch is not to be had.
    #[error("not enough memory: {0}")]
    OutOfMemory(String),
    /// The prompt does not leave the room that it should; `tokens` is what it takes.
    #[error("the prompt takes {tokens} tokens")]
    TooLong { tokens: usize },
    /// The request can't be done as it stands (a schema that is none, a template that refuses its messages).
    #[error("{0}")]
    BadRequest(String),
    /// A fault of ours: a panic, or a worker that is gone. The engine is of no use after it.
    #[error("the engine failed: {0}")]
    Failed(String),
}

pub type Result<T> = std::result::Result<T, Error>;
