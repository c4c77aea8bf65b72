//! Products of matrices.
//!
//! The right factor is laid out in panels of 64 columns, the left one in groups of six rows: one of each is a [`Pass`],
//! which reads both in order, for as much of the inner dimension as leaves a panel in a core's cache. Where there are many
//! panels, they run side by side, and each is laid out by who needs it; else blocks of rows do.
//!
//! Either way every element is one chain of fused multiply-adds in the order of the inner dimension: it does not depend on
//! the other rows and columns, nor on the number of threads.

use std::ops::Range;

use rayon::prelude::*;

use crate::matrix::{Groups, Matrix};
use crate::tile::{PANEL, Panel, Pass, ROWS, with_widest};

/// Of the inner dimension at a time, at most: 192 KiB of a panel, and three times as much of a block of rows.
const DEPTH: usize = 768;

/// Rows of a block, at most.
const BLOCK: usize = 32 * ROWS;

/// Panels for each thread from which on they are split, and not the rows.
const PANELS: usize = 8;

/// Rows for each thread from which on they may be split.
const MANY: usize = 8 * ROWS;

/// `a·b`, row after row.
///
/// # Panics
/// When `a` has not as many columns as `b` has rows.
pub fn product(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    let mut out = vec![0.0; a.rows() * b.columns()];
    multiply(a, &Panels::Plain(b), Out { values: &mut out, columns: b.columns(), add: false });
    out
}

/// `out += a·b`.
///
/// # Panics
/// When `a` has not as many columns as `b` has rows, or `out` has not the product's length.
pub fn add_product(a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32]) {
    multiply(a, &Panels::Plain(b), Out { values: out, columns: b.columns(), add: true });
}

/// A right factor.
#[derive(Clone, Copy)]
pub(crate) enum Panels<'a> {
    /// Not yet laid out.
    Plain(Matrix<'a>),
    /// Its panels one after the other, as [`Panel`] has them.
    F32(&'a [[f32; PANEL]]),
    Bf16(&'a [[u32; PANEL]]),
}

/// Where a product goes.
pub(crate) struct Out<'a> {
    pub values: &'a mut [f32],
    pub columns: usize,
    /// Whether to add to what stands there; else it is not read.
    pub add: bool,
}

/// `out = a·b`, or `out += a·b`.
pub(crate) fn multiply(a: Matrix<'_>, b: &Panels<'_>, mut out: Out<'_>) {
    let (rows, threads) = (a.rows(), rayon::current_num_threads());
    if let Panels::Plain(b) = b {
        assert_eq!([a.columns(), out.columns], [b.rows(), b.columns()], "the inner dimension, and the columns");
    }
    assert_eq!(out.values.len(), rows * out.columns, "{rows} × {}", out.columns);
    if out.values.is_empty() || a.columns() == 0 {
        return;
    }
    if rows < MANY * threads || out.columns.div_ceil(PANEL) >= PANELS * threads {
        return by_panels(a, b, &mut out);
    }
    match b {
        Panels::Plain(b) => by_rows(a, &Panels::F32(&b.panels()), &mut out, block(rows, threads)),
        laid_out => by_rows(a, laid_out, &mut out, block(rows, threads)),
    }
}

fn by_panels(a: Matrix<'_>, b: &Panels<'_>, out: &mut Out<'_>) {
    let groups: Vec<Groups> = depths(a.columns()).map(|depth| a.groups(0..a.rows(), depth)).collect();
    parts(out.values, out.columns).into_par_iter().enumerate().for_each(|(index, mut parts)| {
        let mut room = Vec::new();
        for (depth, groups) in depths(a.columns()).zip(&groups) {
            let add = out.add || depth.start > 0;
            fill(groups, b.part(index, (depth, a.columns()), a.rows(), &mut room), &mut parts, add);
        }
    });
}

fn by_rows(a: Matrix<'_>, b: &Panels<'_>, out: &mut Out<'_>, block: usize) {
    out.values.par_chunks_mut(block * out.columns).enumerate().for_each(|(index, values)| {
        let rows = index * block..index * block + values.len() / out.columns;
        let (mut parts, mut room) = (parts(values, out.columns), Vec::new());
        for depth in depths(a.columns()) {
            let (groups, add) = (a.groups(rows.clone(), depth.clone()), out.add || depth.start > 0);
            for (index, parts) in parts.iter_mut().enumerate() {
                fill(&groups, b.part(index, (depth.clone(), a.columns()), rows.len(), &mut room), parts, add);
            }
        }
    });
}

/// The inner dimension in pieces of about the same size, each of which begins at an even index.
fn depths(all: usize) -> impl Iterator<Item = Range<usize>> {
    let piece = all.div_ceil(all.div_ceil(DEPTH)).next_multiple_of(2);
    (0..all).step_by(piece).map(move |from| from..all.min(from + piece))
}

impl Panels<'_> {
    /// What a panel has at some indices of the inner dimension, of which there are `all`, for so many `rows`.
    fn part<'a>(
        &'a self,
        index: usize,
        (depth, all): (Range<usize>, usize),
        rows: usize,
        room: &'a mut Vec<[f32; PANEL]>,
    ) -> Panel<'a> {
        let words = depth.start / 2..depth.end.div_ceil(2);
        match self {
            Panels::Plain(matrix) => {
                let part = sized(room, depth.len());
                matrix.panel(index, depth, part);
                Panel::F32(part)
            }
            Panels::F32(panels) => Panel::F32(&chunk(panels, index, all)[depth]),
            Panels::Bf16(panels) if rows < MANY => Panel::Bf16(&chunk(panels, index, all.div_ceil(2))[words]),
            Panels::Bf16(panels) => {
                let words = &chunk(panels, index, all.div_ceil(2))[words];
                let room = sized(room, 2 * words.len());
                for (words, [even, odd]) in words.iter().zip(room.as_chunks_mut::<2>().0) {
                    for ((word, even), odd) in words.iter().zip(even).zip(odd) {
                        [*even, *odd] = halves(*word);
                    }
                }
                Panel::F32(&room[..depth.len()])
            }
        }
    }
}

/// Rows of a block: no block of the last turn is much smaller than the others.
fn block(rows: usize, threads: usize) -> usize {
    let turns = rows.div_ceil(threads * BLOCK);
    rows.div_ceil(threads * turns).next_multiple_of(ROWS)
}

/// What each panel makes of all rows of `out`: as many columns of each row.
fn parts(out: &mut [f32], columns: usize) -> Vec<Vec<&mut [f32]>> {
    let rows = out.len() / columns;
    let mut panels: Vec<Vec<&mut [f32]>> = (0..columns.div_ceil(PANEL)).map(|_| Vec::with_capacity(rows)).collect();
    for row in out.chunks_exact_mut(columns) {
        row.chunks_mut(PANEL).zip(&mut panels).for_each(|(part, panel)| panel.push(part));
    }
    panels
}

/// The product of the groups with a panel, as the rows' parts or added to them.
fn fill(groups: &Groups, panel: Panel<'_>, parts: &mut [&mut [f32]], add: bool) {
    let columns = parts[0].len();
    for (x, parts) in groups.iter().zip(parts.chunks_mut(ROWS)) {
        if columns == PANEL {
            with_widest(Pass { x, panel, columns, out: parts, add });
            continue;
        }
        let mut sums = [[0.0; PANEL]; ROWS];
        parts.iter().zip(&mut sums).for_each(|(part, sums)| sums[..columns].copy_from_slice(part));
        let mut out = sums.each_mut().map(|row| &mut row[..]);
        with_widest(Pass { x, panel, columns, out: &mut out[..parts.len()], add });
        parts.iter_mut().zip(&sums).for_each(|(part, sums)| part.copy_from_slice(&sums[..columns]));
    }
}

fn sized(room: &mut Vec<[f32; PANEL]>, rows: usize) -> &mut [[f32; PANEL]] {
    room.resize(rows, [0.0; PANEL]);
    room
}

/// The part of a list of equal parts.
pub(crate) fn chunk<T>(all: &[T], index: usize, size: usize) -> &[T] {
    &all[index * size..(index + 1) * size]
}

/// The two bfloat16 of a word.
pub(crate) fn halves(word: u32) -> [f32; 2] {
    [f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000)]
}

#[cfg(test)]
mod tests {
    use half::bf16;
    use proptest::prelude::*;

    use super::*;
    use crate::check::{assert_close, numbers, with_threads};

    /// A matrix, or the transpose of one, and what it has at a row and a column.
    fn matrix(
        values: &[f32],
        [rows, columns]: [usize; 2],
        transposed: bool,
    ) -> (Matrix<'_>, impl Fn(usize, usize) -> f64) {
        let matrix = match transposed {
            true => Matrix::new(values, [columns, rows]).transposed(),
            false => Matrix::new(values, [rows, columns]),
        };
        let at = move |row: usize, column: usize| {
            f64::from(values[if transposed { column * rows + row } else { row * columns + column }])
        };
        (matrix, at)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn products_are_those_of_the_factors_with_any_number_of_threads(
            m in 1_usize..250, n in 1_usize..150, k in 1_usize..90, turned: [bool; 2], seed in 0_u64..1000,
        ) {
            let (a, b) = (numbers(m * k, seed), numbers(k * n, seed + 1));
            let ((a, left), (b, right)) = (matrix(&a, [m, k], turned[0]), matrix(&b, [k, n], turned[1]));
            let found = with_threads(1, || product(a, b));
            let dot = |at: usize| (0..k).map(|k| left(at / n, k) * right(k, at % n)).sum();
            let wanted: Vec<f64> = (0..m * n).map(dot).collect();
            assert_close(&found, &wanted, 1e-5);
            prop_assert_eq!(found, with_threads(5, || product(a, b)));
        }
    }

    /// Longer than what is taken of the inner dimension at a time.
    #[test]
    fn a_deep_product_is_one_chain_of_additions() {
        let (m, n, k) = (100, 70, 2 * DEPTH + 3);
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let found = with_threads(1, || product(Matrix::new(&a, [m, k]), Matrix::new(&b, [k, n])));
        let chain = |at: usize| (0..k).fold(0.0_f32, |sum, k_| a[at / n * k + k_].mul_add(b[k_ * n + at % n], sum));
        assert_eq!(found, (0..m * n).map(chain).collect::<Vec<f32>>());
    }

    #[test]
    fn a_factor_in_bfloat16_is_multiplied_as_what_it_is_in_float32() {
        let (m, n, k) = (250, 130, 70);
        let (a, narrow) = (numbers(m * k, 1), numbers(k * n, 2).into_iter().map(bf16::from_f32).collect::<Vec<_>>());
        let wide: Vec<f32> = narrow.iter().map(|value| value.to_f32()).collect();
        let a = Matrix::new(&a, [m, k]);
        let [b, wide_b] = [Matrix::of_bf16(&narrow, [k, n]), Matrix::new(&wide, [k, n])];
        assert_eq!(product(a, b), product(a, wide_b));
        let [b, wide_b] = [Matrix::of_bf16(&narrow, [n, k]), Matrix::new(&wide, [n, k])];
        assert_eq!(product(a, b.transposed()), product(a, wide_b.transposed()));
        assert_eq!(product(b, a.transposed()), product(wide_b, a.transposed()));
        let [b, wide_b] = [Matrix::of_bf16(&narrow, [k, n]), Matrix::new(&wide, [k, n])];
        assert_eq!(product(b.transposed(), a.transposed()), product(wide_b.transposed(), a.transposed()));
    }

    #[test]
    fn nothing_times_something_is_nothing() {
        assert_eq!(product(Matrix::new(&[], [0, 4]), Matrix::new(&[0.0; 12], [4, 3])), []);
        assert_eq!(product(Matrix::new(&[], [2, 0]), Matrix::new(&[], [0, 3])), [0.0; 6]);
        assert_eq!(product(Matrix::new(&[0.0; 8], [2, 4]), Matrix::new(&[], [4, 0])), []);
    }
}
