//! Memory for what a step walks over from end to end, in pages of 2 MiB where the system has them.
//!
//! With pages of 4 KiB a processor looks up so many addresses, under a hypervisor twice each, that it reads at half its
//! speed: one thread read 16 GB/s here, and 30 GB/s from pages of 2 MiB.

use std::sync::Arc;

use memmap2::{MmapMut, MmapRaw};

use crate::error::{Error, Result};

/// Size and alignment of a large page on x86-64 and most of aarch64.
const LARGE_PAGE: usize = 2 << 20;

/// Where regions begin: at a line of the cache.
const ALIGNMENT: usize = 64;

/// Hands out memory, piece by piece.
#[derive(Debug)]
pub struct Arena {
    /// What is left of the latest mapping.
    rest: Region,
    /// Bytes that are still to come, as far as is known.
    expected: usize,
}

impl Arena {
    /// Memory from which about `bytes` will be taken in all. None is in use before it is written to.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { rest: Region::default(), expected: bytes }
    }

    /// Takes `bytes` zeros.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn take(&mut self, bytes: usize) -> Result<Region> {
        let length = bytes.next_multiple_of(ALIGNMENT);
        if length > self.rest.length {
            self.rest = Region::map(self.expected.max(length))?;
        }
        self.expected = self.expected.saturating_sub(length);
        let taken = Region { mapping: self.rest.mapping.clone(), start: self.rest.start, length: bytes };
        self.rest.start += length;
        self.rest.length -= length;
        Ok(taken)
    }
}

/// The sole right to some bytes of a mapping, which lives as long as any region of it.
#[derive(Debug, Default)]
pub struct Region {
    mapping: Option<Arc<MmapRaw>>,
    start: usize,
    length: usize,
}

impl Region {
    /// A mapping of its own.
    fn map(bytes: usize) -> Result<Self> {
        let refused = |_| Error::OutOfMemory(format!("{bytes} bytes"));
        // A large page begins at a multiple of its size, wherever the system puts the mapping.
        let spare = if bytes < LARGE_PAGE { 0 } else { LARGE_PAGE };
        let length = bytes.checked_add(spare).ok_or_else(|| Error::OutOfMemory(format!("{bytes} bytes")))?;
        let mapping = MmapRaw::from(MmapMut::map_anon(length.max(1)).map_err(refused)?);
        let start = if spare == 0 { 0 } else { mapping.as_ptr().align_offset(LARGE_PAGE) };
        #[cfg(all(target_os = "linux", not(miri)))]
        if spare > 0 {
            // A wish: a system without large pages works as well, only slower.
            _ = mapping.advise(memmap2::Advice::HugePage);
        }
        Ok(Self { mapping: Some(Arc::new(mapping)), start, length: bytes })
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let Some(mapping) = &self.mapping else { return &[] };
        // SAFETY: `take` hands out each byte of a mapping once, and `self` is borrowed meanwhile.
        unsafe { std::slice::from_raw_parts(mapping.as_ptr().add(self.start), self.length) }
    }

    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let Some(mapping) = &self.mapping else { return &mut [] };
        // SAFETY: as in `bytes`; the mapping may be written to.
        unsafe { std::slice::from_raw_parts_mut(mapping.as_mut_ptr().add(self.start), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::{ALIGNMENT, Arena, LARGE_PAGE};
    use crate::error::Error;

    #[test]
    fn regions_are_zeros_on_lines_of_their_own() {
        let mut arena = Arena::new(LARGE_PAGE);
        let mut regions: Vec<_> =
            [100, 0, 64, LARGE_PAGE, 7].map(|bytes| arena.take(bytes).expect("memory")).into();
        drop(arena);
        for (index, region) in regions.iter_mut().enumerate() {
            assert!(region.bytes().iter().all(|byte| *byte == 0));
            assert!(region.bytes().as_ptr().addr().is_multiple_of(ALIGNMENT));
            region.bytes_mut().fill(u8::try_from(index).expect("few") + 1);
        }
        regions.remove(2);
        assert_eq!(
            regions.iter().map(|region| region.bytes().len()).collect::<Vec<_>>(),
            [100, 0, LARGE_PAGE, 7]
        );
        for (region, value) in regions.iter().zip([1, 2, 4, 5]) {
            assert!(region.bytes().iter().all(|byte| *byte == value));
        }
    }

    #[test]
    fn what_no_system_has_is_an_error() {
        for bytes in [1 << 62, usize::MAX - ALIGNMENT] {
            assert!(matches!(Arena::new(0).take(bytes), Err(Error::OutOfMemory(_))));
        }
    }
}
