//! Holds an answer to a JSON schema: which tokens may come next, by llguidance's grammar of the schema.

use std::sync::{Arc, OnceLock};

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{JsonCompileOptions, Matcher, ParserFactory};

use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};

/// Bytes of a token; toktrie panics at 1,024.
const LONGEST_TOKEN: usize = 1000;

/// What may stand between the parts of JSON, or small models write line ends for ever: llama.cpp's rule
/// (`common/json-schema-to-grammar.cpp`, `SPACE_RULE`).
const WHITE_SPACE: &str = r"(\x20|\x0A{1,2}[\x20\x09]{0,20})";

/// What llguidance says of a grammar that is larger than its limits, once an answer has begun.
const OVER_A_LIMIT: &str = "max is";

/// Makes constraints for one model. The tokens are put into a trie when the first is asked for.
pub struct Constraints {
    tokenizer: Arc<Tokenizer>,
    factory: OnceLock<std::result::Result<ParserFactory, String>>,
}

impl Constraints {
    #[must_use]
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, factory: OnceLock::new() }
    }

    /// A constraint to JSON that a schema allows; `{}` is the schema of any JSON.
    ///
    /// # Errors
    /// `BadRequest` when the schema is none, contradicts itself or has parts that can't be held to.
    pub fn json_schema(&self, schema: &serde_json::Value) -> Result<Constraint> {
        let factory =
            self.factory.get_or_init(|| factory(&self.tokenizer).map_err(|error| error.to_string()));
        let factory =
            factory.as_ref().map_err(|error| Error::Unsupported(format!("JSON output: {error}")))?;
        let parser = factory.create_parser(TopLevelGrammar::from_json_schema(with_options(schema)?));
        let parser = parser.map_err(unusable)?;
        Ok(Constraint { matcher: Matcher::new(Ok(parser)) })
    }

    /// A constraint to any JSON object.
    ///
    /// # Errors
    /// As `json_schema`.
    pub fn json_object(&self) -> Result<Constraint> {
        self.json_schema(&serde_json::json!({"type": "object"}))
    }
}

/// The schema with our options in the place where llguidance looks for them.
fn with_options(schema: &serde_json::Value) -> Result<serde_json::Value> {
    let mut schema = schema.clone();
    if !schema.is_object() {
        return Err(Error::BadRequest("the JSON schema can't be used: it is no JSON object".into()));
    }
    let options =
        JsonCompileOptions { whitespace_pattern: Some(WHITE_SPACE.into()), ..JsonCompileOptions::default() };
    options.apply_to(&mut schema);
    Ok(schema)
}

/// What one answer may still say.
pub struct Constraint {
    matcher: Matcher,
}

impl Constraint {
    /// Makes impossible what may not come next: at the end of the JSON, all but the tokens that end an answer.
    ///
    /// # Errors
    /// `BadRequest` when the grammar can't go on: its schema goes round in a circle, or asks for too much.
    pub fn mask(&mut self, logits: &mut [f32]) -> Result<()> {
        let allowed = self.matcher.compute_mask_or_eos().map_err(unusable)?;
        let words = allowed.as_slice();
        for (chunk, word) in logits.chunks_mut(32).zip(words.iter().chain(std::iter::repeat(&0))) {
            for (index, logit) in chunk.iter_mut().enumerate() {
                if word >> index & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        Ok(())
    }

    /// Takes the token that was chosen.
    ///
    /// # Errors
    /// `Failed` when the token was not allowed, `BadRequest` when the schema asks for too much.
    pub fn commit(&mut self, token: u32) -> Result<()> {
        if self.is_done() {
            return Ok(());
        }
        self.matcher.consume_token(token).map_err(|error| {
            if error.to_string().contains(OVER_A_LIMIT) { unusable(error) } else { failed(error) }
        })
    }

    /// Whether nothing more can be said.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.matcher.is_stopped()
    }
}

/// The message goes on to quote the whole grammar.
#[allow(clippy::needless_pass_by_value)]
fn unusable(error: impl ToString) -> Error {
    let reason = error.to_string();
    let reason = reason.lines().next().unwrap_or_default();
    Error::BadRequest(format!("the JSON schema can't be used: {reason}"))
}

#[allow(clippy::needless_pass_by_value)]
fn failed(error: impl ToString) -> Error {
    let reason = error.to_string();
    Error::Failed(format!("the grammar: {}", reason.lines().next().unwrap_or_default()))
}

/// The tokens as llguidance wants them.
struct Environment {
    tokenizer: Arc<Tokenizer>,
    trie: TokTrie,
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.tokenizer.encode(text, false, false),
            Err(_) => self.trie.greedy_tokenize(bytes),
        }
    }
}

fn factory(tokenizer: &Arc<Tokenizer>) -> std::result::Result<ParserFactory, Box<dyn std::error::Error>> {
    let count = u32::try_from(tokenizer.vocabulary())?;
    let ends: Vec<TokenId> = tokenizer.ends().collect();
    let end =
        tokenizer.end().or(ends.first().copied()).ok_or("the model has no token that ends an answer")?;
    let words: Vec<Vec<u8>> = (0..count).map(|token| word(tokenizer, token)).collect();
    if words.iter().any(|word| word.len() > LONGEST_TOKEN) {
        return Err(format!("a token has more than {LONGEST_TOKEN} bytes").into());
    }
    let info = TokRxInfo { tok_bos: tokenizer.beginning(), ..TokRxInfo::new(count, end) };
    let trie = TokTrie::from(&info, &words).with_eos_tokens(&ends);
    let environment: TokEnv = Arc::new(Environment { tokenizer: Arc::clone(tokenizer), trie });
    let mut factory = ParserFactory::new_simple(&environment)?;
    factory.quiet();
    factory.limits_mut().verbose_errors = false;
    Ok(factory)
}

/// What a token says; control tokens are marked, so that no string is made of them.
fn word(tokenizer: &Tokenizer, token: u32) -> Vec<u8> {
    let bytes = tokenizer.token_bytes(token);
    if tokenizer.is_control(token) || tokenizer.is_end(token) {
        [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat()
    } else {
        bytes.to_vec()
    }
}

#[cfg(test)]
mod tests;
