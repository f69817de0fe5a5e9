//! Tensors: how their values are packed and where they are in the file.

use super::cursor::Cursor;
use crate::error::{Error, Result};
use crate::kernels::Format;

const MOST_DIMENSIONS: u32 = 4;

/// A tensor of a file.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    pub format: Format,
    /// Number of values along each dimension, the innermost first: `[columns, rows, …]`.
    pub shape: &'a [usize],
    /// The packed values; as long as `format` and `shape` say.
    pub data: &'a [u8],
}

/// Where a tensor is.
#[derive(Debug)]
pub struct Place {
    number: u32,
    shape: Vec<usize>,
    offset: u64,
    /// Bytes; none when the packing is unknown, and with it the size.
    size: Option<usize>,
}

impl Place {
    /// Reads a tensor's entry; `offset` counts from the end of the header until it is settled.
    pub fn read(cursor: &mut Cursor<'_>, name: &str) -> Result<Self> {
        let dimensions = cursor.u32(name)?;
        if dimensions > MOST_DIMENSIONS {
            return Err(Error::Damaged(format!("{name} has {dimensions} dimensions")));
        }
        let impossible = || Error::Damaged(format!("{name} has an impossible shape"));
        let mut shape = Vec::with_capacity(dimensions as usize);
        for _ in 0..dimensions {
            shape.push(usize::try_from(cursor.u64(name)?).map_err(|_| impossible())?);
        }
        if shape.is_empty() || shape.contains(&0) {
            return Err(impossible());
        }
        let number = cursor.u32(name)?;
        let rows = shape[1..].iter().try_fold(1usize, |rows, length| rows.checked_mul(*length));
        let size = match Format::from_number(number) {
            Ok(format) => {
                Some(format.bytes(rows.ok_or_else(impossible)?, shape[0]).map_err(|_| impossible())?)
            }
            Err(_) => None,
        };
        Ok(Self { number, shape, offset: cursor.u64(name)?, size })
    }

    /// Makes the offset count from the start of the file, and checks that the tensor is inside.
    pub fn settle(&mut self, name: &str, start: usize, alignment: usize, file_size: usize) -> Result<()> {
        if !self.offset.is_multiple_of(alignment as u64) {
            return Err(Error::Damaged(format!("{name} is not aligned to {alignment} bytes")));
        }
        self.offset = self.offset.saturating_add(start as u64);
        let end = self.offset.saturating_add(self.size.unwrap_or(0) as u64);
        if end > file_size as u64 {
            return Err(Error::Damaged(format!("it ends inside {name}")));
        }
        Ok(())
    }

    pub fn tensor<'a>(&'a self, name: &str, file: &'a [u8]) -> Result<Tensor<'a>> {
        let format = Format::from_number(self.number)
            .map_err(|_| Error::Unsupported(format!("{name} is packed as GGUF type {}", self.number)))?;
        let size = self.size.unwrap_or(0);
        usize::try_from(self.offset)
            .ok()
            .and_then(|offset| file.get(offset..)?.get(..size))
            .map(|data| Tensor { format, shape: &self.shape, data })
            .ok_or_else(|| Error::Damaged(format!("it ends inside {name}")))
    }
}
