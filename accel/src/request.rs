//! What the node asks of the engine, as JSON: `inference_node/engines/engine.py` has the same names.
//!
//! A key that is not known here is refused rather than left out of account.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// How to load a model.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The most tokens of one generation; the model may take fewer.
    pub context: usize,
    /// The most generations at once.
    pub slots: usize,
    /// Bytes for keys and values of all generations, and of prompts kept for the next turn; if not said, as many as
    /// one generation takes.
    pub cache_bytes: Option<usize>,
    /// How keys and values are kept: `f16` or `q8_0`.
    pub cache: String,
    /// Vector instructions by name (`Isa::NAMES`); the fastest of this processor if not said.
    pub instructions: Option<String>,
    /// Threads that compute, at the most; 0 for as many as there are cores for this process.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        let cache = "f16".to_owned();
        Self { context: 8192, slots: 4, cache_bytes: None, cache, instructions: None, threads: 0 }
    }
}

/// An answer to make. Either `messages`, put through the model's template, or raw `text`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    pub messages: Vec<Message>,
    pub text: Option<String>,
    pub sampling: Sampling,
    /// The answer ends before the first of these.
    pub stop: Vec<String>,
    /// How many tokens of the context the prompt must leave.
    pub room: usize,
    /// Whose it is; nothing is shared with others. Empty: nothing is kept either.
    pub owner: String,
    /// JSON text of a list of tools, for the template.
    pub tools: Option<String>,
    /// JSON text of a JSON Schema to which the answer is held.
    pub schema: Option<String>,
    /// Asks for the tokens, each with so many alternatives.
    pub logprobs: Option<usize>,
    /// Whether to guess ahead; the same tokens come either way.
    pub speculate: bool,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            text: None,
            sampling: Sampling::default(),
            stop: Vec::new(),
            room: 1,
            owner: String::new(),
            tools: None,
            schema: None,
            logprobs: None,
            speculate: true,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    pub role: String,
    pub content: String,
    #[serde(default)]
    pub tool_calls: Vec<ToolCall>,
    #[serde(default)]
    pub tool_call_id: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
}

/// `arguments` is JSON text, as the model wrote it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    pub arguments: String,
}

/// How tokens are picked; what is not given is the engine's choice.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub min_p: Option<f32>,
    pub top_k: Option<usize>,
    pub max_tokens: Option<usize>,
    pub seed: Option<u32>,
    pub repeat_penalty: Option<f32>,
    pub presence_penalty: Option<f32>,
    pub frequency_penalty: Option<f32>,
}

/// Reads JSON.
///
/// # Errors
/// `BadRequest` for anything but what is described here.
pub fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json)
        .map_err(|error| Error::BadRequest(format!("the request can't be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::{Options, Request, read};
    use crate::error::Error;

    #[test]
    fn what_is_left_out_has_its_default() {
        let request: Request =
            read(br#"{"messages": [{"role": "user", "content": "Hi"}]}"#).expect("a request");
        assert_eq!((request.room, request.speculate, request.logprobs), (1, true, None));
        assert_eq!(read::<Options>(b"{}").expect("options").context, 8192);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for wrong in
            ["", "[1]", "{\"tempreature\": 1}", r#"{"room": -1}"#, r#"{"sampling": {"top_k": 1e9999}}"#]
        {
            assert!(matches!(read::<Request>(wrong.as_bytes()), Err(Error::BadRequest(_))), "{wrong}");
        }
    }
}
