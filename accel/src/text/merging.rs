//! Merges neighbours in a row of symbols, best pair first: what byte-pair encoding and SentencePiece have in common.
//!
//! O(n log n): a heap of candidate pairs over a linked list; candidates that a merge has overtaken are skipped.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

const NOBODY: usize = usize::MAX;

/// A stretch of text and the symbol that it is.
#[derive(Debug, Clone)]
pub struct Piece {
    pub range: Range<usize>,
    pub symbol: u32,
    before: usize,
    after: usize,
}

/// What a pair would become; a lower rank merges first, and of equals the one on the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merge {
    pub rank: u32,
    pub symbol: u32,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: usize,
    right: usize,
    /// Bytes of both together: neither piece has changed as long as this is right.
    length: usize,
    symbol: u32,
}

/// A row of pieces; kept between texts to reuse its memory.
#[derive(Debug, Default)]
pub struct Row {
    pieces: Vec<Piece>,
    candidates: BinaryHeap<Reverse<Candidate>>,
}

impl Row {
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.candidates.clear();
    }

    /// Appends a piece that begins where the one before it ends.
    pub fn push(&mut self, range: Range<usize>, symbol: u32) {
        let index = self.pieces.len();
        if let Some(last) = self.pieces.last_mut() {
            last.after = index;
        }
        self.pieces.push(Piece { range, symbol, before: index.wrapping_sub(1), after: NOBODY });
    }

    /// Merges until `pair` knows no two neighbours that merge.
    pub fn merge(&mut self, pair: impl Fn(&Piece, &Piece) -> Option<Merge>) {
        let mut candidates = std::mem::take(&mut self.candidates).into_vec();
        candidates.extend(
            (1..self.pieces.len()).filter_map(|right| self.candidate(right - 1, right, &pair)).map(Reverse),
        );
        self.candidates = candidates.into();
        while let Some(Reverse(best)) = self.candidates.pop() {
            if self.is_overtaken(&best) {
                continue;
            }
            self.join(&best);
            let (before, after) = (self.pieces[best.left].before, self.pieces[best.left].after);
            self.candidates.extend(self.candidate(before, best.left, &pair).map(Reverse));
            self.candidates.extend(self.candidate(best.left, after, &pair).map(Reverse));
        }
    }

    /// The pieces that are left, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let piece = self.pieces.get(next)?;
            next = piece.after;
            Some(piece)
        })
    }

    fn candidate(
        &self,
        left: usize,
        right: usize,
        pair: impl Fn(&Piece, &Piece) -> Option<Merge>,
    ) -> Option<Candidate> {
        let (first, second) = (self.pieces.get(left)?, self.pieces.get(right)?);
        let Merge { rank, symbol } = pair(first, second)?;
        Some(Candidate { rank, left, right, length: first.range.len() + second.range.len(), symbol })
    }

    fn is_overtaken(&self, candidate: &Candidate) -> bool {
        let (left, right) = (&self.pieces[candidate.left].range, &self.pieces[candidate.right].range);
        left.is_empty() || right.is_empty() || left.len() + right.len() != candidate.length
    }

    fn join(&mut self, pair: &Candidate) {
        let right = &mut self.pieces[pair.right];
        let (end, after) = (right.range.end, right.after);
        right.range = end..end;
        let left = &mut self.pieces[pair.left];
        left.range.end = end;
        left.symbol = pair.symbol;
        left.after = after;
        if let Some(next) = self.pieces.get_mut(after) {
            next.before = pair.left;
        }
    }
}
