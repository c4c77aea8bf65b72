//! `slerp` and `nuslerp`: from one vector to another along the sphere (Shoemake 1985, "Animating rotation with
//! quaternion curves"): `sin((1−t)θ)/sin θ · a + sin(tθ)/sin θ · b`, with the angle θ between `a` and `b`. The vectors
//! themselves are combined, not the unit vectors, so norms change linearly where directions agree.
//!
//! `slerp` takes a whole tensor for a vector and goes straight where `|cos θ| > 0.9995`.
//!
//! `nuslerp` takes a whole tensor, its rows or its columns for vectors, or with a base their differences from it, and
//! goes straight where vectors are parallel: `1 − cos² θ ≤ 2⁻²³`. mergekit says 10⁻¹⁶, which its float32 reaches only
//! where the cosine is 1 to the last bit, so about there. Between opposite vectors the sphere has no one way, and near
//! them the coefficients grow without bound: there the wider bound matters.

use std::ops::Range;

use super::blocks::{CHUNK, Defect, chunks, dot, fill, load, sums};
use super::{Numbers, Write};
use crate::plan::Along;

/// Two vectors, or the tensors whose differences from a base, the third of them, are.
pub(super) struct Pair<'a>(pub Vec<&'a dyn Numbers>);

/// A block of them.
#[derive(Clone, Copy)]
struct Part<'a> {
    one: &'a [f32],
    two: &'a [f32],
    base: Option<&'a [f32]>,
}

/// `a·a`, `a·b`, `b·b` of two vectors.
#[derive(Clone, Copy, Default)]
struct Products {
    one: f64,
    both: f64,
    two: f64,
}

/// From the first to the second.
pub(super) fn slerp(t: f64, pair: &Pair<'_>, write: Write<'_>) -> Result<(), Defect> {
    let products = pair.products()?;
    // A vector of (nearly) no length is left as it is, as in mergekit.
    let length = |square: f64| Some(square.sqrt()).filter(|length| *length > 1e-8).unwrap_or(1.0);
    let cosine = products.both / (length(products.one) * length(products.two));
    pair.whole(coefficients(t, cosine, cosine.abs() > 0.9995), write)
}

/// From the first to the second, with what is a vector and the tensor's shape.
pub(super) fn nuslerp(t: f64, pair: &Pair<'_>, along: (Along, &[usize]), write: Write<'_>) -> Result<(), Defect> {
    match along {
        (Along::Last, [_, .., width]) => pair.rows(t, *width, write),
        (Along::First, [_, across @ ..]) if !across.is_empty() => pair.columns(t, across.iter().product(), write),
        _ => pair.whole(pair.products()?.coefficients(t), write),
    }
}

/// What the two vectors are multiplied by.
fn coefficients(t: f64, cosine: f64, straight: bool) -> [f64; 2] {
    if straight {
        return [1.0 - t, t];
    }
    let angle = cosine.clamp(-1.0, 1.0).acos();
    [((1.0 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()]
}

impl Products {
    /// As `nuslerp` takes them.
    fn coefficients(self, t: f64) -> [f64; 2] {
        let length = |square: f64| square.sqrt().max(1e-7);
        let cosine = self.both / (length(self.one) * length(self.two));
        coefficients(t, cosine, 1.0 - cosine * cosine <= f64::from(f32::EPSILON))
    }
}

impl<'a> Part<'a> {
    fn new(inputs: &[&'a [f32]]) -> Part<'a> {
        let at = |place: usize| inputs.get(place).copied();
        Part { one: at(0).unwrap_or_default(), two: at(1).unwrap_or_default(), base: at(2) }
    }

    /// Of the vectors in a range of the block.
    fn products(&self, range: Range<usize>) -> Products {
        let (mut ones, mut twos, mut products) = ([0.0; CHUNK], [0.0; CHUNK], Products::default());
        for chunk in chunks(range) {
            let base = self.base.map(|base| &base[chunk.clone()]);
            let one = load(&mut ones, &self.one[chunk.clone()], base);
            let two = load(&mut twos, &self.two[chunk], base);
            products.one += dot(one, one);
            products.both += dot(one, two);
            products.two += dot(two, two);
        }
        products
    }

    /// Of each of `width` columns, each summed from top to bottom; `one` of them all, then `both`, then `two`.
    fn products_of_columns(&self, width: usize) -> Vec<f64> {
        let mut sums = vec![0.0; 3 * width];
        let (ones, others) = sums.split_at_mut(width);
        let (boths, twos) = others.split_at_mut(width);
        for index in 0..self.one.len() {
            let (column, base) = (index % width, self.base.map_or(0.0, |base| f64::from(base[index])));
            let (one, two) = (f64::from(self.one[index]) - base, f64::from(self.two[index]) - base);
            ones[column] += one * one;
            boths[column] += one * two;
            twos[column] += two * two;
        }
        sums
    }

    /// The base, if any, and the vectors by their coefficients.
    fn combined(&self, index: usize, [one, two]: [f64; 2]) -> f32 {
        let base = self.base.map_or(0.0, |base| f64::from(base[index]));
        let difference = |numbers: &[f32]| f64::from(numbers[index]) - base;
        (base + one * difference(self.one) + two * difference(self.two)) as f32
    }
}

impl Pair<'_> {
    fn products(&self) -> Result<Products, Defect> {
        let all = sums(1, &self.0, 3, |range, numbers| {
            let products = Part::new(numbers).products(0..range.len());
            vec![products.one, products.both, products.two]
        })?;
        Ok(match all[..] {
            [one, both, two] => Products { one, both, two },
            _ => Products::default(),
        })
    }

    /// One vector.
    fn whole(&self, coefficients: [f64; 2], write: Write<'_>) -> Result<(), Defect> {
        fill(1, &self.0, write, |_, numbers, block| {
            let part = Part::new(numbers);
            block.iter_mut().enumerate().for_each(|(index, merged)| *merged = part.combined(index, coefficients));
        })
    }

    /// A vector for each row.
    fn rows(&self, t: f64, width: usize, write: Write<'_>) -> Result<(), Defect> {
        fill(width, &self.0, write, |range, numbers, block| {
            let part = Part::new(numbers);
            for (start, row) in (0..range.len()).step_by(width.max(1)).zip(block.chunks_mut(width.max(1))) {
                let coefficients = part.products(start..start + row.len()).coefficients(t);
                (start..).zip(row).for_each(|(index, merged)| *merged = part.combined(index, coefficients));
            }
        })
    }

    /// A vector for each of `width` columns.
    fn columns(&self, t: f64, width: usize, write: Write<'_>) -> Result<(), Defect> {
        let all = sums(width, &self.0, 3 * width, |_, numbers| Part::new(numbers).products_of_columns(width))?;
        let of = |column: usize| Products { one: all[column], both: all[width + column], two: all[2 * width + column] };
        let coefficients: Vec<[f64; 2]> = (0..width).map(|column| of(column).coefficients(t)).collect();
        fill(width, &self.0, write, |range, numbers, block| {
            let part = Part::new(numbers);
            for (start, row) in (0..range.len()).step_by(width.max(1)).zip(block.chunks_mut(width.max(1))) {
                let columns = (start..).zip(row).zip(&coefficients);
                columns.for_each(|((index, merged), coefficients)| *merged = part.combined(index, *coefficients));
            }
        })
    }
}
