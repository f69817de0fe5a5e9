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
use crate::kernels::{Arena, CacheFormat, PAGE, Page, Region};

/// Memory is asked of the system for so many bytes of pages at a time: some large pages of the processor's.
const CHUNK: usize = 16 << 20;

#[derive(Debug)]
pub struct Cache {
    shape: Shape,
    /// The most pages at a time.
    most: usize,
    /// Where pages come from, and for how many more of them it has room.
    arena: Arena,
    room: usize,
    /// Pages that were given back; they go to the system when the last sequence ends.
    spare: Vec<Region>,
    pages: Vec<Slot>,
    /// Slots without a page.
    vacant: Vec<usize>,
    sequences: HashMap<Sequence, Held>,
    last: u32,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    layers: usize,
    heads: usize,
    /// Bytes of the keys, or the values, of one head in one layer.
    part: usize,
}

/// A place for a page, which has none while nobody refers to it.
#[derive(Debug, Default)]
struct Slot {
    references: usize,
    memory: Region,
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
    pub fn new(config: &Config, format: CacheFormat, bytes: usize) -> Self {
        let part = format.bytes(config.head_width);
        let shape = Shape { layers: config.layers, heads: config.key_heads, part };
        Self {
            shape,
            most: bytes / shape.bytes(),
            arena: Arena::new(0),
            room: 0,
            spare: Vec::new(),
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
                self.spare.push(std::mem::take(&mut slot.memory));
                self.vacant.push(*page);
            }
        }
        if self.vacant.len() == self.pages.len() {
            (self.arena, self.room) = (Arena::new(0), 0);
            self.spare.clear();
        }
    }

    /// Memory for a page, with anything in it.
    fn memory(&mut self) -> Result<Region> {
        if let Some(memory) = self.spare.pop() {
            return Ok(memory);
        }
        let bytes = self.shape.bytes();
        if self.room == 0 {
            self.room = (CHUNK / bytes).clamp(1, self.most);
            self.arena = Arena::new(self.room * bytes.next_multiple_of(64));
        }
        let memory = self.arena.take(bytes)?;
        self.room -= 1;
        Ok(memory)
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
        let mut fresh = Vec::with_capacity(total);
        for _ in 0..total {
            match self.memory() {
                Ok(memory) => fresh.push(memory),
                Err(error) => {
                    self.spare.append(&mut fresh);
                    return Err(error);
                }
            }
        }
        for ((sequence, _), need) in wanted.iter().zip(needs) {
            let Some(mut held) = self.sequences.remove(sequence) else { continue };
            if need.copy {
                self.copy_last(&mut held, &mut fresh);
            }
            for memory in fresh.drain(fresh.len() - need.more..) {
                held.pages.push(self.put(memory));
            }
            self.sequences.insert(*sequence, held);
        }
        self.spare.append(&mut fresh);
        Ok(())
    }

    fn need(&self, sequence: Sequence, tokens: usize) -> Need {
        let Some(held) = self.sequences.get(&sequence) else { return Need::default() };
        let more = (held.length + tokens).div_ceil(PAGE).saturating_sub(held.pages.len());
        let is_shared = |page: &usize| self.pages[*page].references > 1;
        let is_partial = !held.length.is_multiple_of(PAGE);
        Need { more, copy: tokens > 0 && is_partial && held.pages.last().is_some_and(is_shared) }
    }

    fn copy_last(&mut self, held: &mut Held, fresh: &mut Vec<Region>) {
        let Some(last) = held.pages.last_mut() else { return };
        // All others may have made their copies since it was counted.
        if self.pages[*last].references > 1
            && let Some(mut memory) = fresh.pop()
        {
            memory.bytes_mut().copy_from_slice(self.pages[*last].memory.bytes());
            self.pages[*last].references -= 1;
            *last = self.put(memory);
        }
    }

    /// Puts a page into a vacant slot.
    fn put(&mut self, memory: Region) -> usize {
        let slot = Slot { references: 1, memory };
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
    pub fn lend(&mut self, destinations: &[Destination]) -> Vec<Region> {
        destinations.iter().map(|to| std::mem::take(&mut self.pages[to.slot].memory)).collect()
    }

    pub fn take_back(&mut self, destinations: &[Destination], pages: Vec<Region>) {
        for (to, memory) in destinations.iter().zip(pages) {
            self.pages[to.slot].memory = memory;
        }
    }

    /// A layer's part of a page that was lent: keys and values of each head.
    pub fn parts_mut<'a>(
        &self,
        page: &'a mut Region,
        layer: usize,
    ) -> impl Iterator<Item = (&'a mut [u8], &'a mut [u8])> + use<'a> {
        let Shape { heads, part, .. } = self.shape;
        let heads =
            page.bytes_mut()[layer * heads * 2 * part..][..heads * 2 * part].chunks_exact_mut(2 * part);
        heads.map(move |head| head.split_at_mut(part))
    }

    /// The pages of a sequence, those of rows that are being added among them.
    pub fn pages_of(&self, sequence: Sequence) -> &[usize] {
        self.sequences.get(&sequence).map_or(&[], |held| &held.pages)
    }

    /// Keys and values of one head in one layer.
    pub fn page(&self, page: usize, layer: usize, head: usize) -> Page<'_> {
        let Shape { heads, part, .. } = self.shape;
        let bytes = &self.pages[page].memory.bytes()[(layer * heads + head) * 2 * part..][..2 * part];
        let (keys, values) = bytes.split_at(part);
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
    fn bytes(self) -> usize {
        self.layers * self.heads * 2 * self.part
    }
}
