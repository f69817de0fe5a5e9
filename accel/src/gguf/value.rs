//! Metadata values: where they are in the file, and what Rust types they can become.

use std::ops::Range;

use super::cursor::Cursor;
use crate::error::{Error, Result};

/// Arrays of arrays are in the format, but no model file has more than one level of them.
const DEEPEST_ARRAY: usize = 4;

/// The type of a metadata value, by its number in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<Self> {
        const ALL: [Kind; 13] = {
            use Kind::{Array, Bool, F32, F64, I8, I16, I32, I64, String, U8, U16, U32, U64};
            [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64]
        };
        let number = cursor.u32(key)?;
        ALL.get(number as usize)
            .copied()
            .ok_or_else(|| Error::Damaged(format!("{key} has a value of type {number}, which there is not")))
    }

    /// Bytes of one value; `None` when that depends on the value.
    fn width(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::String | Self::Array => None,
        }
    }
}

/// One value, left where it is in the file; an array is known by the type and number of its elements.
#[derive(Debug, Clone)]
pub struct Value {
    kind: Kind,
    /// Number of elements; `None` when this is a single value.
    count: Option<usize>,
    /// The bytes of the value, or of the elements one after another.
    place: Range<usize>,
}

impl Value {
    pub fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<Self> {
        let kind = Kind::read(cursor, key)?;
        if kind == Kind::Array {
            return Self::read_array(cursor, key, 1);
        }
        let start = cursor.position();
        skip(cursor, kind, key)?;
        Ok(Self { kind, count: None, place: start..cursor.position() })
    }

    fn read_array(cursor: &mut Cursor<'_>, key: &str, depth: usize) -> Result<Self> {
        if depth > DEEPEST_ARRAY {
            return Err(Error::Damaged(format!("{key} has arrays {depth} levels deep")));
        }
        let kind = Kind::read(cursor, key)?;
        let count = cursor.u64(key)?;
        let start = cursor.position();
        if let Some(width) = kind.width() {
            cursor.take(count.saturating_mul(width), key)?;
        } else {
            // Each turn takes at least eight bytes or fails, so a count that lies ends the loop at the end of the file.
            for _ in 0..count {
                match kind {
                    Kind::Array => _ = Self::read_array(cursor, key, depth + 1)?,
                    _ => skip(cursor, kind, key)?,
                }
            }
        }
        // What was just read is in the file, so the count fits.
        Ok(Self { kind, count: usize::try_from(count).ok(), place: start..cursor.position() })
    }

    /// What the value is, for a message.
    pub fn describe(&self) -> String {
        let kind = format!("{:?}", self.kind).to_lowercase();
        match self.count {
            Some(count) => format!("an array of {count} × {kind}"),
            None => format!("of type {kind}"),
        }
    }

    /// A single value.
    fn single<'a, T>(&self, file: &'a [u8], read: impl Fn(Kind, &'a [u8]) -> Option<T>) -> Option<T> {
        if self.count.is_some() {
            return None;
        }
        let bytes = &file[self.place.clone()];
        read(self.kind, if self.kind == Kind::String { &bytes[8..] } else { bytes })
    }

    /// The elements of an array; `None` if any of them is not to be had as `T`.
    fn elements<'a, T>(&self, file: &'a [u8], read: impl Fn(Kind, &'a [u8]) -> Option<T>) -> Option<Vec<T>> {
        let count = self.count?;
        let bytes = &file[self.place.clone()];
        match self.kind.width() {
            Some(width) => {
                bytes.chunks_exact(usize::try_from(width).ok()?).map(|one| read(self.kind, one)).collect()
            }
            None if self.kind == Kind::String => {
                let mut cursor = Cursor::new(bytes);
                (0..count).map(|_| read(self.kind, cursor.string("").ok()?)).collect()
            }
            None => None,
        }
    }
}

fn skip(cursor: &mut Cursor<'_>, kind: Kind, key: &str) -> Result<()> {
    match kind.width() {
        Some(width) => cursor.take(width, key).map(drop),
        None => cursor.string(key).map(drop),
    }
}

fn integer(kind: Kind, bytes: &[u8]) -> Option<i128> {
    Some(match kind {
        Kind::U8 => u8::from_le_bytes(bytes.try_into().ok()?).into(),
        Kind::I8 => i8::from_le_bytes(bytes.try_into().ok()?).into(),
        Kind::U16 => u16::from_le_bytes(bytes.try_into().ok()?).into(),
        Kind::I16 => i16::from_le_bytes(bytes.try_into().ok()?).into(),
        Kind::U32 => u32::from_le_bytes(bytes.try_into().ok()?).into(),
        Kind::I32 => i32::from_le_bytes(bytes.try_into().ok()?).into(),
        Kind::U64 => u64::from_le_bytes(bytes.try_into().ok()?).into(),
        Kind::I64 => i64::from_le_bytes(bytes.try_into().ok()?).into(),
        _ => return None,
    })
}

fn whole<T: TryFrom<i128>>(kind: Kind, bytes: &[u8]) -> Option<T> {
    T::try_from(integer(kind, bytes)?).ok()
}

fn float(kind: Kind, bytes: &[u8]) -> Option<f32> {
    match kind {
        Kind::F32 => Some(f32::from_le_bytes(bytes.try_into().ok()?)),
        #[allow(clippy::cast_possible_truncation)]
        Kind::F64 => Some(f64::from_le_bytes(bytes.try_into().ok()?) as f32),
        _ => None,
    }
}

fn truth(kind: Kind, bytes: &[u8]) -> Option<bool> {
    match (kind, bytes) {
        (Kind::Bool, [0]) => Some(false),
        (Kind::Bool, [1]) => Some(true),
        _ => None,
    }
}

fn string(kind: Kind, bytes: &[u8]) -> Option<&str> {
    (kind == Kind::String).then(|| std::str::from_utf8(bytes).ok()).flatten()
}

fn raw(kind: Kind, bytes: &[u8]) -> Option<&[u8]> {
    (kind == Kind::String).then_some(bytes)
}

/// A Rust type that a metadata value can become. `&[u8]` takes strings that need not be UTF-8.
pub trait FromValue<'a>: Sized {
    /// What was expected, for a message.
    const EXPECTED: &'static str;

    #[doc(hidden)]
    fn from_value(value: &Value, file: &'a [u8]) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty, $read:expr, $one:literal, $many:literal;)*) => {$(
        impl<'a> FromValue<'a> for $type {
            const EXPECTED: &'static str = $one;

            fn from_value(value: &Value, file: &'a [u8]) -> Option<Self> {
                value.single(file, $read)
            }
        }

        impl<'a> FromValue<'a> for Vec<$type> {
            const EXPECTED: &'static str = $many;

            fn from_value(value: &Value, file: &'a [u8]) -> Option<Self> {
                value.elements(file, $read)
            }
        }
    )*};
}

from_value! {
    u32, whole, "a u32", "an array of u32";
    u64, whole, "a u64", "an array of u64";
    usize, whole, "a size", "an array of sizes";
    i32, whole, "an i32", "an array of i32";
    i64, whole, "an i64", "an array of i64";
    f32, float, "a float", "an array of floats";
    bool, truth, "a bool", "an array of bools";
    &'a str, string, "a UTF-8 string", "an array of UTF-8 strings";
    &'a [u8], raw, "a string", "an array of strings";
}
