//! All between text and tokens: vocabulary, chat templates, sampling, and text that is whole at every moment.

mod byte_alphabet;
mod byte_pair;
mod endings;
mod merging;
mod pretokenizer;
mod sentence_piece;
mod special;
mod stream;
mod strings;
mod tokenizer;
mod vocabulary;

pub use stream::TextStream;
pub use tokenizer::Tokenizer;
