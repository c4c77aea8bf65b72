//! Causal grouped-query attention (Vaswani et al., 2017; Ainslie et al., 2023) and its gradients, without masks, and
//! without scores that outlive a block of queries.
//!
//! As FlashAttention (Dao et al., 2022) has it, the forward pass keeps the logarithm of each query's sum, from which the
//! backward pass computes probabilities anew. It departs from it in that a block of queries meets all keys that it sees
//! at once: on a processor this much fits in a cache, and no running softmax is needed.
//!
//! A row's key and value head, with all query heads that use it, is a part: parts are independent, so they run side by
//! side, and what a part adds up it adds up in the order of its blocks.

mod backward;
mod block;
mod cached;
mod forward;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use block::{Laid, Part};
pub use cached::{Kept, attention_kept};

/// Queries of a block, all heads of a group counted: a multiple of the rows of a product's tile for groups of 1, 2, 3,
/// 4 and 6.
const QUERIES: usize = 36;

/// Of queries `[rows, seq, heads, head_dim]`, keys and values `[rows, seq, kv_heads, head_dim]`. Head `h` uses the keys
/// and values of head `h / (heads / kv_heads)`.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    pub rows: usize,
    pub seq: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

/// `softmax(q·kᵀ / √head_dim)·v` `[rows, seq, heads, head_dim]`, and `log Σ exp` of the scaled scores
/// `[rows, heads, seq]`.
///
/// `inputs` are `q`, `k` and `v`. `first` `[rows · seq]` is the first position of its row that a query sees; the last
/// is its own.
///
/// # Panics
/// When a length is not that of the shape, or a query would not see itself.
pub fn attention(shape: AttentionShape, first: &[u32], inputs: [&[f32]; 3]) -> (Vec<f32>, Vec<f32>) {
    shape.check(first, inputs);
    let [_, k, v] = inputs;
    let of_part = |index| Part { shape, first, index };
    let parts = 0..shape.rows * shape.kv_heads;
    let laid: Vec<Laid> = parts.clone().into_par_iter().map(|index| Laid::of(of_part(index), k, v)).collect();
    let mut out = vec![0.0; shape.queries()];
    let mut pieces = shape.pieces(&mut out);
    // Few parts are cut, so that all threads have something to do until the end: late queries see the most keys.
    let threads = rayon::current_num_threads();
    let blocks = if parts.len() < 4 * threads { shape.blocks().div_ceil(4 * threads) } else { shape.blocks() };
    let size = (blocks * shape.block()).max(1);
    let mut work = Vec::new();
    for (index, pieces) in pieces.iter_mut().enumerate() {
        work.extend(pieces.chunks_mut(size).enumerate().map(|(at, out)| (index, at * size, out)));
    }
    let attend = |(index, start, out): (usize, usize, &mut [&mut [f32]])| {
        let positions = start..start + out.len();
        let mut sums = vec![0.0; shape.group() * positions.len()];
        forward::attend(of_part(index), &laid[index], inputs[0], positions.clone(), (out, &mut sums));
        (index, positions, sums)
    };
    let found: Vec<_> = work.into_par_iter().map(attend).collect();
    let mut log_sums = vec![0.0; shape.rows * shape.heads * shape.seq];
    for (index, positions, sums) in found {
        let heads = log_sums[index * shape.group() * shape.seq..].chunks_exact_mut(shape.seq);
        for (own, head) in sums.chunks_exact(positions.len()).zip(heads) {
            head[positions.clone()].copy_from_slice(own);
        }
    }
    (out, log_sums)
}

/// The gradients of `q`, `k` and `v` (`inputs`, as [`attention`] had them) from the `log_sums` that it gave, and from
/// the gradient of its result, `d_out` `[rows, seq, heads, head_dim]`.
///
/// # Panics
/// When a length is not that of the shape, or a query would not see itself.
pub fn attention_backward(
    shape: AttentionShape,
    first: &[u32],
    inputs: [&[f32]; 3],
    [log_sums, d_out]: [&[f32]; 2],
) -> [Vec<f32>; 3] {
    shape.check(first, inputs);
    let wanted = [shape.rows * shape.heads * shape.seq, shape.queries()];
    assert_eq!([log_sums.len(), d_out.len()], wanted, "log-sums and gradients of {shape:?}");
    let mut d = inputs.map(|input| vec![0.0; input.len()]);
    let [dq, dk, dv] = &mut d;
    let parts = (shape.pieces(dq), shape.pieces(dk), shape.pieces(dv));
    let parts = (parts, log_sums.par_chunks((shape.group() * shape.seq).max(1)));
    parts.into_par_iter().enumerate().for_each(|(index, ((dq, dk, dv), log_sums))| {
        let [q, k, v] = inputs;
        let part = Part { shape, first, index };
        backward::attend(part, [q, k, v, d_out], log_sums, [dq, dk, dv]);
    });
    d
}

impl AttentionShape {
    fn check(self, first: &[u32], inputs: [&[f32]; 3]) {
        let AttentionShape { rows, seq, kv_heads, head_dim, heads } = self;
        assert!(kv_heads > 0 && head_dim > 0 && heads > 0 && heads.is_multiple_of(kv_heads), "heads of {self:?}");
        let keys = rows * seq * kv_heads * head_dim;
        assert_eq!(inputs.map(<[f32]>::len), [self.queries(), keys, keys], "queries, keys and values of {self:?}");
        assert_eq!(first.len(), rows * seq, "a first position for every query");
        let sees_itself = |(at, &first): (usize, &u32)| first as usize <= at % seq;
        assert!(first.iter().enumerate().all(sees_itself), "a query sees itself");
    }

    fn queries(self) -> usize {
        self.rows * self.seq * self.heads * self.head_dim
    }

    /// Query heads that use the same keys and values.
    fn group(self) -> usize {
        self.heads / self.kv_heads
    }

    /// Positions of a block of queries.
    fn block(self) -> usize {
        (QUERIES / self.group()).max(1)
    }

    /// Blocks of a part.
    fn blocks(self) -> usize {
        self.seq.div_ceil(self.block())
    }

    /// Numbers of a row of [`block`]'s matrices, which whole vectors fill.
    fn padded_dim(self) -> usize {
        self.head_dim.next_multiple_of(crate::strided::LANES)
    }

    /// For every part, what belongs to it of `all` `[rows, seq, kv_heads, ..]`: a piece for every position.
    fn pieces(self, all: &mut [f32]) -> Vec<Vec<&mut [f32]>> {
        let AttentionShape { rows, seq, kv_heads, .. } = self;
        let mut parts: Vec<Vec<&mut [f32]>> = (0..rows * kv_heads).map(|_| Vec::with_capacity(seq)).collect();
        let width = all.len() / (rows * seq * kv_heads).max(1);
        for (at, piece) in all.chunks_exact_mut(width.max(1)).enumerate() {
            parts[at / (seq * kv_heads) * kv_heads + at % kv_heads].push(piece);
        }
        parts
    }
}
