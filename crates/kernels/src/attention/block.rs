//! What both passes work on: a part's matrices, laid out once, and its blocks of queries.

use std::ops::Range;

use super::AttentionShape;
use crate::strided::{Grid, LANES};

/// A row's key and value head: `index = row · kv_heads + head`.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub shape: AttentionShape,
    /// Of all rows.
    pub first: &'a [u32],
    pub index: usize,
}

/// A matrix that owns its numbers.
pub(super) struct Matrix {
    pub data: Vec<f32>,
    pub stride: usize,
}

/// A part's keys and values as products read them.
pub(super) struct Laid {
    pub key_columns: Matrix,
    pub values: Matrix,
}

impl Laid {
    pub(super) fn of(part: Part<'_>, k: &[f32], v: &[f32]) -> Laid {
        Laid { key_columns: part.columns(k), values: part.rows(v) }
    }
}

/// Some positions of a part with all heads of its group, and the keys that they see.
pub(super) struct Block<'a> {
    pub positions: Range<usize>,
    /// From a multiple of [`LANES`] on.
    pub keys: Range<usize>,
    group: usize,
    /// Of the positions.
    first: &'a [u32],
}

impl Matrix {
    pub(super) fn zeros(rows: usize, stride: usize) -> Matrix {
        Matrix { data: vec![0.0; rows * stride], stride }
    }

    /// From a row and a column on.
    pub(super) fn from(&self, row: usize, column: usize) -> Grid<'_> {
        Grid { data: &self.data[row * self.stride + column..], stride: self.stride }
    }
}

impl<'a> Part<'a> {
    /// The blocks of some positions, which begin where a block does.
    pub(super) fn blocks(self, positions: Range<usize>) -> impl Iterator<Item = Block<'a>> {
        let AttentionShape { seq, kv_heads, .. } = self.shape;
        let (group, row, start) = (self.shape.group(), self.index / kv_heads, positions.start);
        let first = &self.first[row * seq..][positions];
        let size = self.shape.block();
        first.chunks(size).enumerate().map(move |(at, first)| {
            let positions = start + at * size..start + at * size + first.len();
            let low = first.iter().min().map_or(0, |&low| low as usize);
            Block { keys: low - low % LANES..positions.end, positions, group, first }
        })
    }

    /// Queries of the longest block.
    pub(super) fn most_queries(self) -> usize {
        self.shape.block().min(self.shape.seq) * self.shape.group()
    }

    /// Room for the scores of a block, and a vector more, as those of a row may begin anywhere.
    pub(super) fn scores(self) -> Matrix {
        Matrix::zeros(self.most_queries(), stride_of(self.shape.seq + LANES))
    }

    /// Room for `rows` heads.
    pub(super) fn heads(self, rows: usize) -> Matrix {
        Matrix::zeros(rows, self.shape.padded_dim())
    }

    /// What the part has of `all` `[rows, seq, kv_heads, ..]` at a position.
    fn piece(self, all: &[f32], position: usize) -> &[f32] {
        let AttentionShape { rows, seq, kv_heads, .. } = self.shape;
        let (row, head) = (self.index / kv_heads, self.index % kv_heads);
        let width = all.len() / (rows * seq * kv_heads);
        &all[((row * seq + position) * kv_heads + head) * width..][..width]
    }

    /// Writes the heads of some positions below each other, times a factor.
    pub(super) fn lay(self, all: &[f32], positions: Range<usize>, factor: f32, out: &mut Matrix) {
        let mut rows = out.data.chunks_exact_mut(out.stride);
        for position in positions {
            for (head, row) in self.piece(all, position).chunks_exact(self.shape.head_dim).zip(&mut rows) {
                row.iter_mut().zip(head).for_each(|(out, x)| *out = x * factor);
            }
        }
    }

    /// All of the part's keys or values, below each other.
    pub(super) fn rows(self, all: &[f32]) -> Matrix {
        let mut rows = self.heads(self.shape.seq);
        self.lay(all, 0..self.shape.seq, 1.0, &mut rows);
        rows
    }

    /// All of the part's keys or values, side by side.
    pub(super) fn columns(self, all: &[f32]) -> Matrix {
        let AttentionShape { seq, head_dim, .. } = self.shape;
        let mut columns = Matrix::zeros(head_dim, stride_of(seq));
        // A cache line of each row at a time.
        for start in (0..seq).step_by(LANES) {
            let pieces: Vec<&[f32]> = (start..seq.min(start + LANES)).map(|at| self.piece(all, at)).collect();
            for (d, row) in columns.data.chunks_exact_mut(columns.stride).enumerate() {
                row[start..].iter_mut().zip(&pieces).for_each(|(out, piece)| *out = piece[d]);
            }
        }
        columns
    }

    /// Writes heads that stand below each other to where the part has them, each times its factor.
    pub(super) fn put(self, heads: &Matrix, out: &mut [&mut [f32]], factor: impl Fn(usize) -> f32) {
        let out = out.iter_mut().flat_map(|piece| piece.chunks_exact_mut(self.shape.head_dim));
        for (at, (out, head)) in out.zip(heads.data.chunks_exact(heads.stride)).enumerate() {
            let factor = factor(at);
            out.iter_mut().zip(head).for_each(|(out, x)| *out = x * factor);
        }
    }
}

impl Block<'_> {
    pub(super) fn queries(&self) -> usize {
        self.positions.len() * self.group
    }

    /// Columns of its scores: its keys, and what whole vectors have beyond.
    pub(super) fn width(&self) -> usize {
        self.keys.len().next_multiple_of(LANES)
    }

    /// Columns that its scores may take: whole vectors of what a query sees may begin anywhere.
    pub(super) fn room(&self) -> usize {
        self.width() + LANES
    }

    /// The columns that a query sees.
    #[inline(always)]
    pub(super) fn seen(&self, query: usize) -> Range<usize> {
        let at = query / self.group;
        self.first[at] as usize - self.keys.start..self.positions.start + at + 1 - self.keys.start
    }

    /// Where a part has the log-sum of a query, of `seq` for each head.
    pub(super) fn log_sum(&self, query: usize, seq: usize) -> usize {
        query % self.group * seq + self.positions.start + query / self.group
    }
}

/// An odd number of cache lines, so that rows below each other do not compete for the same places of the cache.
fn stride_of(seq: usize) -> usize {
    (seq.div_ceil(LANES) | 1) * LANES
}
