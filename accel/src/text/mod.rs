//! All between text and tokens: vocabulary, chat templates, sampling, and text that is whole at every moment.

mod byte_alphabet;
mod byte_pair;
mod constraint;
mod endings;
mod literal;
mod logits;
mod merging;
mod message;
mod pretokenizer;
mod python_json;
mod random;
mod sampler;
mod sentence_piece;
mod special;
mod stream;
mod strings;
mod template;
mod tokenizer;
mod vocabulary;
mod white_space;

pub use constraint::{Constraint, Constraints};
pub use literal::Prompt;
pub use message::{Chat, Message};
pub use sampler::{Choice, LogProbability, Sampler, Sampling};
pub use stream::TextStream;
pub use template::Template;
pub use tokenizer::Tokenizer;

#[cfg(test)]
mod tests;
