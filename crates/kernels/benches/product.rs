//! Products of a decoder's shapes, in floating-point operations a second.
//! `cargo bench -p gazal-kernels --bench product`; `RAYON_NUM_THREADS=1` for those of a core.

use divan::Bencher;
use divan::counter::ItemsCount;
use gazal_kernels::{Form, Matrix, Packed, product};

/// `[outputs, inputs]` of a layer of SmolLM2-135M: keys, queries, gate, down.
const SHAPES: [[usize; 2]; 4] = [[192, 576], [576, 576], [1536, 576], [576, 1536]];
const ROWS: [usize; 6] = [1, 2, 8, 32, 256, 1024];

fn main() {
    divan::main();
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|at| ((at * 31 % 251) as f32 - 125.0) / 125.0).collect()
}

fn operations(rows: usize) -> ItemsCount {
    ItemsCount::new(SHAPES.iter().map(|[outputs, inputs]| 2 * rows * outputs * inputs).sum::<usize>())
}

fn packed(bencher: Bencher, form: Form, rows: usize) {
    let weights = SHAPES.map(|shape| Packed::new(&numbers(shape[0] * shape[1]), shape, form));
    let x = SHAPES.map(|shape| numbers(rows * shape[1]));
    bencher.counter(operations(rows)).bench(|| {
        let products = weights.iter().zip(&x).map(|(weight, x)| weight.product(x));
        products.map(|product| product[0]).sum::<f32>()
    });
}

#[divan::bench(args = ROWS)]
fn packed_f32(bencher: Bencher, rows: usize) {
    packed(bencher, Form::F32, rows);
}

#[divan::bench(args = ROWS)]
fn packed_bf16(bencher: Bencher, rows: usize) {
    packed(bencher, Form::Bf16, rows);
}

/// Of a training step: `x·Wᵀ`, `dy·W` or `dyᵀ·x`, of 1,024 rows.
#[divan::bench(args = ["forward", "inputs", "weights"])]
fn training(bencher: Bencher, which: &str) {
    let rows = 1024;
    let all = SHAPES.map(|[outputs, inputs]| {
        ([outputs, inputs], [numbers(outputs * inputs), numbers(rows * inputs), numbers(rows * outputs)])
    });
    bencher.counter(operations(rows)).bench(|| {
        let products = all.iter().map(|([outputs, inputs], [w, x, dy])| {
            let (w, x) = (Matrix::new(w, [*outputs, *inputs]), Matrix::new(x, [rows, *inputs]));
            let dy = Matrix::new(dy, [rows, *outputs]);
            match which {
                "forward" => product(x, w.transposed()),
                "inputs" => product(dy, w),
                _ => product(dy.transposed(), x),
            }
        });
        products.map(|product| product[0]).sum::<f32>()
    });
}
