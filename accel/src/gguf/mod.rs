//! Model files: the GGUF container, versions 2 and 3, little-endian.
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>
//!
//! A file may come from anywhere, so nothing in it is believed: every length is checked against what is left of the
//! file before it is used, nothing is allocated because a number says so, and no sum can wrap.

mod cursor;
#[cfg(test)]
pub(crate) mod sample;
mod tensor;
mod value;

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use crate::error::{Error, Result};
use cursor::Cursor;
use tensor::Place;
pub use tensor::Tensor;
pub use value::FromValue;
use value::Value;

const MAGIC: [u8; 4] = *b"GGUF";
/// Longest key or name; the format allows keys of 65,535 bytes.
const LONGEST_NAME: usize = 65_535;
/// Where tensors begin, and each of them, unless `general.alignment` says otherwise.
const DEFAULT_ALIGNMENT: u32 = 32;

/// A model file whose structure has been checked: metadata by key and tensors by name.
#[derive(Debug)]
pub struct Gguf {
    bytes: Bytes,
    metadata: HashMap<String, Value>,
    tensors: HashMap<String, Place>,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Gguf {
    /// Maps the file at `path` into memory and reads its metadata; tensors stay on disk until they are touched.
    ///
    /// # Errors
    /// `Damaged` when the file is missing, cut short or contradicts itself, `Unsupported` for versions 1 and above 3
    /// and for big-endian files, `OutOfMemory` when the system has no room to map it.
    pub fn open(path: &Path) -> Result<Self> {
        let unreadable = |error: std::io::Error| match error.kind() {
            ErrorKind::OutOfMemory => Error::OutOfMemory(format!("{}: {error}", path.display())),
            _ => Error::Damaged(format!("{}: {error}", path.display())),
        };
        let file = File::open(path).map_err(unreadable)?;
        // A mapping of nothing is an error of its own on some systems, with a message that helps nobody.
        if file.metadata().map_err(unreadable)?.len() == 0 {
            return Err(Error::Damaged("the file is empty".into()));
        }
        // SAFETY: the mapping is read-only and private to us. A program that rewrites the model under a running engine
        // could change what we read, and one that shortens it could end this process by SIGBUS; the models folder is
        // written by replacing whole files, and the engine runs in a process of its own.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        Self::parse(Bytes::Mapped(map))
    }

    /// Reads a file that is already in memory.
    ///
    /// # Errors
    /// As `open`.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Self::parse(Bytes::Owned(bytes))
    }

    fn parse(bytes: Bytes) -> Result<Self> {
        let mut cursor = Cursor::new(&bytes);
        if cursor.array::<4>("the magic number")? != MAGIC {
            return Err(Error::Damaged("it does not begin with GGUF".into()));
        }
        check_version(cursor.u32("the version")?)?;
        let tensor_count = cursor.u64("the number of tensors")?;
        let value_count = cursor.u64("the number of metadata values")?;

        let mut metadata = HashMap::new();
        for _ in 0..value_count {
            let key = cursor.name("a metadata key")?;
            let value = Value::read(&mut cursor, key)?;
            if metadata.insert(key.to_owned(), value).is_some() {
                return Err(Error::Damaged(format!("the key {key} is there twice")));
            }
        }
        let mut places = Vec::new();
        for _ in 0..tensor_count {
            let name = cursor.name("a tensor's name")?;
            places.push((name.to_owned(), Place::read(&mut cursor, name)?));
        }
        let end_of_header = cursor.position();
        let mut gguf = Self { bytes, metadata, tensors: HashMap::new() };
        gguf.place(places, end_of_header)?;
        Ok(gguf)
    }

    /// Turns offsets that count from the end of the header into checked ranges of the file.
    fn place(&mut self, places: Vec<(String, Place)>, end_of_header: usize) -> Result<()> {
        let alignment = self.get::<u32>("general.alignment")?.unwrap_or(DEFAULT_ALIGNMENT);
        if !alignment.is_power_of_two() {
            return Err(Error::Damaged(format!("general.alignment is {alignment}, not a power of two")));
        }
        let alignment = alignment as usize;
        let start = end_of_header
            .checked_next_multiple_of(alignment)
            .ok_or_else(|| Error::Damaged("general.alignment is too large".into()))?;
        for (name, mut place) in places {
            place.settle(&name, start, alignment, self.bytes.len())?;
            if self.tensors.contains_key(&name) {
                return Err(Error::Damaged(format!("the tensor {name} is there twice")));
            }
            self.tensors.insert(name, place);
        }
        Ok(())
    }

    /// Returns a metadata value, or `None` when the file has no such key.
    ///
    /// Whole numbers convert between all widths as long as the value fits.
    ///
    /// # Errors
    /// `Damaged`, naming the key, when its value is of another type or does not fit.
    pub fn get<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        T::from_value(value, &self.bytes)
            .map(Some)
            .ok_or_else(|| Error::Damaged(format!("{key} is {}, not {}", value.describe(), T::EXPECTED)))
    }

    /// Returns a metadata value that a whole file has.
    ///
    /// # Errors
    /// `Damaged`, naming the key, when it is missing or of another type.
    pub fn require<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T> {
        self.get(key)?.ok_or_else(|| Error::Damaged(format!("{key} is missing")))
    }

    /// The metadata keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.metadata.keys().map(String::as_str)
    }

    /// The names of the tensors, in no order.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Returns a tensor, or `None` when the file has none of that name.
    ///
    /// # Errors
    /// `Unsupported` when its values are packed in a way that this engine does not know.
    pub fn find_tensor(&self, name: &str) -> Result<Option<Tensor<'_>>> {
        self.tensors.get(name).map(|place| place.tensor(name, &self.bytes)).transpose()
    }

    /// Returns a tensor that a whole file has.
    ///
    /// # Errors
    /// `Damaged` when it is missing, else as `find_tensor`.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>> {
        self.find_tensor(name)?.ok_or_else(|| Error::Damaged(format!("the tensor {name} is missing")))
    }

    /// Reads everything in the file in every way that it can be read; for tests and the fuzzer.
    #[doc(hidden)]
    pub fn touch(&self) {
        for key in self.keys() {
            let _ =
                (self.get::<u64>(key), self.get::<f32>(key), self.get::<bool>(key), self.get::<&str>(key));
            let _ = (self.get::<Vec<i32>>(key), self.get::<Vec<f32>>(key), self.get::<Vec<&[u8]>>(key));
        }
        for name in self.tensor_names() {
            if let Ok(tensor) = self.tensor(name) {
                let rows = tensor.shape[1..].iter().product();
                assert_eq!(tensor.format.bytes(rows, tensor.shape[0]), Ok(tensor.data.len()));
            }
        }
    }

    /// Size of the file in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

fn check_version(version: u32) -> Result<()> {
    match version {
        2 | 3 => Ok(()),
        // A big-endian file writes its small version number with the bytes the other way round.
        _ if version.trailing_zeros() >= 16 => Err(Error::Unsupported("a big-endian GGUF file".into())),
        _ => Err(Error::Unsupported(format!("GGUF version {version}"))),
    }
}

#[cfg(test)]
mod tests;
