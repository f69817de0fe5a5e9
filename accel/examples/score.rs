//! Prints the log-probability of each token but the first of a text, one a line, for comparison with another engine.
//!
//! `score MODEL.gguf [THREADS [ISA]] < TOKENS`, where tokens are numbers with spaces between them.

use std::error::Error;
use std::io::read_to_string;
use std::ops::ControlFlow;
use std::path::Path;

use _native::gguf::Gguf;
use _native::kernels::Isa;
use _native::model::{Model, Options, score};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("score MODEL.gguf [THREADS [ISA]] < TOKENS")?;
    let mut options = Options::default();
    if let Some(threads) = arguments.get(1) {
        options.threads = threads.parse()?;
    }
    if let Some(name) = arguments.get(2) {
        options.isa = Some(Isa::named(name)?);
    }
    let tokens: Vec<u32> =
        read_to_string(std::io::stdin())?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let mut model =
        Model::load(&Gguf::open(Path::new(path))?, options, &mut |_, _| ControlFlow::Continue(()))?;
    for score in score(&mut model, &tokens)? {
        println!("{score}");
    }
    Ok(())
}
