//! Many short byte strings in one allocation, each known by a number and found by its content.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// Byte strings, numbered from 0 in the order in which they were added.
#[derive(Debug, Default)]
pub struct Strings {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Strings {
    pub fn push(&mut self, string: &[u8]) {
        self.bytes.extend_from_slice(string);
        self.ends.push(self.bytes.len());
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The string of a number; empty when there is none.
    pub fn get(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let Some(&end) = self.ends.get(number) else { return &[] };
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..end]
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }
}

/// Strings of which no two are equal. The hash is keyed at random, so that no file can make look-ups slow.
#[derive(Debug, Default)]
pub struct Index {
    strings: Strings,
    numbers: HashTable<u32>,
    hasher: RandomState,
}

impl Index {
    pub fn find(&self, string: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(string);
        self.numbers.find(hash, |&number| self.strings.get(number) == string).copied()
    }

    /// Returns the number of a string and whether it was added just now.
    pub fn add(&mut self, string: &[u8]) -> (u32, bool) {
        if let Some(number) = self.find(string) {
            return (number, false);
        }
        // Model files name tokens by 32 bits, and 2³² strings would not fit in memory.
        let number = u32::try_from(self.strings.len()).unwrap_or(u32::MAX);
        self.strings.push(string);
        let Self { strings, numbers, hasher } = self;
        let rehash = |&number: &u32| hasher.hash_one(strings.get(number));
        numbers.insert_unique(hasher.hash_one(string), number, rehash);
        (number, true)
    }

    pub fn strings(&self) -> &Strings {
        &self.strings
    }
}

#[cfg(test)]
mod tests {
    use super::{Index, Strings};

    #[test]
    fn strings_are_found_by_number() {
        let mut strings = Strings::default();
        for string in [&b"ab"[..], b"", b"\xff"] {
            strings.push(string);
        }
        assert_eq!(
            (0..4).map(|number| strings.get(number)).collect::<Vec<_>>(),
            [&b"ab"[..], b"", b"\xff", b""]
        );
        assert_eq!(strings.iter().collect::<Vec<_>>(), [&b"ab"[..], b"", b"\xff"]);
    }

    #[test]
    fn equal_strings_have_one_number() {
        let mut index = Index::default();
        assert_eq!(index.add(b"a"), (0, true));
        assert_eq!(index.add(b"b"), (1, true));
        assert_eq!(index.add(b"a"), (0, false));
        assert_eq!((index.find(b"b"), index.find(b"c")), (Some(1), None));
    }
}
