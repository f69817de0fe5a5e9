//! All that a model file is asked for before it answers. A file may come from anybody: it can be refused, never crash.
//!
//! For the fuzzer (`fuzz/`) and for the tests that go through what it has found.

use std::ops::ControlFlow;

use serde_json::json;

use crate::decoder::{Chunk, Decoder, Wanted};
use crate::embedding::Pooling;
use crate::gguf::Gguf;
use crate::model::{Model, Options};
use crate::text::{Chat, Message, Template, TextStream, Tokenizer};

/// Letters of several scripts, spaces, and what some models have control tokens for.
const TEXT: &str = "Hi  häuser 12345 <|im_end|>\n\t你好 👍🏽 <s> don't ▁ ab abc";
const CACHE_BYTES: usize = 1 << 20;

/// Reads bytes as a model file, as far as they let it.
pub fn read(bytes: &[u8]) {
    let Ok(gguf) = Gguf::from_bytes(bytes.to_vec()) else { return };
    for key in gguf.keys() {
        let _ = (gguf.get::<&str>(key), gguf.get::<u32>(key), gguf.get::<f32>(key), gguf.get::<bool>(key));
        let _ = (gguf.get::<Vec<&[u8]>>(key), gguf.get::<Vec<i32>>(key), gguf.get::<Vec<f32>>(key));
    }
    for name in gguf.tensor_names() {
        let _ = gguf.find_tensor(name);
    }
    let tokens =
        Tokenizer::from_gguf(&gguf).map_or_else(|_| vec![0, 1, 2], |tokenizer| speak(&gguf, &tokenizer));
    let _ = Pooling::from_gguf(&gguf);
    think(&gguf, &tokens);
}

/// Text to tokens and back, and a prompt.
fn speak(gguf: &Gguf, tokenizer: &Tokenizer) -> Vec<u32> {
    let tokens = tokenizer.encode(TEXT, true, true);
    let mut stream = TextStream::new(vec!["stop".into()]);
    for &token in tokens.iter().chain(&[u32::MAX]) {
        stream.push(tokenizer.token_bytes(token));
        let _ = (tokenizer.is_control(token), tokenizer.is_end(token));
    }
    stream.finish();
    let _ = tokenizer.ends().count();
    let tools =
        vec![json!({"type": "function", "function": {"name": "f", "parameters": {"a": [1, 2.5, null]}}})];
    let messages = vec![Message::new("system", "Be kind."), Message::new("user", TEXT)];
    let chat = Chat { messages, tools, add_generation_prompt: true, ..Chat::default() };
    let prompt = Template::from_gguf(gguf, tokenizer).and_then(|template| template.prompt(&chat, tokenizer));
    prompt.map_or(tokens, |prompt| tokenizer.encode_prompt(&prompt))
}

/// A step over some tokens.
fn think(gguf: &Gguf, tokens: &[u32]) {
    let options =
        Options { threads: 1, context: Some(64), cache_bytes: Some(CACHE_BYTES), ..Options::default() };
    let Ok(mut model) = Model::load(gguf, options, &mut |_, _| ControlFlow::Continue(())) else { return };
    let sequence = model.open();
    let vocabulary = u32::try_from(model.vocabulary()).unwrap_or(u32::MAX).max(1);
    let tokens: Vec<u32> = tokens.iter().take(8).map(|token| token % vocabulary).collect();
    let _ = model.decode(&[Chunk { sequence, tokens: &tokens, wanted: Wanted::Last }], &mut Vec::new());
    model.close(sequence);
}

#[cfg(test)]
mod tests;
