//! Keys and values of all sequences, in pages that sequences share.
//!
//! A page holds `PAGE` positions of every layer. Sequences with a common past hold the same pages; a sequence that wants
//! to write where another one reads gets a copy first. Nothing is taken before it is needed, and what is needed for a step
//! is taken before it begins, so that a step that does not fit changes nothing.

use std::collections::HashMap;
use std::ops::Range;

use super::config::Config;
use crate::decoder::Sequence;
use crate::error::{Error, Result};
use crate::kernels::{PAGE, Page};

#[derive(Debug)]
pub struct Cache {
    shape: Shape,
    /// The most pages at a time.
    most: usize,
    pages: Vec<Slot>,
    /// Slots without a page.
    vacant: Vec<usize>,
    sequences: HashMap<Sequence, Held>,
    last: u32,
}

/// Sizes of a page's parts, in f16 values.
#[derive(Debug, Clone, Copy)]
struct Shape {
    layers: usize,
    heads: usize,
    /// The keys, or the values, of one head in one layer.
    part: usize,
}

/// A place for a page, which has none while nobody refers to it.
#[derive(Debug, Default)]
struct Slot {
    references: usize,
    halves: Vec<u16>,
}

#[derive(Debug, Default, Clone)]
struct Held {
    pages: Vec<usize>,
    length: usize,
}

/// Where some rows of a step go: one after another, in one page.
#[derive(Debug, Clone)]
pub struct Destination {
    slot: usize,
    /// Position in the page of the first row.
    pub position: usize,
    pub rows: Range<usize>,
}

impl Cache {
    /// A cache that takes `bytes` of memory at the most.
    #[must_use]
    pub fn new(config: &Config, bytes: usize) -> Self {
        let shape = Shape { layers: config.layers, heads: config.key_heads, part: PAGE * config.head_width };
        Self {
            shape,
            most: bytes / shape.bytes(),
            pages: Vec::new(),
            vacant: Vec::new(),
            sequences: HashMap::new(),
            last: 0,
        }
    }

    pub fn open(&mut self) -> Sequence {
        self.insert(Held::default())
    }

    pub fn fork(&mut self, from: Sequence, length: usize) -> Sequence {
        let held = self.sequences.get(&from).map(|held| held.first(length)).unwrap_or_default();
        for page in &held.pages {
            self.pages[*page].references += 1;
        }
        self.insert(held)
    }

    fn insert(&mut self, held: Held) -> Sequence {
        // Numbers of sequences that are long closed come again.
        while self.sequences.contains_key(&Sequence(self.last)) {
            self.last = self.last.wrapping_add(1);
        }
        let sequence = Sequence(self.last);
        self.last = self.last.wrapping_add(1);
        self.sequences.insert(sequence, held);
        sequence
    }

    pub fn truncate(&mut self, sequence: Sequence, length: usize) {
        let Some(held) = self.sequences.get_mut(&sequence) else { return };
        held.length = held.length.min(length);
        let dropped = held.pages.split_off(held.length.div_ceil(PAGE));
        self.release(&dropped);
    }

    pub fn close(&mut self, sequence: Sequence) {
        if let Some(held) = self.sequences.remove(&sequence) {
            self.release(&held.pages);
        }
    }

    fn release(&mut self, pages: &[usize]) {
        for page in pages {
            let slot = &mut self.pages[*page];
            slot.references -= 1;
            if slot.references == 0 {
                slot.halves = Vec::new();
                self.vacant.push(*page);
            }
        }
    }

    /// How many tokens a sequence holds; `None` when there is no such sequence.
    #[must_use]
    pub fn length(&self, sequence: Sequence) -> Option<usize> {
        self.sequences.get(&sequence).map(|held| held.length)
    }

    /// Memory that pages take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        (self.pages.len() - self.vacant.len()) * self.shape.bytes()
    }

    #[must_use]
    pub fn most_bytes(&self) -> usize {
        self.most * self.shape.bytes()
    }

    /// The most memory that `tokens` more tokens of a sequence take: whole pages, and a copy of the last one.
    #[must_use]
    pub fn bytes_for(&self, tokens: usize) -> usize {
        if tokens == 0 { 0 } else { (tokens.div_ceil(PAGE) + 1) * self.shape.bytes() }
    }

    /// Makes room for so many more tokens of each sequence, of which none is there twice. Their lengths stay as they are.
    ///
    /// # Errors
    /// `OutOfMemory`; nothing has changed then.
    pub fn reserve(&mut self, wanted: &[(Sequence, usize)]) -> Result<()> {
        let needs: Vec<_> = wanted.iter().map(|(sequence, tokens)| self.need(*sequence, *tokens)).collect();
        let total = needs.iter().map(|need| need.pages()).sum::<usize>();
        let used = self.pages.len() - self.vacant.len();
        if used + total > self.most {
            return Err(Error::OutOfMemory(format!(
                "the cache has {} of {} bytes in use, and needs {} more",
                used * self.shape.bytes(),
                self.most * self.shape.bytes(),
                total * self.shape.bytes()
            )));
        }
        let mut fresh = (0..total).map(|_| self.shape.page()).collect::<Result<Vec<_>>>()?;
        for ((sequence, _), need) in wanted.iter().zip(needs) {
            let Some(mut held) = self.sequences.remove(sequence) else { continue };
            if need.copy {
                self.copy_last(&mut held, &mut fresh);
            }
            for halves in fresh.drain(fresh.len() - need.more..) {
                held.pages.push(self.put(halves));
            }
            self.sequences.insert(*sequence, held);
        }
        Ok(())
    }

    fn need(&self, sequence: Sequence, tokens: usize) -> Need {
        let Some(held) = self.sequences.get(&sequence) else { return Need::default() };
        let more = (held.length + tokens).div_ceil(PAGE).saturating_sub(held.pages.len());
        let is_shared = |page: &usize| self.pages[*page].references > 1;
        let is_partial = !held.length.is_multiple_of(PAGE);
        Need { more, copy: tokens > 0 && is_partial && held.pages.last().is_some_and(is_shared) }
    }

    fn copy_last(&mut self, held: &mut Held, fresh: &mut Vec<Vec<u16>>) {
        let (Some(last), Some(mut halves)) = (held.pages.last_mut(), fresh.pop()) else { return };
        // All others may have made their copies since it was counted.
        if self.pages[*last].references > 1 {
            halves.copy_from_slice(&self.pages[*last].halves);
            self.pages[*last].references -= 1;
            *last = self.put(halves);
        }
    }

    /// Puts a page into a vacant slot.
    fn put(&mut self, halves: Vec<u16>) -> usize {
        let slot = Slot { references: 1, halves };
        if let Some(page) = self.vacant.pop() {
            self.pages[page] = slot;
            page
        } else {
            self.pages.push(slot);
            self.pages.len() - 1
        }
    }

    /// Where the next `rows` of a sequence go, for which room was made.
    pub fn destinations(&self, sequence: Sequence, rows: Range<usize>) -> Vec<Destination> {
        let Some(held) = self.sequences.get(&sequence) else { return Vec::new() };
        let mut destinations = Vec::new();
        let (mut position, mut row) = (held.length, rows.start);
        while row < rows.end {
            let count = (PAGE - position % PAGE).min(rows.end - row);
            let slot = held.pages[position / PAGE];
            destinations.push(Destination { slot, position: position % PAGE, rows: row..row + count });
            position += count;
            row += count;
        }
        destinations
    }

    /// Hands out the pages that rows go to, to be written to, until `take_back`.
    pub fn lend(&mut self, destinations: &[Destination]) -> Vec<Vec<u16>> {
        destinations.iter().map(|to| std::mem::take(&mut self.pages[to.slot].halves)).collect()
    }

    pub fn take_back(&mut self, destinations: &[Destination], pages: Vec<Vec<u16>>) {
        for (to, halves) in destinations.iter().zip(pages) {
            self.pages[to.slot].halves = halves;
        }
    }

    /// A layer's part of a page that was lent: keys and values of each head.
    pub fn parts_mut<'a>(
        &self,
        page: &'a mut [u16],
        layer: usize,
    ) -> impl Iterator<Item = (&'a mut [u16], &'a mut [u16])> + use<'a> {
        let Shape { heads, part, .. } = self.shape;
        let heads = page[layer * heads * 2 * part..][..heads * 2 * part].chunks_exact_mut(2 * part);
        heads.map(move |head| head.split_at_mut(part))
    }

    /// The pages of a sequence, those of rows that are being added among them.
    pub fn pages_of(&self, sequence: Sequence) -> &[usize] {
        self.sequences.get(&sequence).map_or(&[], |held| &held.pages)
    }

    /// Keys and values of one head in one layer.
    pub fn page(&self, page: usize, layer: usize, head: usize) -> Page<'_> {
        let Shape { heads, part, .. } = self.shape;
        let halves = &self.pages[page].halves[(layer * heads + head) * 2 * part..][..2 * part];
        let (keys, values) = halves.split_at(part);
        Page { keys, values }
    }

    /// Counts tokens that a step has added.
    pub fn advance(&mut self, sequence: Sequence, tokens: usize) {
        if let Some(held) = self.sequences.get_mut(&sequence) {
            held.length += tokens;
        }
    }
}

/// What a sequence needs to become longer.
#[derive(Debug, Default, Clone, Copy)]
struct Need {
    more: usize,
    copy: bool,
}

impl Need {
    fn pages(self) -> usize {
        self.more + usize::from(self.copy)
    }
}

impl Held {
    fn first(&self, length: usize) -> Self {
        let length = self.length.min(length);
        Self { pages: self.pages[..length.div_ceil(PAGE)].to_vec(), length }
    }
}

impl Shape {
    fn halves(self) -> usize {
        self.layers * self.heads * 2 * self.part
    }

    fn bytes(self) -> usize {
        self.halves() * size_of::<u16>()
    }

    fn page(self) -> Result<Vec<u16>> {
        let mut halves = Vec::new();
        halves
            .try_reserve_exact(self.halves())
            .map_err(|_| Error::OutOfMemory(format!("{} bytes for the cache", self.bytes())))?;
        halves.resize(self.halves(), 0);
        Ok(halves)
    }
}
