//! Reads little-endian values one after another, and never past the end.

use super::LONGEST_NAME;
use crate::error::{Error, Result};

pub struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub fn position(&self) -> usize {
        self.position
    }

    /// Takes `count` bytes; `what` is what an error calls them.
    pub fn take(&mut self, count: u64, what: &str) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.position..];
        match usize::try_from(count) {
            Ok(count) if count <= rest.len() => {
                self.position += count;
                Ok(&rest[..count])
            }
            _ => Err(Error::Damaged(format!("it ends inside {what}"))),
        }
    }

    pub fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, what)?);
        Ok(array)
    }

    pub fn u32(&mut self, what: &str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, what: &str) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// Takes a length and as many bytes.
    pub fn string(&mut self, what: &str) -> Result<&'a [u8]> {
        let length = self.u64(what)?;
        self.take(length, what)
    }

    /// Takes a string that names something.
    pub fn name(&mut self, what: &str) -> Result<&'a str> {
        let bytes = self.string(what)?;
        if bytes.len() > LONGEST_NAME {
            return Err(Error::Damaged(format!("{what} is {} bytes long", bytes.len())));
        }
        std::str::from_utf8(bytes).map_err(|_| Error::Damaged(format!("{what} is not UTF-8")))
    }
}
