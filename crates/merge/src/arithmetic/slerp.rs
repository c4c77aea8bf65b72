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

use rayon::prelude::*;

use super::blocks::{CHUNK, Defect, chunks, dot, fill, load, rows_of_a_block, sums};
use crate::plan::Along;

/// The vectors, or the tensors whose differences from a base are.
pub(super) struct Pair<'a> {
    pub one: &'a [f32],
    pub two: &'a [f32],
    pub base: Option<&'a [f32]>,
}

/// `a·a`, `a·b`, `b·b` of two vectors.
#[derive(Clone, Copy, Default)]
struct Products {
    one: f64,
    both: f64,
    two: f64,
}

/// From the first to the second.
pub(super) fn slerp(t: f64, [one, two]: [&[f32]; 2], merged: &mut [f32]) -> Result<(), Defect> {
    let pair = Pair { one, two, base: None };
    let products = pair.products();
    // A vector of (nearly) no length is left as it is, as in mergekit.
    let length = |square: f64| Some(square.sqrt()).filter(|length| *length > 1e-8).unwrap_or(1.0);
    let cosine = products.both / (length(products.one) * length(products.two));
    pair.whole(coefficients(t, cosine, cosine.abs() > 0.9995), merged)
}

/// From the first to the second, with what is a vector and the tensor's shape.
pub(super) fn nuslerp(t: f64, pair: &Pair<'_>, along: (Along, &[usize]), merged: &mut [f32]) -> Result<(), Defect> {
    match along {
        (Along::Last, [_, .., width]) => pair.rows(t, *width, merged),
        (Along::First, [rows, _, ..]) if *rows > 0 => pair.columns(t, pair.one.len() / rows, merged),
        _ => pair.whole(pair.products().coefficients(t), merged),
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

impl Pair<'_> {
    /// Of the vectors in a range.
    fn products_of(&self, range: std::ops::Range<usize>) -> Products {
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

    fn products(&self) -> Products {
        let all = sums(self.one.len(), |range| {
            let products = self.products_of(range);
            vec![products.one, products.both, products.two]
        });
        match all[..] {
            [one, both, two] => Products { one, both, two },
            _ => Products::default(),
        }
    }

    fn inputs(&self) -> Vec<&[f32]> {
        [Some(self.one), Some(self.two), self.base].into_iter().flatten().collect()
    }

    /// The base, if any, and the vectors by their coefficients.
    fn combined(&self, index: usize, [one, two]: [f64; 2]) -> f32 {
        let base = self.base.map_or(0.0, |base| f64::from(base[index]));
        let difference = |numbers: &[f32]| f64::from(numbers[index]) - base;
        (base + one * difference(self.one) + two * difference(self.two)) as f32
    }

    /// One vector.
    fn whole(&self, coefficients: [f64; 2], merged: &mut [f32]) -> Result<(), Defect> {
        fill(1, &self.inputs(), merged, |range, block| {
            range.zip(block).for_each(|(index, merged)| *merged = self.combined(index, coefficients));
        })
    }

    /// A vector for each row.
    fn rows(&self, t: f64, width: usize, merged: &mut [f32]) -> Result<(), Defect> {
        fill(width, &self.inputs(), merged, |range, block| {
            for (start, row) in range.step_by(width.max(1)).zip(block.chunks_mut(width.max(1))) {
                let coefficients = self.products_of(start..start + row.len()).coefficients(t);
                (start..).zip(row).for_each(|(index, merged)| *merged = self.combined(index, coefficients));
            }
        })
    }

    /// A vector for each of `width` columns.
    fn columns(&self, t: f64, width: usize, merged: &mut [f32]) -> Result<(), Defect> {
        let coefficients: Vec<[f64; 2]> =
            self.products_of_columns(width).into_iter().map(|products| products.coefficients(t)).collect();
        fill(width, &self.inputs(), merged, |range, block| {
            for (start, row) in range.step_by(width.max(1)).zip(block.chunks_mut(width.max(1))) {
                let columns = (start..).zip(row).zip(&coefficients);
                columns.for_each(|((index, merged), coefficients)| *merged = self.combined(index, *coefficients));
            }
        })
    }

    /// Of some columns at a time, each summed from top to bottom.
    fn products_of_columns(&self, width: usize) -> Vec<Products> {
        let mut all = vec![Products::default(); width];
        let rows = self.one.len() / width.max(1);
        let side_by_side = rows_of_a_block(rows).clamp(64, CHUNK);
        all.par_chunks_mut(side_by_side).enumerate().for_each(|(at, columns)| {
            let (mut ones, mut twos) = ([0.0; CHUNK], [0.0; CHUNK]);
            for row in 0..rows {
                let start = row * width + at * side_by_side;
                let range = start..start + columns.len();
                let base = self.base.map(|base| &base[range.clone()]);
                let one = load(&mut ones, &self.one[range.clone()], base);
                let two = load(&mut twos, &self.two[range], base);
                for ((products, one), two) in columns.iter_mut().zip(one).zip(two) {
                    products.one += *one * *one;
                    products.both += *one * *two;
                    products.two += *two * *two;
                }
            }
        });
        all
    }
}
