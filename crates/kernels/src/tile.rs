//! The innermost loops: some rows of the left factor with one panel of the weight.
//!
//! Every element of the result is one chain of fused multiply-adds in the order of the inner dimension, however many
//! rows there are, whatever their neighbours, and however wide a vector is: a batch gives bitwise what its rows give one
//! by one, and one processor what another gives.
#![expect(clippy::needless_range_loop, reason = "loops over constants are unrolled, so that sums stay in registers")]

use pulp::{Arch, Simd, WithSimd};

use crate::packed::{PANEL, Panel};

/// Rows that one pass over a panel serves, at most: with a panel's four vectors of 16 they take 24 of 32 registers.
pub(crate) const ROWS: usize = 6;

/// `out[m × PANEL + n] = Σ_k x[k × M + m] · w[k][n]`, for as many rows `M` as `out` has room for.
pub(crate) struct Pass<'a> {
    /// The rows side by side: all that stand at one index of the inner dimension, then the next.
    pub x: &'a [f32],
    pub panel: Panel<'a>,
    /// `[rows × PANEL]`.
    pub out: &'a mut [f32],
}

/// Does it with the widest vectors that this processor has.
pub(crate) fn with_widest<W: WithSimd>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        use pulp::x86::{V3, V4};
        if let Some(simd) = V4::try_new() {
            return Simd::vectorize(simd, work);
        }
        // Which `Arch` passes over where the crate's feature is off, as it is for Burn.
        if let Some(simd) = V3::try_new() {
            return Simd::vectorize(simd, work);
        }
    }
    Arch::new().dispatch(work)
}

impl WithSimd for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // As many vectors at a time as leave their sums in registers, whatever the width of a vector.
        match S::F32_LANES {
            16 => self.rows::<S, 4>(simd),
            8 | 4 => self.rows::<S, 2>(simd),
            _ => self.rows::<S, 1>(simd),
        }
    }
}

impl Pass<'_> {
    #[inline(always)]
    fn rows<S: Simd, const V: usize>(self, simd: S) {
        match self.out.len() / PANEL {
            1 => self.parts::<S, V, 1>(simd),
            2 => self.parts::<S, V, 2>(simd),
            3 => self.parts::<S, V, 3>(simd),
            4 => self.parts::<S, V, 4>(simd),
            5 => self.parts::<S, V, 5>(simd),
            _ => self.parts::<S, V, ROWS>(simd),
        }
    }

    /// The panel's columns, `V` vectors at a time.
    #[inline(always)]
    fn parts<S: Simd, const V: usize, const M: usize>(self, simd: S) {
        let x = self.x.as_chunks::<M>().0;
        let width = V * S::F32_LANES;
        for first in (0..PANEL).step_by(width) {
            let sums = match self.panel {
                Panel::F32(panel) => full::<S, V, M>(simd, x, panel, first),
                Panel::Bf16(panel) => half::<S, V, M>(simd, x, panel, first),
            };
            for (row, sums) in self.out.chunks_exact_mut(PANEL).zip(&sums) {
                let (vectors, _) = S::as_mut_simd_f32s(&mut row[first..first + width]);
                vectors.copy_from_slice(sums);
            }
        }
    }
}

#[inline(always)]
fn full<S: Simd, const V: usize, const M: usize>(
    simd: S,
    x: &[[f32; M]],
    panel: &[[f32; PANEL]],
    first: usize,
) -> [[S::f32s; V]; M] {
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    for (x, weights) in x.iter().zip(panel) {
        let (weights, _) = S::as_simd_f32s(&weights[first..first + V * S::F32_LANES]);
        for v in 0..V {
            add(simd, x, weights[v], v, &mut sums);
        }
    }
    sums
}

/// A word holds two weights of a column, that of the even index below that of the odd one. A bfloat16 is the upper half
/// of the float32 of the same value.
#[inline(always)]
fn half<S: Simd, const V: usize, const M: usize>(
    simd: S,
    x: &[[f32; M]],
    panel: &[[u32; PANEL]],
    first: usize,
) -> [[S::f32s; V]; M] {
    let (shift, upper) = (simd.splat_u32s(16), simd.splat_u32s(0xffff_0000));
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    for ([even, odd], words) in x.as_chunks::<2>().0.iter().zip(panel) {
        let (words, _) = S::as_simd_u32s(&words[first..first + V * S::F32_LANES]);
        for v in 0..V {
            add(simd, even, simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(words[v], shift)), v, &mut sums);
        }
        for v in 0..V {
            add(simd, odd, simd.transmute_f32s_u32s(simd.and_u32s(words[v], upper)), v, &mut sums);
        }
    }
    sums
}

/// One step of the inner dimension, for one vector of columns. No closures here and above: they are compiled for the
/// plainest processor where they are not inlined, and every operation becomes a call.
#[inline(always)]
fn add<S: Simd, const V: usize, const M: usize>(
    simd: S,
    x: &[f32; M],
    weight: S::f32s,
    v: usize,
    sums: &mut [[S::f32s; V]; M],
) {
    for m in 0..M {
        sums[m][v] = simd.mul_add_f32s(simd.splat_f32s(x[m]), weight, sums[m][v]);
    }
}

#[cfg(test)]
mod tests {
    use pulp::Scalar;

    use super::*;

    #[test]
    fn every_width_of_vectors_gives_the_same_bits() {
        let weights: Vec<[f32; PANEL]> =
            (0..50).map(|k| std::array::from_fn(|n| ((k * 97 + n * 31) % 83) as f32 / 41.0 - 1.0)).collect();
        let words: Vec<[u32; PANEL]> = weights.iter().map(|row| row.map(f32::to_bits)).collect();
        for rows in 1..=ROWS {
            for panel in [Panel::F32(&weights), Panel::Bf16(&words)] {
                let depth = if matches!(panel, Panel::F32(_)) { 50 } else { 100 };
                let x: Vec<f32> = (0..rows * depth).map(|at| (at * 61 % 127) as f32 / 63.0 - 1.0).collect();
                let by = |go: fn(Pass)| {
                    let mut out = vec![0.0; rows * PANEL];
                    go(Pass { x: &x, panel, out: &mut out });
                    out
                };
                let one_by_one = by(|pass| Simd::vectorize(Scalar, pass));
                assert!(one_by_one[0] != 0.0);
                assert_eq!(by(|pass| with_widest(pass)), one_by_one);
                #[cfg(target_arch = "x86_64")]
                if let Some(simd) = pulp::x86::V3::try_new() {
                    let mut out = vec![0.0; rows * PANEL];
                    Simd::vectorize(simd, Pass { x: &x, panel, out: &mut out });
                    assert_eq!(out, one_by_one);
                }
            }
        }
    }
}
