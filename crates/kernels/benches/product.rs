//! Products of a decoder's shapes, in rows a second.
//! `cargo bench -p gazal-kernels`

use divan::Bencher;
use divan::counter::ItemsCount;
use gazal_kernels::{Form, Packed};

/// Those of a layer of SmolLM2-135M (keys, queries, gate, down), and its head.
const SHAPES: [[usize; 2]; 5] = [[192, 576], [576, 576], [1536, 576], [576, 1536], [49152, 576]];
const ROWS: [usize; 5] = [1, 2, 8, 32, 256];

fn main() {
    divan::main();
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|at| ((at * 31 % 251) as f32 - 125.0) / 125.0).collect()
}

fn bench(bencher: Bencher, form: Form, rows: usize) {
    let weights: Vec<Packed> =
        SHAPES.iter().map(|&shape| Packed::new(&numbers(shape[0] * shape[1]), shape, form)).collect();
    let x: Vec<Vec<f32>> = SHAPES.iter().map(|shape| numbers(rows * shape[1])).collect();
    bencher.counter(ItemsCount::new(rows)).bench(|| {
        let products = weights.iter().zip(&x).map(|(weight, x)| weight.product(x));
        products.map(|product| product[0]).sum::<f32>()
    });
}

#[divan::bench(args = ROWS)]
fn packed_f32(bencher: Bencher, rows: usize) {
    bench(bencher, Form::F32, rows);
}

#[divan::bench(args = ROWS)]
fn packed_bf16(bencher: Bencher, rows: usize) {
    bench(bencher, Form::Bf16, rows);
}
