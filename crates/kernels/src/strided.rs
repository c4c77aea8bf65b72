//! Products of small matrices that stand in a cache: `out = a·b` or `out += a·b`, with rows at any distance.
//!
//! As in [`crate::tile`], a few rows of the left factor are multiplied with a few vectors of the right one at a time,
//! whose sums stay in registers. Nothing is laid out anew, as the factors of attention are made where they are used. The
//! columns of the result are a multiple of [`LANES`]: whoever makes the right factor pads it.
#![expect(clippy::needless_range_loop, reason = "loops over constants are unrolled, so that sums stay in registers")]

use pulp::{Simd, WithSimd};

use crate::tile::{ROWS, step, with_widest};

/// Numbers in the widest vector.
pub(crate) const LANES: usize = 16;

/// A matrix whose rows begin `stride` numbers after each other.
#[derive(Clone, Copy)]
pub(crate) struct Grid<'a> {
    pub data: &'a [f32],
    pub stride: usize,
}

/// The left factor, as it stands or as its transpose does.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a> {
    Rows(Grid<'a>),
    Columns(Grid<'a>),
}

/// `out[m][n] = Σ_k left[m][k] · right[k][n]`, added to what stands there where `add` says so.
pub(crate) struct Product<'a> {
    pub left: Left<'a>,
    pub right: Grid<'a>,
    /// `m`, `n`, `k`; `n` is a multiple of [`LANES`].
    pub sizes: [usize; 3],
    /// Its rows begin `out_stride` numbers after each other.
    pub out: &'a mut [f32],
    pub out_stride: usize,
    pub add: bool,
}

impl Product<'_> {
    pub(crate) fn compute(self) {
        with_widest(self);
    }
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // As many vectors at a time as leave their sums in registers, whatever the width of a vector.
        let most = match S::F32_LANES {
            16 => 4,
            8 | 4 => 2,
            _ => 1,
        };
        let [_, n, _] = self.sizes;
        let mut first = 0;
        while first < n {
            let vectors = ((n - first) / S::F32_LANES).min(most);
            match vectors {
                4.. => self.columns::<S, 4>(simd, &mut first),
                2 | 3 => self.columns::<S, 2>(simd, &mut first),
                _ => self.columns::<S, 1>(simd, &mut first),
            }
        }
    }
}

impl Product<'_> {
    /// All rows of the next `V` vectors of columns.
    #[inline(always)]
    fn columns<S: Simd, const V: usize>(&mut self, simd: S, first: &mut usize) {
        let [m, ..] = self.sizes;
        let mut row = 0;
        while row < m {
            match m - row {
                ROWS.. => self.tile::<S, V, ROWS>(simd, &mut row, *first),
                4 | 5 => self.tile::<S, V, 4>(simd, &mut row, *first),
                2 | 3 => self.tile::<S, V, 2>(simd, &mut row, *first),
                _ => self.tile::<S, V, 1>(simd, &mut row, *first),
            }
        }
        *first += V * S::F32_LANES;
    }

    /// The next `M` rows of them.
    #[inline(always)]
    fn tile<S: Simd, const V: usize, const M: usize>(&mut self, simd: S, next: &mut usize, first: usize) {
        let ([_, _, k], row) = (self.sizes, *next);
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
        if self.add {
            for m in 0..M {
                let (vectors, _) =
                    S::as_simd_f32s(&self.out[(row + m) * self.out_stride + first..][..V * S::F32_LANES]);
                sums[m].copy_from_slice(vectors);
            }
        }
        let right = Grid { data: &self.right.data[first..], ..self.right };
        match self.left {
            Left::Rows(left) => by_rows::<S, V, M>(simd, (left, row), right, k, &mut sums),
            Left::Columns(left) => by_columns::<S, V, M>(simd, (left, row), right, k, &mut sums),
        }
        for m in 0..M {
            let out = &mut self.out[(row + m) * self.out_stride + first..][..V * S::F32_LANES];
            S::as_mut_simd_f32s(out).0.copy_from_slice(&sums[m]);
        }
        *next += M;
    }
}

#[inline(always)]
fn by_rows<S: Simd, const V: usize, const M: usize>(
    simd: S,
    (left, row): (Grid<'_>, usize),
    right: Grid<'_>,
    depth: usize,
    sums: &mut [[S::f32s; V]; M],
) {
    let mut rows = [&left.data[..0]; M];
    for m in 0..M {
        rows[m] = &left.data[(row + m) * left.stride..][..depth];
    }
    for k in 0..depth {
        let mut x = [0.0; M];
        for m in 0..M {
            x[m] = rows[m][k];
        }
        step(simd, &x, S::as_simd_f32s(&right.data[k * right.stride..][..V * S::F32_LANES]).0, sums);
    }
}

#[inline(always)]
fn by_columns<S: Simd, const V: usize, const M: usize>(
    simd: S,
    (left, row): (Grid<'_>, usize),
    right: Grid<'_>,
    depth: usize,
    sums: &mut [[S::f32s; V]; M],
) {
    for k in 0..depth {
        let mut x = [0.0; M];
        x.copy_from_slice(&left.data[k * left.stride + row..][..M]);
        step(simd, &x, S::as_simd_f32s(&right.data[k * right.stride..][..V * S::F32_LANES]).0, sums);
    }
}

#[cfg(test)]
mod tests {
    use pulp::Scalar;

    use super::*;
    use crate::check::{assert_close, numbers};

    /// The left factor `[m, k]`, the right one `[k, n]`, both with three numbers between rows, and what there was.
    fn product(sizes: [usize; 3], transposed: bool, add: bool, go: fn(Product<'_>)) -> (Vec<f32>, Vec<f64>) {
        let [m, n, k] = sizes;
        let (left_stride, right_stride) = (if transposed { m + 3 } else { k + 3 }, n + 3);
        let left = numbers(m.max(k) * left_stride, 1);
        let right = numbers(k * right_stride, 2);
        let mut out = numbers(m * n, 3);
        let at = |m: usize, k: usize| left[if transposed { k * left_stride + m } else { m * left_stride + k }];
        let dot = |m: usize, n: usize| -> f64 {
            (0..k).map(|k| f64::from(at(m, k)) * f64::from(right[k * right_stride + n])).sum()
        };
        let before = |at: usize| if add { f64::from(out[at]) } else { 0.0 };
        let wanted = (0..m * n).map(|at| before(at) + dot(at / n, at % n)).collect();
        let grid = Grid { data: &left, stride: left_stride };
        let left = if transposed { Left::Columns(grid) } else { Left::Rows(grid) };
        go(Product {
            left,
            right: Grid { data: &right, stride: right_stride },
            sizes,
            out: &mut out,
            out_stride: n,
            add,
        });
        (out, wanted)
    }

    #[test]
    fn products_are_those_of_the_factors_with_every_width_of_vectors() {
        for (m, n, k) in [(1, 16, 1), (5, 32, 40), (6, 48, 7), (36, 64, 6), (13, 80, 33), (20, 144, 8), (3, 112, 5)] {
            for (transposed, add) in [(false, false), (false, true), (true, false), (true, true)] {
                let (found, wanted) = product([m, n, k], transposed, add, |product| product.compute());
                assert_close(&found, &wanted, 1e-6);
                let one_by_one = product([m, n, k], transposed, add, |product| Simd::vectorize(Scalar, product)).0;
                assert_eq!(found, one_by_one);
                #[cfg(target_arch = "x86_64")]
                {
                    let narrow = |product: Product<'_>| match pulp::x86::V3::try_new() {
                        Some(simd) => Simd::vectorize(simd, product),
                        None => product.compute(),
                    };
                    assert_eq!(product([m, n, k], transposed, add, narrow).0, one_by_one);
                }
            }
        }
    }
}
