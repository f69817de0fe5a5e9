//! Encodes, decodes and renders for tests that compare with other engines: `text MODEL`, then a JSON request a line
//! and an answer a line.

use std::io::{BufRead, Write};

use _native::error::{Error, Result};
use _native::gguf::Gguf;
use _native::text::{Chat, Template, TextStream, Tokenizer};
use serde_json::{Value, json};

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| Error::BadRequest("which model?".into()))?;
    let tokenizer = Tokenizer::from_gguf(&Gguf::open(path.as_ref())?)?;
    let failed = |error: std::io::Error| Error::Failed(error.to_string());
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&tokenizer, &line.map_err(failed)?);
        let answer = answer.unwrap_or_else(|error| json!({"error": error.to_string()}));
        writeln!(output, "{answer}").map_err(failed)?;
        output.flush().map_err(failed)?;
    }
    Ok(())
}

fn answer(tokenizer: &Tokenizer, line: &str) -> Result<Value> {
    let wrong = |error: serde_json::Error| Error::BadRequest(error.to_string());
    let request: Value = serde_json::from_str(line).map_err(wrong)?;
    let flag = |name: &str| request[name].as_bool().unwrap_or(false);
    if let Some(text) = request["encode"].as_str() {
        return Ok(json!(tokenizer.encode(text, flag("add_special"), flag("parse_special"))));
    }
    if !request["decode"].is_null() {
        let tokens: Vec<u32> = serde_json::from_value(request["decode"].clone()).map_err(wrong)?;
        let mut stream = TextStream::default();
        let text: String = tokens.iter().map(|&token| stream.push(tokenizer.token_bytes(token))).collect();
        return Ok(json!(text + &stream.finish()));
    }
    if let Some(source) = request["render"].as_str() {
        let chat: Chat = serde_json::from_value(request["chat"].clone()).map_err(wrong)?;
        return Ok(json!(Template::new(source, "<s>", "</s>")?.render(&chat)?));
    }
    Ok(json!(tokenizer.ends().collect::<Vec<_>>()))
}
