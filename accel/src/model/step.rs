//! One step over the tokens of several sequences.
//!
//! Its rows are the tokens of all chunks, one after another. A layer is a handful of phases (see `threads`): products
//! are shared among threads by rows of the matrix, attention by heads and tokens, what is done to one token by tokens.

use std::ops::Range;

use super::cache::{Cache, Destination};
use super::config::Config;
use super::scratch::Scratch;
use super::sharing::{for_rows, of_product, of_rows, quantize};
use super::weights::{Layer, Linear, Weights};
use crate::decoder::Sequence;
use crate::error::{Error, Result};
use crate::kernels::{
    Attention, CacheFormat, Into, Isa, Matrix, Region, Tiles, add, multiply, rms_norm, rms_norm_in_place,
    rope, write_key, write_value,
};
use crate::threads::Pool;

/// The most rows of a step: enough that weights are read seldom, and few enough that a step is soon over.
pub const BATCH: usize = 128;

/// Rows that attend together, so that keys and values are read once for them.
const ATTENDING_ROWS: usize = 16;

/// Consecutive rows of one sequence.
#[derive(Debug, Clone)]
pub struct Part {
    pub sequence: Sequence,
    /// Position of the first row.
    pub position: usize,
    pub rows: Range<usize>,
    /// Those of the rows that want logits.
    pub wanted: Range<usize>,
}

/// Which activations a product is made with.
#[derive(Clone, Copy)]
enum From {
    Attended,
    Inner,
}

/// A step under way.
pub struct Step<'a> {
    pub config: &'a Config,
    pub weights: &'a Weights,
    /// Whether to write states in place of logits.
    pub states: bool,
    pub isa: Isa,
    pub pool: &'a mut Pool,
    pub cache: &'a mut Cache,
    pub cache_format: CacheFormat,
    pub scratch: &'a mut Scratch,
}

impl Step<'_> {
    /// Adds `tokens` to the cache, whose room was made, and writes the rows of logits that `parts` want.
    ///
    /// # Errors
    /// `Failed`, `OutOfMemory` for the logits.
    pub fn run(mut self, tokens: &[u32], mut parts: Vec<Part>, logits: &mut Vec<f32>) -> Result<()> {
        let mut rows = tokens.len();
        self.embed(tokens);
        self.prepare_turns(&parts);
        let destinations: Vec<_> =
            parts.iter().flat_map(|part| self.cache.destinations(part.sequence, part.rows.clone())).collect();
        for (index, layer) in self.weights.layers.iter().enumerate() {
            self.project(layer, rows)?;
            self.turn(layer, index, rows)?;
            self.store(index, &destinations)?;
            if index + 1 == self.weights.layers.len() {
                rows = self.keep_wanted(&mut parts);
                if rows == 0 {
                    break;
                }
            }
            self.attend(index, &parts)?;
            self.add_attended(layer, rows)?;
            self.add_inner(layer, rows)?;
        }
        self.logits(rows, logits)
    }

    fn embed(&mut self, tokens: &[u32]) {
        let (width, scale) = (self.config.width, self.config.embedding_scale);
        for (token, row) in tokens.iter().zip(self.scratch.stream.chunks_exact_mut(width)) {
            self.weights.embedding.dequantize_row(*token as usize, row);
            if let Some(scale) = scale {
                for value in row {
                    *value *= scale;
                }
            }
        }
    }

    fn prepare_turns(&mut self, parts: &[Part]) {
        let positions: Vec<_> =
            parts.iter().flat_map(|part| (part.position..).take(part.rows.len())).collect();
        self.scratch.turns.prepare(&positions);
        if let Some(turns) = &mut self.scratch.sliding_turns {
            turns.prepare(&positions);
        }
    }

    /// Queries, keys and values of all rows.
    fn project(&mut self, layer: &Layer, rows: usize) -> Result<()> {
        self.normalize(&layer.norm, rows)?;
        let Scratch { normed, query, key, value, .. } = &mut *self.scratch;
        let threads = self.pool.threads();
        let products = [(&layer.query, query), (&layer.key, key), (&layer.value, value)]
            .map(|(linear, out)| (&linear.matrix, of_product(out, rows, linear.matrix.rows(), threads)));
        let (isa, normed) = (self.isa, &*normed);
        self.pool.run(&|lane| {
            for (matrix, tiles) in &products {
                while let Some(mut tile) = tiles.own(lane) {
                    multiply(isa, matrix, normed, &mut tile, Into::Set)?;
                }
            }
            for (matrix, tiles) in &products {
                while let Some(mut tile) = tiles.next(lane) {
                    multiply(isa, matrix, normed, &mut tile, Into::Set)?;
                }
            }
            Ok(())
        })
    }

    /// Writes the norm of each row of the stream to `normed`.
    fn normalize(&mut self, weight: &[f32], rows: usize) -> Result<()> {
        let (isa, width, epsilon) = (self.isa, self.config.width, self.config.epsilon);
        let Scratch { stream, normed, .. } = &mut *self.scratch;
        let (stream, places) = (&*stream, normed.rows(rows));
        for_rows(self.pool, rows, &|lane| {
            let mut values = vec![0.0; width];
            while let Some(mut place) = places.next(lane) {
                rms_norm(isa, &stream[place.token() * width..][..width], weight, epsilon, &mut values);
                place.set(isa, &values);
            }
            Ok(())
        })
    }

    /// Adds biases to queries, keys and values, and turns queries and keys by their positions.
    fn turn(&mut self, layer: &Layer, index: usize, rows: usize) -> Result<()> {
        let (isa, config) = (self.isa, self.config);
        let Scratch { query, key, value, turns, sliding_turns, .. } = &mut *self.scratch;
        let turns = match (config.slides(index), &*sliding_turns) {
            (Some(_), Some(turns)) => turns,
            _ => &*turns,
        };
        let queries = of_rows(query, rows, config.query_width());
        let keys = of_rows(key, rows, config.key_width());
        let values = of_rows(value, rows, config.key_width());
        let turn_all = |lane: usize, tiles: &Tiles<'_, f32>, linear: &Linear, norm: Option<&[f32]>| {
            while let Some(mut tile) = tiles.next(lane) {
                let row = tile.rows().start;
                let (cosines, sines) = turns.row(row);
                let heads = tile.row_mut(row);
                if let Some(bias) = &linear.bias {
                    add(isa, heads, bias);
                }
                for head in heads.chunks_exact_mut(config.head_width) {
                    if let Some(norm) = norm {
                        rms_norm_in_place(isa, head, norm, config.epsilon);
                    }
                    rope(isa, config.architecture.pairing(), head, cosines, sines);
                }
            }
        };
        for_rows(self.pool, rows, &|lane| {
            turn_all(lane, &queries, &layer.query, layer.query_norm.as_deref());
            turn_all(lane, &keys, &layer.key, layer.key_norm.as_deref());
            if let Some(bias) = &layer.value.bias {
                while let Some(mut tile) = values.next(lane) {
                    add(isa, tile.row_mut(tile.rows().start), bias);
                }
            }
            Ok(())
        })
    }

    /// Writes keys and values to the cache.
    fn store(&mut self, index: usize, destinations: &[Destination]) -> Result<()> {
        let mut pages = self.cache.lend(destinations);
        let outcome = self.write(index, destinations, &mut pages);
        self.cache.take_back(destinations, pages);
        outcome
    }

    fn write(&mut self, index: usize, destinations: &[Destination], pages: &mut [Region]) -> Result<()> {
        struct Target<'a> {
            keys: &'a mut [u8],
            values: &'a mut [u8],
            head: usize,
            to: &'a Destination,
        }
        let mut targets = Vec::new();
        for (page, to) in pages.iter_mut().zip(destinations) {
            for (head, (keys, values)) in self.cache.parts_mut(page, index).enumerate() {
                targets.push(Target { keys, values, head, to });
            }
        }
        let (isa, format) = (self.isa, self.cache_format);
        let (head_width, width) = (self.config.head_width, self.config.key_width());
        let Scratch { key, value, .. } = &*self.scratch;
        let rows = destinations.iter().map(|to| to.rows.len()).sum();
        let tiles = Tiles::rows(&mut targets, 1);
        for_rows(self.pool, rows, &|lane| {
            while let Some(mut tile) = tiles.next(lane) {
                let first = tile.rows().start;
                let Some(target) = tile.row_mut(first).first_mut() else { continue };
                for (position, row) in (target.to.position..).zip(target.to.rows.clone()) {
                    let at = row * width + target.head * head_width;
                    write_key(isa, format, target.keys, position, &key[at..][..head_width]);
                    write_value(isa, format, target.values, position, &value[at..][..head_width]);
                }
            }
            Ok(())
        })
    }

    /// Moves rows whose logits are wanted to the front and forgets the others; returns how many there are.
    ///
    /// After the last layer's keys and values are stored, nothing else depends on the others.
    fn keep_wanted(&mut self, parts: &mut [Part]) -> usize {
        let (width, query_width) = (self.config.width, self.config.query_width());
        let Scratch { stream, query, .. } = &mut *self.scratch;
        let mut kept = 0;
        for part in parts {
            let Range { start, end } = part.wanted;
            stream.copy_within(start * width..end * width, kept * width);
            query.copy_within(start * query_width..end * query_width, kept * query_width);
            part.position += start - part.rows.start;
            part.rows = kept..kept + (end - start);
            part.wanted = part.rows.clone();
            kept = part.rows.end;
        }
        kept
    }

    fn attend(&mut self, index: usize, parts: &[Part]) -> Result<()> {
        let (isa, config, cache) = (self.isa, self.config, &*self.cache);
        let group = config.heads / config.key_heads;
        let attention = Attention {
            group,
            dimension: config.head_width,
            format: self.cache_format,
            scale: config.attention_scale,
            softcap: None,
            window: config.slides(index).map(|sliding| sliding.window),
        };
        let (width, head_columns) = (config.query_width(), group * config.head_width);
        let Scratch { query, attended, .. } = &mut *self.scratch;
        let (query, mut rest) = (&*query, &mut attended[..]);
        let mut pieces = Vec::with_capacity(parts.len());
        for part in parts.iter().filter(|part| !part.rows.is_empty()) {
            let (out, others) = rest.split_at_mut(part.rows.len() * width);
            rest = others;
            let queries = &query[part.rows.start * width..part.rows.end * width];
            let pages = cache.pages_of(part.sequence);
            pieces.push((
                part.position,
                queries,
                pages,
                Tiles::new(out, width, ATTENDING_ROWS, head_columns),
            ));
        }
        self.pool.run(&|lane| {
            for (position, queries, pages, tiles) in &pieces {
                while let Some(mut tile) = tiles.next(lane) {
                    let head = tile.columns().start / head_columns;
                    let page = |at: usize| cache.page(pages[at], index, head);
                    attention.attend(isa, queries, *position, page, &mut tile)?;
                }
            }
            Ok(())
        })
    }

    fn add_attended(&mut self, layer: &Layer, rows: usize) -> Result<()> {
        let Scratch { attended, attended_codes, .. } = &mut *self.scratch;
        quantize(self.pool, self.isa, attended, attended_codes, rows)?;
        self.add_product(&layer.output, layer.output_norm.as_deref(), rows, From::Attended)
    }

    /// The feed-forward part.
    fn add_inner(&mut self, layer: &Layer, rows: usize) -> Result<()> {
        self.normalize(&layer.inner_norm, rows)?;
        let (isa, gate) = (self.isa, self.config.architecture.gate());
        let Scratch { normed, inner, inner_codes, .. } = &mut *self.scratch;
        let products = of_product(inner, rows, layer.up.rows(), self.pool.threads());
        let normed = &*normed;
        self.pool.run(&|lane| {
            while let Some(mut tile) = products.next(lane) {
                multiply(isa, &layer.gate, normed, &mut tile, Into::Set)?;
                multiply(isa, &layer.up, normed, &mut tile, gate)?;
            }
            Ok(())
        })?;
        quantize(self.pool, isa, inner, inner_codes, rows)?;
        self.add_product(&layer.down, layer.down_norm.as_deref(), rows, From::Inner)
    }

    /// Adds a product to the stream, through a norm if it has one.
    fn add_product(&mut self, matrix: &Matrix, norm: Option<&[f32]>, rows: usize, from: From) -> Result<()> {
        let (isa, width, epsilon) = (self.isa, self.config.width, self.config.epsilon);
        let Scratch { stream, added, attended_codes, inner_codes, .. } = &mut *self.scratch;
        let activations = match from {
            From::Attended => &*attended_codes,
            From::Inner => &*inner_codes,
        };
        let (out, into) = if norm.is_some() { (&mut *added, Into::Set) } else { (&mut *stream, Into::Add) };
        let products = of_product(out, rows, width, self.pool.threads());
        self.pool.run(&|lane| {
            while let Some(mut tile) = products.next(lane) {
                multiply(isa, matrix, activations, &mut tile, into)?;
            }
            Ok(())
        })?;
        let Some(norm) = norm else { return Ok(()) };
        let (added, stream) = (&*added, of_rows(stream, rows, width));
        for_rows(self.pool, rows, &|lane| {
            let mut values = vec![0.0; width];
            while let Some(mut tile) = stream.next(lane) {
                let row = tile.rows().start;
                rms_norm(isa, &added[row * width..][..width], norm, epsilon, &mut values);
                add(isa, tile.row_mut(row), &values);
            }
            Ok(())
        })
    }

    fn logits(&mut self, rows: usize, logits: &mut Vec<f32>) -> Result<()> {
        if self.states {
            return self.states(rows, logits);
        }
        let head = self.weights.head();
        let length = rows * head.rows();
        logits.clear();
        logits
            .try_reserve(length)
            .map_err(|_| Error::OutOfMemory(format!("{} bytes for logits", length * 4)))?;
        logits.resize(length, 0.0);
        if rows == 0 {
            return Ok(());
        }
        self.normalize(&self.weights.norm, rows)?;
        let (isa, cap, normed) = (self.isa, self.config.logit_cap, &self.scratch.normed);
        let products = of_product(logits, rows, head.rows(), self.pool.threads());
        self.pool.run(&|lane| {
            while let Some(mut tile) = products.next(lane) {
                multiply(isa, head, normed, &mut tile, Into::Set)?;
                if let Some(cap) = cap {
                    for row in tile.rows() {
                        for logit in tile.row_mut(row) {
                            *logit = cap * (*logit / cap).tanh();
                        }
                    }
                }
            }
            Ok(())
        })
    }
}
