//! Against attention as it is defined, in float64.

use super::*;
use crate::check::{assert_close, difference, numbers, wide, with_threads};

type Wide<'a> = [&'a [f64]; 3];

/// The result and the log-sums.
fn reference(shape: AttentionShape, first: &[u32], [q, k, v]: Wide<'_>) -> (Vec<f64>, Vec<f64>) {
    let AttentionShape { rows, seq, heads, kv_heads, head_dim } = shape;
    let (mut out, mut log_sums) = (vec![0.0; q.len()], vec![0.0; rows * heads * seq]);
    for (row, head, at) in all(shape) {
        let query = ((row * seq + at) * heads + head) * head_dim;
        let key = |at: usize| ((row * seq + at) * kv_heads + head / (heads / kv_heads)) * head_dim;
        let seen = first[row * seq + at] as usize..=at;
        let dot = |at: usize| (0..head_dim).map(|d| q[query + d] * k[key(at) + d]).sum::<f64>();
        let powers: Vec<f64> = seen.clone().map(|at| (dot(at) / (head_dim as f64).sqrt()).exp()).collect();
        let sum: f64 = powers.iter().sum();
        log_sums[(row * heads + head) * seq + at] = sum.ln();
        for (at, power) in seen.zip(powers) {
            (0..head_dim).for_each(|d| out[query + d] += power / sum * v[key(at) + d]);
        }
    }
    (out, log_sums)
}

/// By the chain rule, one score after another.
fn gradients(shape: AttentionShape, first: &[u32], [q, k, v]: Wide<'_>, d_out: &[f32]) -> [Vec<f64>; 3] {
    let AttentionShape { seq, heads, kv_heads, head_dim, .. } = shape;
    let (out, log_sums) = reference(shape, first, [q, k, v]);
    let mut d = [q, k, v].map(|input| vec![0.0; input.len()]);
    let scale = (head_dim as f64).sqrt().recip();
    for (row, head, at) in all(shape) {
        let query = ((row * seq + at) * heads + head) * head_dim;
        for other in first[row * seq + at] as usize..=at {
            let key = ((row * seq + other) * kv_heads + head / (heads / kv_heads)) * head_dim;
            let score: f64 = (0..head_dim).map(|d| q[query + d] * k[key + d]).sum::<f64>() * scale;
            let share = (score - log_sums[(row * heads + head) * seq + at]).exp();
            let above = |d: usize| f64::from(d_out[query + d]);
            let slope = share * (0..head_dim).map(|d| above(d) * (v[key + d] - out[query + d])).sum::<f64>() * scale;
            for at in 0..head_dim {
                d[0][query + at] += slope * k[key + at];
                d[1][key + at] += slope * q[query + at];
                d[2][key + at] += share * above(at);
            }
        }
    }
    d
}

fn all(shape: AttentionShape) -> impl Iterator<Item = (usize, usize, usize)> {
    let AttentionShape { rows, seq, heads, .. } = shape;
    (0..rows * heads * seq).map(move |at| (at / (heads * seq), at / seq % heads, at % seq))
}

/// Row 0 sees all, row 1 is padded on the left, row 2 has three documents.
fn first(rows: usize, seq: usize) -> Vec<u32> {
    let of = |row: usize, at: usize| match row % 3 {
        0 => 0,
        1 => at.min(seq / 3),
        _ => [0, seq / 4, seq / 2].into_iter().filter(|&start| start <= at).max().unwrap_or(0),
    };
    (0..rows * seq).map(|at| of(at / seq, at % seq) as u32).collect()
}

fn inputs(shape: AttentionShape) -> [Vec<f32>; 4] {
    let AttentionShape { rows, seq, heads, kv_heads, head_dim } = shape;
    let counts = [heads, kv_heads, kv_heads, heads].map(|heads| rows * seq * heads * head_dim);
    let mut inputs = [0, 1, 2, 3].map(|at| numbers(counts[at], at as u64));
    inputs[0].iter_mut().for_each(|x| *x *= 5.0);
    inputs
}

fn shapes() -> impl Iterator<Item = AttentionShape> {
    let dims = [6, 8, 16, 32, 40].into_iter();
    let of =
        |head_dim| [1, 5, 17, 70].map(|seq| [1, 2, 3].map(|group| [1, 3].map(|rows| (head_dim, seq, group, rows))));
    dims.flat_map(of).flatten().flatten().map(|(head_dim, seq, group, rows)| {
        // Of two key heads where there is more than one row.
        let kv_heads = rows.min(2);
        AttentionShape { rows, seq, heads: group * kv_heads, kv_heads, head_dim }
    })
}

#[test]
fn results_and_gradients_are_those_of_the_definition() {
    for shape in shapes() {
        let (first, [q, k, v, d_out]) = (first(shape.rows, shape.seq), inputs(shape));
        let exact = [&q, &k, &v].map(|input| wide(input));
        let exact = [&exact[0][..], &exact[1], &exact[2]];
        let (out, log_sums) = attention(shape, &first, [&q, &k, &v]);
        let (wanted, wanted_sums) = reference(shape, &first, exact);
        assert_close(&out, &wanted, 1e-5);
        assert_close(&log_sums, &wanted_sums, 1e-5);
        let found = attention_backward(shape, &first, [&q, &k, &v], [&log_sums, &d_out]);
        for (found, wanted) in found.iter().zip(gradients(shape, &first, exact, &d_out)) {
            assert_close(found, &wanted, 1e-4);
        }
    }
}

#[test]
fn gradients_are_the_differences_of_the_definition() {
    let shape = AttentionShape { rows: 3, seq: 21, heads: 6, kv_heads: 2, head_dim: 6 };
    let (first, [q, k, v, d_out]) = (first(3, 21), inputs(shape));
    let log_sums = attention(shape, &first, [&q, &k, &v]).1;
    let found = attention_backward(shape, &first, [&q, &k, &v], [&log_sums, &d_out]);
    let exact = [&q, &k, &v].map(|input| wide(input));
    for (which, found) in found.iter().enumerate() {
        let largest = found.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let mut moved = exact[which].clone();
        for at in (0..found.len()).step_by(97) {
            let wanted = difference(&mut moved, at, &d_out, |x| {
                let mut inputs = [&exact[0][..], &exact[1], &exact[2]];
                inputs[which] = x;
                reference(shape, &first, inputs).0
            });
            assert!((f64::from(found[at]) - wanted).abs() < 1e-4 * f64::from(largest), "{} is not {wanted}", found[at]);
        }
    }
}

#[test]
fn threads_do_not_change_bits() {
    let shape = AttentionShape { rows: 3, seq: 70, heads: 6, kv_heads: 2, head_dim: 40 };
    let (first, [q, k, v, d_out]) = (first(3, 70), inputs(shape));
    let both = |threads| {
        with_threads(threads, || {
            let (out, log_sums) = attention(shape, &first, [&q, &k, &v]);
            let d = attention_backward(shape, &first, [&q, &k, &v], [&log_sums, &d_out]);
            (out, log_sums, d)
        })
    };
    assert_eq!(both(1), both(4));
}

#[test]
fn a_document_is_bitwise_alone_whatever_stands_before_it() {
    let shape = AttentionShape { rows: 1, seq: 64, heads: 2, kv_heads: 1, head_dim: 8 };
    let [q, k, v, _] = inputs(shape);
    let first: Vec<u32> = (0..64).map(|at| if at < 32 { 0 } else { 32 }).collect();
    let (out, _) = attention(shape, &first, [&q, &k, &v]);
    let mut others = [k, v];
    others.iter_mut().for_each(|other| other[..32 * 8].fill(f32::MAX.sqrt()));
    let (again, _) = attention(shape, &first, [&q, &others[0], &others[1]]);
    assert_eq!(out[32 * 16..], again[32 * 16..]);
}

/// Results and gradients, at whatever column a document begins.
#[test]
fn a_document_is_bitwise_the_same_wherever_it_stands() {
    let alone = AttentionShape { rows: 1, seq: 51, heads: 6, kv_heads: 2, head_dim: 24 };
    let all = inputs(alone);
    let [q, k, v, d_out] = &all;
    let (out, log_sums) = attention(alone, &[0; 51], [q, k, v]);
    let d = attention_backward(alone, &[0; 51], [q, k, v], [&log_sums, d_out]);
    for before in [1, 5, 16, 30] {
        let shape = AttentionShape { seq: before + 51, ..alone };
        let moved = |x: &Vec<f32>| [numbers(x.len() / 51 * before, 9), x.clone()].concat();
        let [q, k, v, d_out] = all.each_ref().map(moved);
        let first: Vec<u32> = (0..before + 51).map(|at| if at < before { 0 } else { before as u32 }).collect();
        let found = attention(shape, &first, [&q, &k, &v]);
        assert_eq!(found.0[found.0.len() - out.len()..], out);
        let found = attention_backward(shape, &first, [&q, &k, &v], [&found.1, &d_out]);
        assert!(found.iter().zip(&d).all(|(found, d)| found[found.len() - d.len()..] == **d), "{before}");
    }
}

#[test]
fn scores_of_any_size_give_numbers() {
    let shape = AttentionShape { rows: 1, seq: 40, heads: 2, kv_heads: 1, head_dim: 8 };
    let [mut q, k, v, d_out] = inputs(shape);
    q.iter_mut().for_each(|x| *x *= 1e6);
    let first = first(1, 40);
    let (out, log_sums) = attention(shape, &first, [&q, &k, &v]);
    let d = attention_backward(shape, &first, [&q, &k, &v], [&log_sums, &d_out]);
    assert!(out.iter().chain(d.iter().flatten()).all(|x| x.is_finite()));
}

#[test]
fn nothing_gives_nothing() {
    for (rows, seq) in [(0, 5), (2, 0)] {
        let shape = AttentionShape { rows, seq, heads: 4, kv_heads: 2, head_dim: 8 };
        assert_eq!(attention(shape, &[], [&[]; 3]), (vec![], vec![]));
        assert_eq!(attention_backward(shape, &[], [&[]; 3], [&[]; 2]), [vec![], vec![], vec![]]);
    }
}

/// The last queries of a sequence find among kept keys what they find among all.
#[test]
fn kept_keys_and_values_give_what_the_whole_sequence_gives() {
    for shape in shapes().filter(|shape| shape.seq > 1) {
        let AttentionShape { rows, seq, kv_heads, head_dim, .. } = shape;
        let (first, [q, k, v, _]) = (first(rows, seq), inputs(shape));
        let (wanted, _) = attention(shape, &first, [&q, &k, &v]);
        let room = seq + 3;
        let kept = |all: &[f32]| {
            let mut kept = vec![f32::NAN; rows * kv_heads * room * head_dim];
            for (at, head) in all.chunks_exact(head_dim).enumerate() {
                let (row, position, kv_head) = (at / (seq * kv_heads), at / kv_heads % seq, at % kv_heads);
                kept[((row * kv_heads + kv_head) * room + position) * head_dim..][..head_dim].copy_from_slice(head);
            }
            kept
        };
        let (keys, values) = (kept(&k), kept(&v));
        for more in [1, seq.min(4)] {
            let new = AttentionShape { seq: more, ..shape };
            let last = |all: &[f32]| -> Vec<f32> {
                let width = all.len() / rows;
                all.chunks_exact(width).flat_map(|row| row[width - width / seq * more..].to_vec()).collect()
            };
            let seen: Vec<u32> = first.chunks_exact(seq).flat_map(|row| row[seq - more..].to_vec()).collect();
            let kept = Kept { keys: &keys, values: &values, width: seq, room };
            let found = attention_kept(new, &seen, &last(&q), kept);
            assert_close(&found, &wide(&last(&wanted)), 1e-5);
        }
    }
}
