//! The forward pass over one part, or some blocks of it.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::block::{Block, Laid, Matrix, Part};
use crate::exp::exp;
use crate::strided::{LANES, Left, Product};
use crate::tile::with_widest;

/// Of some positions, which begin where a block does: `out` has a piece for each of them, `log_sums` is
/// `[group, positions]`.
pub(super) fn attend(
    part: Part<'_>,
    laid: &Laid,
    q: &[f32],
    positions: Range<usize>,
    (out, log_sums): (&mut [&mut [f32]], &mut [f32]),
) {
    let [mut queries, mut sums] = [(); 2].map(|()| part.heads(part.most_queries()));
    let mut scores = part.scores();
    let mut told = vec![Told::default(); part.most_queries()];
    for block in part.blocks(positions.clone()) {
        score(part, &block, (q, &mut queries), &laid.key_columns, &mut scores);
        with_widest(Softmax { block: &block, scores: &mut scores, told: &mut told });
        spread(&block, &scores, &laid.values, &mut sums);
        let own = block.positions.start - positions.start..block.positions.end - positions.start;
        part.put(&sums, &mut out[own], |query| told[query].share);
        for (query, told) in told[..block.queries()].iter().enumerate() {
            log_sums[block.log_sum(query, positions.len()) - positions.start] = told.log_sum;
        }
    }
}

/// Lays out a block's queries, scaled, and computes their scores.
pub(super) fn score(
    part: Part<'_>,
    block: &Block<'_>,
    (q, queries): (&[f32], &mut Matrix),
    keys: &Matrix,
    scores: &mut Matrix,
) {
    let scale = (part.shape.head_dim as f32).sqrt().recip();
    part.lay(q, block.positions.clone(), scale, queries);
    across(part, block, queries, keys, scores);
}

/// `out = x·columns`: each of the block's queries with each of its keys, over the dimensions of a head.
pub(super) fn across(part: Part<'_>, block: &Block<'_>, x: &Matrix, columns: &Matrix, out: &mut Matrix) {
    Product {
        left: Left::Rows(x.from(0, 0)),
        right: columns.from(0, block.keys.start),
        sizes: [block.queries(), block.width(), part.shape.head_dim],
        out_stride: out.stride,
        out: &mut out.data,
        add: false,
    }
    .compute();
}

/// `out = x·rows`: the rows of the block's keys, as much of each as `x` has for a query.
pub(super) fn spread(block: &Block<'_>, x: &Matrix, rows: &Matrix, out: &mut Matrix) {
    Product {
        left: Left::Rows(x.from(0, 0)),
        right: rows.from(block.keys.start, 0),
        sizes: [block.queries(), out.stride, block.keys.len()],
        out_stride: out.stride,
        out: &mut out.data,
        add: false,
    }
    .compute();
}

/// Of a query.
#[derive(Clone, Copy, Default)]
struct Told {
    log_sum: f32,
    /// What its exponentials have to be multiplied by.
    share: f32,
}

/// Makes scores exponentials, of which the largest of a query is 1; where it sees nothing they are 0.
struct Softmax<'a> {
    block: &'a Block<'a>,
    scores: &'a mut Matrix,
    told: &'a mut [Told],
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (width, stride) = (self.block.room(), self.scores.stride);
        for query in 0..self.block.queries() {
            let row = &mut self.scores.data[query * stride..][..width];
            let seen = self.block.seen(query);
            let (vectors, _) = S::as_mut_simd_f32s(hide(row, &seen));
            let mut most = simd.splat_f32s(f32::MIN);
            for x in &*vectors {
                most = simd.max_f32s(most, *x);
            }
            let largest = simd.reduce_max_f32s(most);
            let mut sums = simd.splat_f32s(0.0);
            for x in vectors {
                *x = exp(simd, simd.sub_f32s(*x, simd.splat_f32s(largest)));
                sums = simd.add_f32s(sums, *x);
            }
            let sum = simd.reduce_sum_f32s(sums);
            clear(row, &seen);
            self.told[query] = Told { log_sum: largest + sum.ln(), share: sum.recip() };
        }
    }
}

/// The whole vectors that hold what is seen of a row, in which what is not seen becomes very small.
#[inline(always)]
pub(super) fn hide<'a>(row: &'a mut [f32], seen: &Range<usize>) -> &'a mut [f32] {
    let Range { start, end } = around(seen);
    row[seen.end..end].fill(f32::MIN);
    &mut row[start..end]
}

/// What is seen of a row, and what whole vectors have beyond. They begin with the first that is seen: what a vector has
/// beside each other, and so how sums are rounded, does not depend on where in the row that is.
#[inline(always)]
pub(super) fn around(seen: &Range<usize>) -> Range<usize> {
    seen.start..seen.start + seen.len().next_multiple_of(LANES)
}

/// Makes what is not seen of a row 0.
#[inline(always)]
pub(super) fn clear(row: &mut [f32], seen: &Range<usize>) {
    row[..seen.start].fill(0.0);
    row[seen.end..].fill(0.0);
}
