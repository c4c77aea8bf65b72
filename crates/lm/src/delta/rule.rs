//! The gated delta rule, position by position and in chunks.
//!
//! A head's memory is a matrix `S` `[key_dim, value_dim]`. Position t forgets, then moves what its key finds towards its
//! value, then reads: `S ← e^{g}·S`, `S ← S + k·(β·(v − Sᵀk))ᵀ`, `o = Sᵀq` (arXiv:2412.06464 §3).
//!
//! One position after the other is all there is to do for a single new token; for a prompt, or for training, it is a
//! sum of many small products. The chunked form (arXiv:2406.06484 §3, with decay in arXiv:2412.06464 §3.3) gives the
//! same by large ones: within a chunk the corrections `β·(v − Sᵀk)` depend on each other through a unit lower
//! triangular matrix, whose inverse makes all of them at once; only the memory goes from chunk to chunk.

use burn::tensor::{Device, Tensor, TensorData};

/// A head's positions; heads of all rows stand below one another.
pub(super) struct Tokens {
    /// `[heads, seq, key_dim]`.
    pub query: Tensor<3>,
    /// `[heads, seq, key_dim]`, of length 1 or 0.
    pub key: Tensor<3>,
    /// `[heads, seq, value_dim]`.
    pub value: Tensor<3>,
    /// `g` `[heads, seq]`, at most 0.
    pub log_decay: Tensor<2>,
    /// `β` `[heads, seq]`, between 0 and 1.
    pub rate: Tensor<2>,
}

/// Positions of a chunk: what is done per chunk grows with it, the number of chunks falls. Of 16, 32, 64 and 128 the two
/// in the middle were the fastest, and alike, on two cores with 16 heads of 128: a forward and a backward pass over 1024
/// positions took a sixteenth of the time that single positions take.
const CHUNK: usize = 64;

/// From the memory `[heads, key_dim, value_dim]` before the first position to what every position reads,
/// `[heads, seq, value_dim]`, and the memory behind the last.
pub(super) fn run(tokens: Tokens, memory: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let [_, seq] = tokens.rate.dims();
    if seq == 1 { step(tokens, memory) } else { chunked(tokens, memory, CHUNK.min(seq)) }
}

/// One position.
fn step(tokens: Tokens, memory: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let memory = memory * tokens.log_decay.exp().unsqueeze_dim::<3>(2);
    let found = tokens.key.clone().matmul(memory.clone());
    let correction = (tokens.value - found) * tokens.rate.unsqueeze_dim::<3>(2);
    let memory = memory + tokens.key.swap_dims(1, 2).matmul(correction);
    (tokens.query.matmul(memory.clone()), memory)
}

/// The same for any number of positions, `size` at a time.
fn chunked(tokens: Tokens, mut memory: Tensor<3>, size: usize) -> (Tensor<3>, Tensor<3>) {
    let [_, seq] = tokens.rate.dims();
    let mut read = Vec::with_capacity(seq.div_ceil(size));
    for chunk in chunks(tokens, size) {
        let (output, after) = chunk.advance(memory);
        read.push(output);
        memory = after;
    }
    (Tensor::cat(read, 1).narrow(1, 0, seq), memory)
}

/// What of a chunk does not depend on the memory. Shapes begin with `[heads, chunk]`.
struct Chunk {
    /// Queries times the decay since the chunk's beginning, `[.., key_dim]`.
    query: Tensor<3>,
    /// Keys times the decay until the chunk's end, `[.., key_dim]`.
    key: Tensor<3>,
    /// Corrections of an empty memory, `[.., value_dim]`.
    correction: Tensor<3>,
    /// What the corrections take off for a unit of memory, `[.., key_dim]`.
    removal: Tensor<3>,
    /// What queries find of the chunk's own corrections, `[.., chunk]`.
    scores: Tensor<3>,
    /// The decay of the whole chunk, `[heads, 1, 1]`.
    decay: Tensor<3>,
}

impl Chunk {
    /// From the memory before this chunk to what it reads, `[heads, chunk, value_dim]`, and the memory behind it.
    fn advance(self, memory: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let correction = self.correction - self.removal.matmul(memory.clone());
        let output = self.query.matmul(memory.clone()) + self.scores.matmul(correction.clone());
        (output, memory * self.decay + self.key.swap_dims(1, 2).matmul(correction))
    }
}

/// All chunks at once, so that there are few products and large ones.
fn chunks(tokens: Tokens, size: usize) -> Vec<Chunk> {
    let [heads, seq, key_dim] = tokens.key.dims();
    let [_, _, value_dim] = tokens.value.dims();
    let device = tokens.key.device();
    // Positions of zeros behind the last neither forget nor write.
    let count = seq.div_ceil(size);
    let missing = count * size - seq;
    let split = |x: Tensor<3>| {
        let [_, _, dim] = x.dims();
        lengthened(x, missing).reshape([heads, count, size, dim])
    };
    let (query, key, value) = (split(tokens.query), split(tokens.key), split(tokens.value));
    let rate = split(tokens.rate.unsqueeze_dim(2));
    // The decay from the chunk's beginning to behind each position, and between two of its positions.
    let since = split(tokens.log_decay.unsqueeze_dim(2)).cumsum(2);
    let between = (since.clone() - since.clone().swap_dims(2, 3) + lower(size, &device)).exp();
    let last = since.clone().narrow(2, size - 1, 1);

    let overlap = key.clone().matmul(key.clone().swap_dims(2, 3)) * between.clone() * rate.clone();
    let inverse = unit_lower_inverse(overlap * strictly_lower(size, &device));
    let decayed_key = key.clone() * since.clone().exp() * rate.clone();
    let solved = inverse.matmul(Tensor::cat(vec![value * rate, decayed_key], 3));
    let scores = query.clone().matmul(key.clone().swap_dims(2, 3)) * between;
    let all = [
        query * since.clone().exp(),
        key * (last.clone() - since).exp(),
        solved.clone().narrow(3, 0, value_dim),
        solved.narrow(3, value_dim, key_dim),
        scores,
        last.exp(),
    ];
    let mut parts = all.map(|x| pieces(x).into_iter());
    let next = || {
        let [query, key, correction, removal, scores, decay] = parts.each_mut().map(Iterator::next);
        let (correction, removal) = (correction?, removal?);
        Some(Chunk { query: query?, key: key?, correction, removal, scores: scores?, decay: decay? })
    };
    std::iter::from_fn(next).collect()
}

/// `x` cut along its second axis, by halves: the gradient of a cut is as large as what was cut, so cutting off one
/// after the other would cost the square of their number.
fn pieces(x: Tensor<4>) -> Vec<Tensor<3>> {
    let [_, count, _, _] = x.dims();
    if count == 1 {
        return vec![x.squeeze_dim(1)];
    }
    let half = count / 2;
    let mut left = pieces(x.clone().narrow(1, 0, half));
    left.extend(pieces(x.narrow(1, half, count - half)));
    left
}

/// `x` `[heads, seq, dim]` with so many positions of zeros behind it.
fn lengthened(x: Tensor<3>, missing: usize) -> Tensor<3> {
    let [heads, _, dim] = x.dims();
    if missing == 0 {
        return x;
    }
    let zeros = Tensor::zeros([heads, missing, dim], &x.device());
    Tensor::cat(vec![x, zeros], 1)
}

/// `(I + a)⁻¹` for strictly lower triangular `a` `[heads, chunks, n, n]`.
///
/// Inverses of diagonal blocks are joined into those of blocks twice as large: with `T` the inverses so far and `E`
/// what of `a` lies between the halves, `T − T·E·T`. So errors do not grow as they do in the power series, whose terms
/// are far larger than their sum when keys resemble each other. The gradient is that of an inverse, `−T·da·T`, and
/// needs none of the steps: they run outside of autodiff.
fn unit_lower_inverse(a: Tensor<4>) -> Tensor<4> {
    let [_, _, size, _] = a.dims();
    let known = a.clone().inner();
    let device = known.device();
    let mut inverse = known.zeros_like() + matrix(size, &device, |row, column| f32::from(u8::from(row == column)));
    let mut block = 1;
    while block < size {
        let joint =
            |row: usize, column: usize| row / (2 * block) == column / (2 * block) && row / block > column / block;
        let between = known.clone() * matrix(size, &device, |row, column| f32::from(u8::from(joint(row, column))));
        inverse = inverse.clone() - inverse.clone().matmul(between).matmul(inverse);
        block *= 2;
    }
    if !a.is_autodiff() {
        return inverse;
    }
    let (inverse, known) = (inverse.autodiff(), known.autodiff());
    inverse.clone() - inverse.clone().matmul(a - known).matmul(inverse)
}

/// 0 on and below the diagonal, above it so low that its exponential is 0.
fn lower(size: usize, device: &Device) -> Tensor<4> {
    matrix(size, device, |row, column| if column <= row { 0.0 } else { -1e30 })
}

/// 1 below the diagonal, 0 elsewhere.
fn strictly_lower(size: usize, device: &Device) -> Tensor<4> {
    matrix(size, device, |row, column| if column < row { 1.0 } else { 0.0 })
}

/// `[1, 1, size, size]`.
fn matrix(size: usize, device: &Device, value: impl Fn(usize, usize) -> f32) -> Tensor<4> {
    let value = &value;
    let values: Vec<f32> = (0..size).flat_map(|row| (0..size).map(move |column| value(row, column))).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, size, size]), device)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::Gradients;

    use super::*;
    use crate::weights::to_host;

    const HEADS: usize = 3;
    const KEY: usize = 5;
    const VALUE: usize = 4;

    /// Numbers between −1 and 1.
    fn numbers<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
        let random = |i: u64| {
            let mut bits = (seed << 32).wrapping_add(i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((bits ^ (bits >> 31)) >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
        };
        let values: Vec<f32> = (0..shape.iter().product::<usize>() as u64).map(random).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// Leaves of a graph, and the tokens and the memory above them.
    struct Case {
        leaves: [Tensor<3>; 6],
    }

    impl Case {
        /// Heads forget at speeds from 0 to `speed`; keys differ by `spread` around one they share.
        fn new(seq: usize, speed: f64, spread: f64) -> Case {
            let tracked = |x: Tensor<3>| x.autodiff().require_grad();
            let key = numbers(2, [HEADS, seq, KEY]).mul_scalar(spread) + numbers(3, [HEADS, 1, KEY]);
            let length = key.clone().powi_scalar(2).sum_dim(2).sqrt();
            let decay = numbers(5, [HEADS, seq, 1]).abs().mul_scalar(-speed);
            let rate = numbers(6, [HEADS, seq, 1]).abs().mul_scalar(0.5).add_scalar(0.5);
            let leaves = [numbers(1, [HEADS, seq, KEY]), key / length, numbers(4, [HEADS, seq, VALUE]), decay, rate];
            let [query, key, value, decay, rate] = leaves.map(tracked);
            Case { leaves: [query, key, value, decay, rate, tracked(numbers(7, [HEADS, KEY, VALUE]))] }
        }

        fn tokens(&self, from: usize, count: usize) -> Tokens {
            let at = |index: usize| self.leaves[index].clone().narrow(1, from, count);
            let flat = |index: usize| at(index).squeeze_dim::<2>(2);
            Tokens { query: at(0), key: at(1), value: at(2), log_decay: flat(3), rate: flat(4) }
        }

        fn memory(&self) -> Tensor<3> {
            self.leaves[5].clone()
        }

        fn one_by_one(&self, seq: usize) -> (Tensor<3>, Tensor<3>) {
            let (mut read, mut memory) = (Vec::new(), self.memory());
            for at in 0..seq {
                let (output, after) = step(self.tokens(at, 1), memory);
                read.push(output);
                memory = after;
            }
            (Tensor::cat(read, 1), memory)
        }

        /// Gradients of a sum that weighs every number of output and memory differently.
        fn gradients(&self, (read, memory): (Tensor<3>, Tensor<3>)) -> Vec<Vec<f32>> {
            let (weights, more) = (numbers(8, read.dims()).autodiff(), numbers(9, memory.dims()).autodiff());
            let gradients: Gradients = ((read * weights).sum() + (memory * more).sum()).backward();
            self.leaves.iter().map(|leaf| to_host(leaf.grad(&gradients).unwrap())).collect()
        }
    }

    fn assert_close(found: &[f32], wanted: &[f32], what: &str) {
        let largest = wanted.iter().fold(1e-3_f32, |max, value| max.max(value.abs()));
        let worst = crate::weights::largest_difference(found, wanted);
        assert!(worst <= 2e-5 * largest, "{what}: off by {worst} where the largest value is {largest}");
    }

    #[test]
    fn chunks_of_any_length_give_what_single_positions_give_with_the_same_gradients() {
        for (seq, chunk, speed) in [(1, 1, 1.0), (7, 7, 1.0), (20, 8, 0.1), (37, 5, 8.0), (130, 64, 0.5), (64, 64, 0.0)]
        {
            let what = format!("{seq} positions in chunks of {chunk}, speed {speed}");
            let case = Case::new(seq, speed, 1.0);
            let (single, chunks) = (case.one_by_one(seq), chunked(case.tokens(0, seq), case.memory(), chunk));
            assert_close(&to_host(chunks.0.clone()), &to_host(single.0.clone()), &what);
            assert_close(&to_host(chunks.1.clone()), &to_host(single.1.clone()), &what);
            for (leaf, (found, wanted)) in case.gradients(chunks).iter().zip(case.gradients(single)).enumerate() {
                assert_close(found, &wanted, &format!("{what}, gradient {leaf}"));
            }
        }
    }

    #[test]
    fn keys_that_resemble_each_other_do_not_blow_up() {
        let case = Case::new(128, 0.0, 1e-3);
        let (single, chunks) = (case.one_by_one(128), chunked(case.tokens(0, 128), case.memory(), 64));
        assert_close(&to_host(chunks.0), &to_host(single.0), "what is read");
        assert_close(&to_host(chunks.1), &to_host(single.1), "the memory");
    }

    #[test]
    fn a_tracked_pass_gives_the_same_numbers_as_a_plain_one() {
        let case = Case::new(50, 0.3, 1.0);
        let (tracked, _) = chunked(case.tokens(0, 50), case.memory(), 16);
        let plain = Case { leaves: case.leaves.map(Tensor::inner) };
        let (plain, _) = chunked(plain.tokens(0, 50), plain.memory(), 16);
        assert_eq!(to_host(tracked.inner()), to_host(plain));
    }

    #[test]
    fn a_sequence_may_be_cut_anywhere() {
        let case = Case::new(30, 0.3, 1.0);
        let (whole, end) = run(case.tokens(0, 30), case.memory());
        let (first, memory) = run(case.tokens(0, 11), case.memory());
        let (second, memory) = run(case.tokens(11, 18), memory);
        let (third, memory) = run(case.tokens(29, 1), memory);
        assert_close(&to_host(Tensor::cat(vec![first, second, third], 1)), &to_host(whole), "what is read");
        assert_close(&to_host(memory), &to_host(end), "the memory");
    }
}
