//! `model_stock` (Jang, Yun and Han 2024, "Model Stock: All we need is just a few fine-tuned models",
//! arXiv:2403.19522): `t · mean + (1 − t) · base` with `t = N·cos θ / (1 + (N−1)·cos θ)`, where θ is the angle between
//! two of the N models as seen from the base. The angle is that of the whole tensor, or of each row (`filter_wise`).
//!
//! As in mergekit, the cosine is the mean over all pairs, and where it says nothing finite the base stays. The paper
//! takes the cosine of layers; a whole tensor is near to that.

use std::ops::Range;

use super::blocks::{CHUNK, Defect, chunks, dot, fill, load, sums};
use super::{Numbers, Write};

/// With the width of rows if each is a vector of its own.
pub(super) fn stock(
    width: Option<usize>,
    (base, sources): (&dyn Numbers, &[&dyn Numbers]),
    write: Write<'_>,
) -> Result<(), Defect> {
    let models = sources.len();
    let inputs: Vec<&dyn Numbers> = sources.iter().copied().chain([base]).collect();
    let Some(width) = width.filter(|width| *width > 0) else {
        let all = sums(1, &inputs, pairs(models), |range, numbers| products(numbers, 0..range.len()))?;
        let t = share(&all, models);
        return fill(1, &inputs, write, |range, numbers, block| blend(numbers, 0..range.len(), t, block));
    };
    fill(width, &inputs, write, |range, numbers, block| {
        for (start, row) in (0..range.len()).step_by(width).zip(block.chunks_mut(width)) {
            let row_range = start..start + row.len();
            let t = share(&products(numbers, row_range.clone()), models);
            blend(numbers, row_range, t, row);
        }
    })
}

/// From the base, the last of the inputs, to the mean of the others.
fn blend(inputs: &[&[f32]], range: Range<usize>, t: f64, merged: &mut [f32]) {
    let Some((base, sources)) = inputs.split_last() else { return };
    for (index, merged) in range.zip(merged) {
        let sum: f64 = sources.iter().map(|source| f64::from(source[index])).sum();
        let base = f64::from(base[index]);
        *merged = (base + t * (sum / sources.len() as f64 - base)) as f32;
    }
}

/// How many pairs there are of so many differences, each with itself too.
fn pairs(models: usize) -> usize {
    models * (models + 1) / 2
}

/// `dᵢ·dⱼ` of all differences from the base, for i ≤ j in the order (0,0), (0,1), (1,1), (0,2), …
fn products(inputs: &[&[f32]], range: Range<usize>) -> Vec<f64> {
    let Some((base, sources)) = inputs.split_last() else { return Vec::new() };
    let mut products = vec![0.0; pairs(sources.len())];
    let mut buffers = vec![[0.0; CHUNK]; sources.len()];
    for chunk in chunks(range) {
        for (buffer, source) in buffers.iter_mut().zip(sources) {
            load(buffer, &source[chunk.clone()], Some(&base[chunk.clone()]));
        }
        let mut places = products.iter_mut();
        for (second, two) in buffers.iter().enumerate() {
            for (one, place) in buffers[..=second].iter().zip(&mut places) {
                *place += dot(&one[..chunk.len()], &two[..chunk.len()]);
            }
        }
    }
    products
}

/// How far from the base to the mean.
fn share(products: &[f64], models: usize) -> f64 {
    let at = |one: usize, two: usize| products.get(two * (two + 1) / 2 + one).copied().unwrap_or_default();
    let cosine = |one: usize, two: usize| {
        let lengths = (at(one, one) * at(two, two)).sqrt();
        (at(one, two) / lengths.max(1e-6)).clamp(-1.0, 1.0)
    };
    let pairs = (0..models).flat_map(|two| (0..two).map(move |one| (one, two)));
    let (sum, count) = pairs.fold((0.0, 0.0), |(sum, count), (one, two)| (sum + cosine(one, two), count + 1.0));
    let (cosine, models) = (sum / f64::max(count, 1.0), models as f64);
    let denominator = 1.0 + (models - 1.0) * cosine;
    if denominator.abs() < 1e-6 { 0.0 } else { models * cosine / denominator }
}
