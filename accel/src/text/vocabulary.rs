//! The tokens of a model: their texts, kinds and scores, and which of them end an answer.

use std::collections::BTreeSet;

use super::byte_alphabet;
use super::endings;
use super::strings::{Index, Strings};
use crate::error::{Error, Result};
use crate::gguf::Gguf;

/// What a token is for, by its number in `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Unknown,
    /// Has a meaning to the model and no text, as `<|im_end|>`.
    Control,
    /// Found in any text before the rest of it is split.
    UserDefined,
    /// Neither written nor read: unused, or of a type that there is not.
    Unused,
    /// One byte, for what no other token says.
    Byte,
}

impl Kind {
    fn from_number(number: i32) -> Self {
        match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            6 => Self::Byte,
            _ => Self::Unused,
        }
    }
}

/// How a vocabulary writes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// Each byte is a printable character.
    Gpt2,
    /// Spaces are `▁`, and bytes without a token are written `<0x0A>`.
    SentencePiece,
}

/// The tokens of a model.
#[derive(Debug)]
pub struct Vocabulary {
    texts: Index,
    bytes: Strings,
    kinds: Vec<Kind>,
    scores: Vec<f32>,
    pub beginning: Option<u32>,
    pub end: Option<u32>,
    pub unknown: Option<u32>,
    ends: BTreeSet<u32>,
}

impl Vocabulary {
    /// # Errors
    /// `Damaged` when there are no tokens, two are the same, or a list beside them is shorter.
    pub fn from_gguf(gguf: &Gguf, alphabet: Alphabet) -> Result<Self> {
        let texts = texts(&gguf.require::<Vec<&[u8]>>("tokenizer.ggml.tokens")?)?;
        let count = texts.strings().len();
        let kinds = beside::<i32>(gguf, "tokenizer.ggml.token_type", count)?;
        let kinds = kinds
            .map_or(vec![Kind::Normal; count], |kinds| kinds.into_iter().map(Kind::from_number).collect());
        let scores = beside::<f32>(gguf, "tokenizer.ggml.scores", count)?.unwrap_or_else(|| vec![0.0; count]);
        // What SentencePiece files leave out; a GPT-2 vocabulary has no such customs.
        let custom = |id: u32| (alphabet == Alphabet::SentencePiece && (id as usize) < count).then_some(id);
        let named = |name: &str, custom: Option<u32>| Ok(special(gguf, name, count)?.or(custom));
        let mut vocabulary = Self {
            beginning: named("bos", custom(1))?,
            end: named("eos", custom(2))?,
            unknown: named("unknown", custom(0))?,
            texts,
            bytes: Strings::default(),
            kinds,
            scores,
            ends: BTreeSet::new(),
        };
        vocabulary.ends = endings::find(&mut vocabulary, gguf)?;
        vocabulary.spell(alphabet);
        Ok(vocabulary)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// What a token adds to a text, special tokens as they are written; nothing for a number that is no token's.
    pub fn bytes(&self, token: u32) -> &[u8] {
        self.bytes.get(token)
    }

    pub fn kind(&self, token: u32) -> Kind {
        self.kinds.get(token as usize).copied().unwrap_or(Kind::Unused)
    }

    pub fn score(&self, token: u32) -> f32 {
        self.scores.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY)
    }

    pub fn find(&self, text: &[u8]) -> Option<u32> {
        self.texts.find(text)
    }

    pub fn tokens(&self) -> impl Iterator<Item = (u32, &[u8])> {
        (0..).zip(self.texts.strings().iter())
    }

    /// Says that a token is a control token, or something else, whatever the file says.
    pub fn set_kind(&mut self, token: u32, kind: Kind) {
        self.kinds[token as usize] = kind;
    }

    /// Tokens after which the model has nothing more to say.
    pub fn ends(&self) -> &BTreeSet<u32> {
        &self.ends
    }

    fn spell(&mut self, alphabet: Alphabet) {
        let mut bytes = Strings::default();
        for (text, kind) in self.texts.strings().iter().zip(&self.kinds) {
            match (kind, alphabet) {
                (Kind::Normal, Alphabet::Gpt2) => {
                    bytes.push(byte_alphabet::decode(text).as_deref().unwrap_or(text));
                }
                (Kind::Normal, Alphabet::SentencePiece) => bytes.push(&with_spaces(text)),
                (Kind::Byte, Alphabet::SentencePiece) => bytes.push(byte(text).as_slice()),
                (Kind::Unknown | Kind::Control | Kind::UserDefined, _) => bytes.push(text),
                (Kind::Unused, _) | (Kind::Byte, Alphabet::Gpt2) => bytes.push(b""),
            }
        }
        self.bytes = bytes;
    }
}

fn texts(list: &[&[u8]]) -> Result<Index> {
    if list.is_empty() {
        return Err(Error::Damaged("it has no tokens".into()));
    }
    let mut texts = Index::default();
    for (number, text) in list.iter().enumerate() {
        let placeholder = format!("[EMPTY_{number}]");
        let text = if text.is_empty() { placeholder.as_bytes() } else { text };
        if let (first, false) = texts.add(text) {
            let text = String::from_utf8_lossy(text);
            return Err(Error::Damaged(format!("the tokens {first} and {number} are both {text:?}")));
        }
    }
    Ok(texts)
}

/// Reads a list that has an entry for each token.
fn beside<T>(gguf: &Gguf, key: &str, count: usize) -> Result<Option<Vec<T>>>
where
    Vec<T>: for<'a> crate::gguf::FromValue<'a>,
{
    let Some(mut list) = gguf.get::<Vec<T>>(key)? else { return Ok(None) };
    if list.len() < count {
        return Err(Error::Damaged(format!("{key} has {} entries for {count} tokens", list.len())));
    }
    list.truncate(count);
    Ok(Some(list))
}

pub fn special(gguf: &Gguf, name: &str, count: usize) -> Result<Option<u32>> {
    let key = format!("tokenizer.ggml.{name}_token_id");
    match gguf.get::<u32>(&key)? {
        Some(token) if token as usize >= count => {
            Err(Error::Damaged(format!("{key} is {token}, but there are {count} tokens")))
        }
        token => Ok(token),
    }
}

fn with_spaces(text: &[u8]) -> Vec<u8> {
    const SPACE: &[u8] = "▁".as_bytes();
    let mut spaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(&first) = rest.first() {
        let is_space = rest.starts_with(SPACE);
        spaced.push(if is_space { b' ' } else { first });
        rest = &rest[if is_space { SPACE.len() } else { 1 }..];
    }
    spaced
}

/// The byte of a token such as `<0x0A>`.
fn byte(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
