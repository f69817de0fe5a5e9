//! Encodes what comes in, for tests that compare with other engines: `text MODEL`, then a JSON request a line, an
//! answer a line.

use std::io::{BufRead, Write};

use _native::error::{Error, Result};
use _native::gguf::Gguf;
use _native::text::Tokenizer;
use serde_json::{Value, json};

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| Error::BadRequest("which model?".into()))?;
    let gguf = Gguf::open(path.as_ref())?;
    let tokenizer = Tokenizer::from_gguf(&gguf)?;
    let failed = |error: std::io::Error| Error::Failed(error.to_string());
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&tokenizer, &line.map_err(failed)?);
        writeln!(output, "{answer}").map_err(failed)?;
        output.flush().map_err(failed)?;
    }
    Ok(())
}

fn answer(tokenizer: &Tokenizer, line: &str) -> Value {
    let request: Value = match serde_json::from_str(line) {
        Ok(request) => request,
        Err(error) => return json!({"error": error.to_string()}),
    };
    let flag = |name: &str| request[name].as_bool().unwrap_or(false);
    if let Some(text) = request["encode"].as_str() {
        return json!(tokenizer.encode(text, flag("add_special"), flag("parse_special")));
    }
    if request["ends"].is_boolean() {
        return json!(tokenizer.ends().collect::<Vec<_>>());
    }
    json!({"error": "unknown request"})
}
