//! The backward pass over one part. With `P` the probabilities, `S` the scaled scores, `O` the result:
//! `dV = Pᵀ·dO`, `dP = dO·Vᵀ`, `dS = P∘(dP − rowsum(P∘dP))`, `dQ = dS·K·scale`, `dK = dSᵀ·Q·scale`.
//!
//! FlashAttention takes `rowsum(dO∘O)` for `rowsum(P∘dP)`, as it never has a whole row; here there is one, so that `O`
//! need not be kept.

use pulp::{Simd, WithSimd};

use super::block::{Block, Matrix, Part};
use super::forward::{across, around, clear, hide, score, spread};
use crate::exp::exp;
use crate::strided::{Left, Product};
use crate::tile::with_widest;

/// `inputs` are `q`, `k`, `v` and `d_out`, `log_sums` is `[group, seq]`, `d` has a piece of `dq`, `dk` and `dv` for every
/// position.
pub(super) fn attend(part: Part<'_>, inputs: [&[f32]; 4], log_sums: &[f32], d: [Vec<&mut [f32]>; 3]) {
    let ([q, k, v, d_out], [mut dq, mut dk, mut dv]) = (inputs, d);
    let seq = part.shape.seq;
    let (key_columns, keys, values) = (part.columns(k), part.rows(k), part.columns(v));
    let [mut d_keys, mut d_values] = [(); 2].map(|()| part.heads(seq));
    let [mut queries, mut d_queries, mut d_sums] = [(); 3].map(|()| part.heads(part.most_queries()));
    let [mut scores, mut d_scores] = [(); 2].map(|()| part.scores());
    let scale = (part.shape.head_dim as f32).sqrt().recip();
    for block in part.blocks(0..seq) {
        score(part, &block, (q, &mut queries), &key_columns, &mut scores);
        part.lay(d_out, block.positions.clone(), 1.0, &mut d_sums);
        across(part, &block, &d_sums, &values, &mut d_scores);
        with_widest(Slopes { block: &block, scores: &mut scores, d_scores: &mut d_scores, log_sums, seq });
        gather(&block, &scores, &d_sums, &mut d_values);
        gather(&block, &d_scores, &queries, &mut d_keys);
        spread(&block, &d_scores, &keys, &mut d_queries);
        part.put(&d_queries, &mut dq[block.positions.clone()], |_| scale);
    }
    part.put(&d_keys, &mut dk, |_| 1.0);
    part.put(&d_values, &mut dv, |_| 1.0);
}

/// `out += xᵀ·rows`, for the keys of the block.
fn gather(block: &Block<'_>, x: &Matrix, rows: &Matrix, out: &mut Matrix) {
    Product {
        left: Left::Columns(x.from(0, 0)),
        right: rows.from(0, 0),
        sizes: [block.keys.len(), out.stride, block.queries()],
        out_stride: out.stride,
        out: &mut out.data[block.keys.start * out.stride..],
        add: true,
    }
    .compute();
}

/// Makes `scores` probabilities and `d_scores`, which are `dP` before, `dS`; where a query sees nothing both are 0.
struct Slopes<'a> {
    block: &'a Block<'a>,
    scores: &'a mut Matrix,
    d_scores: &'a mut Matrix,
    log_sums: &'a [f32],
    seq: usize,
}

impl WithSimd for Slopes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (width, stride) = (self.block.room(), self.scores.stride);
        for query in 0..self.block.queries() {
            let row = &mut self.scores.data[query * stride..][..width];
            let d_row = &mut self.d_scores.data[query * stride..][..width];
            let seen = self.block.seen(query);
            let log_sum = simd.splat_f32s(self.log_sums[self.block.log_sum(query, self.seq)]);
            let (scores, _) = S::as_mut_simd_f32s(hide(row, &seen));
            let (d_scores, _) = S::as_mut_simd_f32s(&mut d_row[around(&seen)]);
            let mut sums = simd.splat_f32s(0.0);
            for (x, d) in scores.iter_mut().zip(&*d_scores) {
                *x = exp(simd, simd.sub_f32s(*x, log_sum));
                sums = simd.mul_add_f32s(*x, *d, sums);
            }
            let mean = simd.splat_f32s(simd.reduce_sum_f32s(sums));
            for (x, d) in scores.iter().zip(d_scores) {
                *d = simd.mul_f32s(*x, simd.sub_f32s(*d, mean));
            }
            clear(row, &seen);
            clear(d_row, &seen);
        }
    }
}
