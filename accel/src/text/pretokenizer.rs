//! Splits text into words before byte-pair merging, as the model's training did: no token crosses a word's border.
//!
//! A GGUF file gives only the name of the rule (`tokenizer.ggml.pre`). Names and rules are those of llama.cpp
//! (`src/llama-vocab.cpp`, 2026-10), rewritten without look-around so that matching takes linear time on any text.

use regex_automata::Input;
use regex_automata::meta::Regex;

use crate::error::{Error, Result};

macro_rules! contractions {
    () => {
        "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
    };
}

/// Rules that keep runs of line ends together differ in how many digits make a word and what follows punctuation.
macro_rules! modern {
    ($digits:literal) => {
        concat!(
            contractions!(),
            r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
            $digits,
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
        )
    };
}

/// Words by letter case: as `[\p{Lu}…]*[\p{Ll}…]+`, but upper and lower are told apart for A to Z alone, as llama.cpp does.
macro_rules! by_case {
    ($contractions:expr, $digits:literal) => {
        concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]*[\p{L}&&[^A-Z]]+",
            $contractions,
            r"|[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]+[\p{L}&&[^A-Z]]*",
            $contractions,
            r"|\p{N}",
            $digits,
            r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"
        )
    };
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
const LLAMA3: &str = modern!("{1,3}");
const QWEN2: &str = modern!("");
const QWEN35: &str = concat!(
    contractions!(),
    r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
);
const TEKKEN: &str = by_case!("", "");
const GPT4O: &str = by_case!(concat!(contractions!(), "?"), "{1,3}");
const SEED_CODER: &str =
    concat!(contractions!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+");
const DEEPSEEK3: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+"
);

/// Returns the rules of a name, applied one after another, each to the words of the one before.
fn rules(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "default" => &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
        "gpt-2" | "phi-2" | "gigachat" | "a.x-4.0" | "mellum" | "mpt" | "olmo" | "jais" | "trillion"
        | "granite-docling" | "exaone4" => &[GPT2],
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b"
        | "mellum2" => &[r"\p{N}", GPT2],
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2"
        | "dbrx" | "smaug-bpe" | "glm4" | "chatglm-bpe" => &[LLAMA3],
        "qwen2" | "deepseek-r1-qwen" | "kormo" | "megrez" | "stablelm2" | "hunyuan" | "solar-open"
        | "grok-2" => &[QWEN2],
        "qwen35" => &[QWEN35],
        "tekken" => &[TEKKEN],
        "gpt-4o" | "llama4" | "kanana2" | "minimax-m2" => &[GPT4O],
        "seed-coder" => &[SEED_CODER],
        "deepseek-coder" => &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"],
        "deepseek-v3" | "hunyuan-dense" => &[r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3],
        "falcon" => &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
        _ => return None,
    })
}

/// Whether a word that is a token is taken as it is, even if merges would not lead there.
pub fn keeps_words(name: &str) -> bool {
    matches!(
        name,
        "llama3"
            | "llama-v3"
            | "llama-bpe"
            | "falcon3"
            | "falcon-h1"
            | "pixtral"
            | "midm-2.0"
            | "lfm2"
            | "tekken"
    )
}

/// Whether prompts begin with the beginning-of-text token when the file does not say.
pub fn begins_text(name: &str) -> bool {
    keeps_words(name)
}

/// The rules of one model.
#[derive(Debug)]
pub struct Pretokenizer {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    regex: Regex,
    /// Whether runs of line ends stay whole, whatever follows.
    keeps_line_ends: bool,
}

impl Rule {
    fn new(pattern: &str) -> Result<Self> {
        let regex = Regex::new(pattern).map_err(|error| Error::Failed(error.to_string()))?;
        Ok(Self { regex, keeps_line_ends: pattern.contains(r"|\s*[\r\n]+|") })
    }

    /// Appends what the rule matches and what lies between.
    fn cut<'a>(&self, text: &'a str, words: &mut Vec<&'a str>) {
        let mut done = 0;
        while let Some(found) = self.regex.find(Input::new(text).range(done..)) {
            let end = found.end() - self.given_back(&text[found.range()], &text[found.end()..]);
            if found.start() > done {
                words.push(&text[done..found.start()]);
            }
            words.push(&text[found.start()..end]);
            done = end;
        }
        if done < text.len() {
            words.push(&text[done..]);
        }
    }

    /// Bytes at the end of a run of spaces that belong to the word after it: what `\s+(?!\S)` would leave to it.
    fn given_back(&self, run: &str, rest: &str) -> usize {
        let is_followed = rest.chars().next().is_some_and(|next| !next.is_whitespace());
        if !is_followed || !run.chars().all(char::is_whitespace) {
            return 0;
        }
        match run.chars().next_back() {
            Some('\r' | '\n') if self.keeps_line_ends => 0,
            Some(last) if last.len_utf8() < run.len() => last.len_utf8(),
            _ => 0,
        }
    }
}

impl Pretokenizer {
    /// # Errors
    /// `Unsupported` when the name is not known: any other rule would split words where the model never saw it.
    pub fn new(name: &str) -> Result<Self> {
        let unknown = || Error::Unsupported(format!("the pre-tokenizer {name}"));
        let rules = rules(name).ok_or_else(unknown)?;
        Ok(Self { rules: rules.iter().map(|pattern| Rule::new(pattern)).collect::<Result<_>>()? })
    }

    /// Returns the words of a text: all of it, cut up.
    pub fn split<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut words = vec![text];
        for rule in &self.rules {
            let mut finer = Vec::with_capacity(words.len() * 2);
            for word in words {
                rule.cut(word, &mut finer);
            }
            words = finer;
        }
        words
    }
}
