//! Tensors: how their values are packed and where they are in the file.

use super::cursor::Cursor;
use crate::error::{Error, Result};

const MOST_DIMENSIONS: u32 = 4;

/// How values are packed, by their names in ggml (`ggml_type` and the `block_…` structures of `ggml-common.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
pub enum TensorType {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl TensorType {
    pub(super) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            10 => Self::Q2_K,
            11 => Self::Q3_K,
            12 => Self::Q4_K,
            13 => Self::Q5_K,
            14 => Self::Q6_K,
            30 => Self::BF16,
            _ => return None,
        })
    }

    /// Values of a block, which are packed together, and the bytes they take.
    #[must_use]
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::BF16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q2_K => (256, 84),
            Self::Q3_K => (256, 110),
            Self::Q4_K => (256, 144),
            Self::Q5_K => (256, 176),
            Self::Q6_K => (256, 210),
        }
    }
}

/// A tensor of a file.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    pub format: TensorType,
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
        let size = match TensorType::from_number(number) {
            Some(format) => Some(packed_size(format, &shape).ok_or_else(impossible)?),
            None => None,
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
        let (Some(format), Some(size)) = (TensorType::from_number(self.number), self.size) else {
            return Err(Error::Unsupported(format!("{name} is packed as ggml type {}", self.number)));
        };
        usize::try_from(self.offset)
            .ok()
            .and_then(|offset| file.get(offset..)?.get(..size))
            .map(|data| Tensor { format, shape: &self.shape, data })
            .ok_or_else(|| Error::Damaged(format!("it ends inside {name}")))
    }
}

/// Bytes that a tensor takes; `None` when rows are no whole blocks, or there are more than can be counted.
fn packed_size(format: TensorType, shape: &[usize]) -> Option<usize> {
    let (values, bytes) = format.block();
    let (columns, rows) = shape.split_first()?;
    if !columns.is_multiple_of(values) {
        return None;
    }
    rows.iter().try_fold((columns / values).checked_mul(bytes)?, |size, rows| size.checked_mul(*rows))
}
