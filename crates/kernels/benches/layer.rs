//! What stands between a layer's products, of SmolLM2-135M's shape with 1,024 positions, in bytes a second that go in and
//! out.
//! `cargo bench -p gazal-kernels --bench layer`; the system's allocator gives the results of `gate_backward` back and has
//! the kernel clear their pages each time, which the program's does not.

use divan::Bencher;
use divan::counter::BytesCount;
use gazal_kernels::{
    Normed, RotaryShape, rms_norm, rms_norm_backward, rotary, rotary_backward, swiglu, swiglu_backward,
};

const POSITIONS: usize = 1024;
const WIDTH: usize = 576;
const GATES: usize = 1536;
const SHAPE: RotaryShape = RotaryShape { rows: 4, seq: POSITIONS / 4, heads: 9, dim: 64, turning: 64 };

fn main() {
    divan::main();
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|at| ((at * 31 % 251) as f32 - 125.0) / 125.0).collect()
}

/// Of as many passes over a tensor with as many numbers at each position.
fn bytes(passes: usize, width: usize) -> BytesCount {
    BytesCount::of_many::<f32>(passes * POSITIONS * width)
}

#[divan::bench]
fn norm(bencher: Bencher) {
    let (x, w) = (numbers(POSITIONS * WIDTH), numbers(WIDTH));
    bencher.counter(bytes(2, WIDTH)).bench(|| rms_norm(&x, &w, 1e-5));
}

#[divan::bench(args = [false, true])]
fn norm_backward(bencher: Bencher, weight_too: bool) {
    let (x, w) = (numbers(POSITIONS * WIDTH), numbers(WIDTH));
    let (dy, scales) = rms_norm(&x, &w, 1e-5);
    let normed = Normed { x: &x, w: &w, scales: &scales };
    bencher.counter(bytes(3, WIDTH)).bench(|| rms_norm_backward(normed, &dy, weight_too));
}

#[divan::bench]
fn turn(bencher: Bencher) {
    let (x, angles) = (numbers(POSITIONS * WIDTH), numbers(SHAPE.seq * SHAPE.turning));
    bencher.counter(bytes(2, WIDTH)).bench(|| rotary(SHAPE, &x, [&angles, &angles]));
}

#[divan::bench]
fn turn_backward(bencher: Bencher) {
    let (x, angles) = (numbers(POSITIONS * WIDTH), numbers(SHAPE.seq * SHAPE.turning));
    bencher.counter(bytes(2, WIDTH)).bench(|| rotary_backward(SHAPE, &x, [&angles, &angles]));
}

#[divan::bench]
fn gate(bencher: Bencher) {
    let (gate, up) = (numbers(POSITIONS * GATES), numbers(POSITIONS * GATES));
    bencher.counter(bytes(3, GATES)).bench(|| swiglu(&gate, &up));
}

#[divan::bench]
fn gate_backward(bencher: Bencher) {
    let (gate, up) = (numbers(POSITIONS * GATES), numbers(POSITIONS * GATES));
    bencher.counter(bytes(5, GATES)).bench(|| swiglu_backward(&gate, &up, &up));
}
