//! The innermost loops: some rows of the left factor with one panel of the weight.
//!
//! Every element of the result is one chain of fused multiply-adds in the order of the inner dimension, however many
//! rows there are, whatever their neighbours, and however wide a vector is: a batch gives bitwise what its rows give one
//! by one, and one processor what another gives.
#![expect(clippy::needless_range_loop, reason = "loops over constants are unrolled, so that sums stay in registers")]

use pulp::{Arch, Simd, WithSimd};

/// Rows that one pass over a panel serves, at most: with a panel's four vectors of 16 they take 24 of 32 registers.
pub(crate) const ROWS: usize = 6;

/// Columns that one pass makes: a cache line of each of four vectors of 16.
pub(crate) const PANEL: usize = 64;

/// `out[m][n] = Σ_k x[k × M + m] · w[k][n]`, for as many rows `M` as `out` has.
pub(crate) struct Pass<'a, 'b> {
    /// The rows side by side: all that stand at one index of the inner dimension, then the next.
    pub x: &'a [f32],
    pub panel: Panel<'a>,
    /// Columns of the panel that count. A row of `out` has room for them and for the rest of their last vectors.
    pub columns: usize,
    pub out: &'a mut [&'b mut [f32]],
    /// Whether to add to what stands there; else it is not read.
    pub add: bool,
}

/// Some columns of the right factor: a row for each index of the inner dimension.
#[derive(Clone, Copy)]
pub(crate) enum Panel<'a> {
    F32(&'a [[f32; PANEL]]),
    /// A row for two indices: the even one's bfloat16 is the lower half of a word, the odd one's the upper.
    Bf16(&'a [[u32; PANEL]]),
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

impl WithSimd for Pass<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // As many vectors at a time as leave their sums in registers, whatever the width of a vector.
        match S::F32_LANES {
            16 if self.columns <= 16 => self.rows::<S, 1>(simd),
            16 if self.columns <= 32 => self.rows::<S, 2>(simd),
            16 => self.rows::<S, 4>(simd),
            8 | 4 => self.rows::<S, 2>(simd),
            _ => self.rows::<S, 1>(simd),
        }
    }
}

impl Pass<'_, '_> {
    #[inline(always)]
    fn rows<S: Simd, const V: usize>(self, simd: S) {
        match self.out.len() {
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
        for first in (0..self.columns).step_by(width) {
            let mut sums = [[simd.splat_f32s(0.0); V]; M];
            if self.add {
                for m in 0..M {
                    sums[m].copy_from_slice(S::as_simd_f32s(&self.out[m][first..first + width]).0);
                }
            }
            match self.panel {
                Panel::F32(panel) => full::<S, V, M>(simd, x, panel, first, &mut sums),
                Panel::Bf16(panel) => half::<S, V, M>(simd, x, panel, first, &mut sums),
            }
            for m in 0..M {
                S::as_mut_simd_f32s(&mut self.out[m][first..first + width]).0.copy_from_slice(&sums[m]);
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
    sums: &mut [[S::f32s; V]; M],
) {
    for (x, weights) in x.iter().zip(panel) {
        step(simd, x, S::as_simd_f32s(&weights[first..first + V * S::F32_LANES]).0, sums);
    }
}

/// A bfloat16 is the upper half of the float32 of the same value.
#[inline(always)]
fn half<S: Simd, const V: usize, const M: usize>(
    simd: S,
    x: &[[f32; M]],
    panel: &[[u32; PANEL]],
    first: usize,
    sums: &mut [[S::f32s; V]; M],
) {
    let (shift, upper) = (simd.splat_u32s(16), simd.splat_u32s(0xffff_0000));
    for ([even, odd], words) in x.as_chunks::<2>().0.iter().zip(panel) {
        let (words, _) = S::as_simd_u32s(&words[first..first + V * S::F32_LANES]);
        let mut weights = [simd.splat_f32s(0.0); V];
        for v in 0..V {
            weights[v] = simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(words[v], shift));
        }
        step(simd, even, &weights, sums);
        for v in 0..V {
            weights[v] = simd.transmute_f32s_u32s(simd.and_u32s(words[v], upper));
        }
        step(simd, odd, &weights, sums);
    }
}

/// One step of the inner dimension. A row's number is spread and used for all vectors before the next row's is: the other
/// way round, all rows' would want registers at once, and sums would be kept in memory. No closures here and above: they
/// are compiled for the plainest processor where they are not inlined, and every operation becomes a call.
#[inline(always)]
pub(crate) fn step<S: Simd, const V: usize, const M: usize>(
    simd: S,
    x: &[f32; M],
    weights: &[S::f32s],
    sums: &mut [[S::f32s; V]; M],
) {
    for m in 0..M {
        let x = simd.splat_f32s(x[m]);
        for v in 0..V {
            sums[m][v] = simd.mul_add_f32s(x, weights[v], sums[m][v]);
        }
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
        let cases = (1..=ROWS).flat_map(|rows| [10, 30, PANEL].map(|columns| (rows, columns)));
        for (rows, columns) in cases {
            for panel in [Panel::F32(&weights), Panel::Bf16(&words)] {
                let depth = if matches!(panel, Panel::F32(_)) { 50 } else { 100 };
                let x: Vec<f32> = (0..rows * depth).map(|at| (at * 61 % 127) as f32 / 63.0 - 1.0).collect();
                let by = |go: &dyn Fn(Pass)| {
                    let mut out = vec![0.5; rows * PANEL];
                    let mut parts: Vec<&mut [f32]> = out.chunks_exact_mut(PANEL).collect();
                    go(Pass { x: &x, panel, columns, out: &mut parts, add: true });
                    out.chunks_exact(PANEL).flat_map(|row| &row[..columns]).copied().collect::<Vec<f32>>()
                };
                let one_by_one = by(&|pass| Simd::vectorize(Scalar, pass));
                assert!(one_by_one[0] != 0.5);
                assert_eq!(by(&|pass| with_widest(pass)), one_by_one);
                #[cfg(target_arch = "x86_64")]
                if let Some(simd) = pulp::x86::V3::try_new() {
                    assert_eq!(by(&|pass| Simd::vectorize(simd, pass)), one_by_one);
                }
            }
        }
    }
}
