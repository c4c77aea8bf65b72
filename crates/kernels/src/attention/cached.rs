//! Attention of a few new queries over keys and values that are kept from one step to the next.
//!
//! Keys stand as they were written, one below the other, and are read once for all heads of their group; nothing is laid
//! out, as every key would be laid out anew for one query.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::AttentionShape;
use crate::softmax::Softmax;
use crate::tile::with_widest;

/// Keys whose values are added up in a register before their sum is written.
const AT_ONCE: usize = 4;

/// Keys and values `[rows, kv_heads, room, head_dim]`, of which the first `width` are filled.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    pub keys: &'a [f32],
    pub values: &'a [f32],
    pub width: usize,
    pub room: usize,
}

/// `softmax(q·kᵀ / √head_dim)·v` `[rows, seq, heads, head_dim]` of queries `q` of `shape`, whose own keys and values are
/// the last `seq` of `kept`.
///
/// `first` `[rows · seq]` is the first position that a query sees; the last is its own.
///
/// # Panics
/// When a length is not that of the shape, or a query would not see itself.
pub fn attention_kept(shape: AttentionShape, first: &[u32], q: &[f32], kept: Kept<'_>) -> Vec<f32> {
    let AttentionShape { rows, seq, kv_heads, head_dim, .. } = shape;
    assert!(seq <= kept.width && kept.width <= kept.room, "{seq} of {} in {}", kept.width, kept.room);
    let size = rows * kv_heads * kept.room * head_dim;
    assert_eq!([q.len(), kept.keys.len(), kept.values.len()], [shape.queries(), size, size], "of {shape:?}");
    assert_eq!(first.len(), rows * seq, "a first position for every query");
    let mut out = vec![0.0; q.len()];
    let heads = (shape.group() * head_dim).max(1);
    out.par_chunks_mut(heads).zip(q.par_chunks(heads)).enumerate().for_each(|(index, (out, q))| {
        let (query, head) = (index / kv_heads, index % kv_heads);
        let (row, last) = (query / seq, kept.width - seq + query % seq);
        let place = (row * kv_heads + head) * kept.room;
        let seen = (place + first[query] as usize) * head_dim..(place + last + 1) * head_dim;
        let (keys, values) = (&kept.keys[seen.clone()], &kept.values[seen]);
        with_widest(Mix { q, keys, values, head_dim, out });
    });
    out
}

/// The heads of a group, one below the other, with the keys and values that they see.
struct Mix<'a> {
    q: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    head_dim: usize,
    out: &'a mut [f32],
}

impl WithSimd for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (dim, count) = (self.head_dim, self.keys.len() / self.head_dim);
        let scale = (dim as f32).sqrt().recip();
        let mut scores = vec![0.0; self.q.len() / dim * count];
        for (at, key) in self.keys.chunks_exact(dim).enumerate() {
            for (q, scores) in self.q.chunks_exact(dim).zip(scores.chunks_exact_mut(count)) {
                scores[at] = dot(simd, q, key) * scale;
            }
        }
        for (shares, out) in scores.chunks_exact_mut(count).zip(self.out.chunks_exact_mut(dim)) {
            Softmax(shares).with_simd(simd);
            let (shares, last_shares) = shares.as_chunks::<AT_ONCE>();
            let (values, last_values) = self.values.split_at(shares.len() * AT_ONCE * dim);
            for (shares, values) in shares.iter().zip(values.chunks_exact(AT_ONCE * dim)) {
                add(simd, shares, values, out);
            }
            for (share, value) in last_shares.iter().zip(last_values.chunks_exact(dim)) {
                add(simd, &[*share], value, out);
            }
        }
    }
}

#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, last_a), (b, last_b)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let mut sums = simd.splat_f32s(0.0);
    for (a, b) in a.iter().zip(b) {
        sums = simd.mul_add_f32s(*a, *b, sums);
    }
    let mut sum = simd.reduce_sum_f32s(sums);
    for (a, b) in last_a.iter().zip(last_b) {
        sum = a.mul_add(*b, sum);
    }
    sum
}

/// `out += Σ share · value`, of values one after the other.
#[inline(always)]
fn add<S: Simd, const N: usize>(simd: S, shares: &[f32; N], values: &[f32], out: &mut [f32]) {
    let dim = out.len();
    let mut rows = [(&[] as &[S::f32s], &[] as &[f32]); N];
    for (row, value) in rows.iter_mut().zip(values.chunks_exact(dim)) {
        *row = S::as_simd_f32s(value);
    }
    let (out, last_out) = S::as_mut_simd_f32s(out);
    for (at, out) in out.iter_mut().enumerate() {
        for (share, (row, _)) in shares.iter().zip(&rows) {
            *out = simd.mul_add_f32s(simd.splat_f32s(*share), row[at], *out);
        }
    }
    for (at, out) in last_out.iter_mut().enumerate() {
        for (share, (_, row)) in shares.iter().zip(&rows) {
            *out = share.mul_add(row[at], *out);
        }
    }
}
