//! Tokens and templates for Python, apart from a loaded model: for tests and tools.

use std::path::Path;

use pyo3::prelude::*;

use super::errors::{at_once, without_python};
use crate::gguf::Gguf;
use crate::request::read;
use crate::text::{self, Chat, Template, TextStream};

/// The vocabulary of a model file.
#[pyclass(frozen, module = "accel._native")]
pub struct Tokenizer(text::Tokenizer);

#[pymethods]
impl Tokenizer {
    #[new]
    fn new(python: Python<'_>, path: &str) -> PyResult<Self> {
        without_python(python, || text::Tokenizer::from_gguf(&Gguf::open(Path::new(path))?)).map(Self)
    }

    #[getter]
    fn ends(&self) -> PyResult<Vec<u32>> {
        at_once(|| Ok(self.0.ends().collect()))
    }

    #[pyo3(signature = (text, *, add_special = false, parse_special = false))]
    fn encode(
        &self,
        python: Python<'_>,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> PyResult<Vec<u32>> {
        without_python(python, || Ok(self.0.encode(text, add_special, parse_special)))
    }

    #[allow(clippy::needless_pass_by_value)] // A Python list can't be borrowed as one of numbers.
    fn decode(&self, python: Python<'_>, tokens: Vec<u32>) -> PyResult<String> {
        without_python(python, || {
            let mut stream = TextStream::default();
            let said = tokens.iter().map(|&token| stream.push(self.0.token_bytes(token)));
            let mut text: String = said.collect();
            text.push_str(&stream.finish());
            Ok(text)
        })
    }
}

/// The prompt that a template makes of a chat; see `text::Template`.
#[pyfunction]
#[pyo3(signature = (template, chat, *, bos_token = "", eos_token = ""))]
pub fn render_template(
    python: Python<'_>,
    template: &str,
    chat: &[u8],
    bos_token: &str,
    eos_token: &str,
) -> PyResult<String> {
    without_python(python, || Template::new(template, bos_token, eos_token)?.render(&read::<Chat>(chat)?))
}
