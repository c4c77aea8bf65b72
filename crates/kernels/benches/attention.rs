//! Attention of a small decoder's shape and of SmolLM2-135M's, forward and backward, in floating-point operations of the
//! products a second: those over pairs of a query and a key that it sees, two products forward and five backward.
//! `cargo bench -p gazal-kernels --bench attention`; `RAYON_NUM_THREADS=1` for those of a core.

use divan::Bencher;
use divan::counter::ItemsCount;
use gazal_kernels::{AttentionShape, attention, attention_backward};

const SHAPES: [AttentionShape; 2] = [
    AttentionShape { rows: 8, seq: 128, heads: 4, kv_heads: 2, head_dim: 32 },
    AttentionShape { rows: 4, seq: 256, heads: 9, kv_heads: 3, head_dim: 64 },
];

fn main() {
    divan::main();
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|at| ((at * 31 % 251) as f32 - 125.0) / 125.0).collect()
}

/// Queries or their gradients, keys or values, and first positions.
fn inputs(shape: AttentionShape) -> (Vec<f32>, Vec<f32>, Vec<u32>) {
    let AttentionShape { rows, seq, heads, kv_heads, head_dim } = shape;
    let of = |heads| numbers(rows * seq * heads * head_dim);
    (of(heads), of(kv_heads), vec![0; rows * seq])
}

fn operations(shape: AttentionShape, products: usize) -> ItemsCount {
    let AttentionShape { rows, seq, heads, head_dim, .. } = shape;
    ItemsCount::new(rows * heads * seq * (seq + 1) / 2 * head_dim * 2 * products)
}

#[divan::bench(args = SHAPES)]
fn forward(bencher: Bencher, shape: AttentionShape) {
    let (q, k, first) = inputs(shape);
    bencher.counter(operations(shape, 2)).bench(|| attention(shape, &first, [&q, &k, &k]));
}

#[divan::bench(args = SHAPES)]
fn backward(bencher: Bencher, shape: AttentionShape) {
    let (q, k, first) = inputs(shape);
    let (_, log_sums) = attention(shape, &first, [&q, &k, &k]);
    bencher.counter(operations(shape, 5)).bench(|| attention_backward(shape, &first, [&q, &k, &k], [&log_sums, &q]));
}
