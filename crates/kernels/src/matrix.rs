//! Matrices as they stand in memory, and how products lay them out.

use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use crate::tile::{PANEL, ROWS};

/// Groups that are laid out by one thread, as handing them over would take longer.
const ALONE: usize = 16;

/// Float32 numbers in a cache line.
const LINE: usize = 16;

/// A matrix whose rows stand one after the other, or the transpose of one. Products are computed in float32, and one in
/// bfloat16 is widened as it is laid out for them.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    rows: usize,
    columns: usize,
    values: Values<'a>,
    /// Its columns stand one after the other instead.
    transposed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Values<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

/// Numbers that float32 has too.
trait Number: Copy {
    fn wide(self) -> f32;
}

impl Number for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }
}

impl Number for bf16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl<'a> Matrix<'a> {
    /// # Panics
    /// When there is another number of values.
    pub fn new(values: &'a [f32], [rows, columns]: [usize; 2]) -> Matrix<'a> {
        assert_eq!(values.len(), rows * columns, "a matrix of {rows} × {columns}");
        Matrix { rows, columns, values: Values::F32(values), transposed: false }
    }

    /// # Panics
    /// When there is another number of values.
    pub fn of_bf16(values: &'a [bf16], [rows, columns]: [usize; 2]) -> Matrix<'a> {
        assert_eq!(values.len(), rows * columns, "a matrix of {rows} × {columns}");
        Matrix { rows, columns, values: Values::Bf16(values), transposed: false }
    }

    pub fn rows(self) -> usize {
        self.rows
    }

    pub fn columns(self) -> usize {
        self.columns
    }

    /// One row of a matrix that is no transpose.
    ///
    /// # Panics
    /// When there is no such row, or `out` has another length than it.
    pub fn read_row(self, row: usize, out: &mut [f32]) {
        assert!(!self.transposed && out.len() == self.columns, "a row as it stands");
        match self.values {
            Values::F32(values) => widen(&values[row * self.columns..][..self.columns], out),
            Values::Bf16(values) => widen(&values[row * self.columns..][..self.columns], out),
        }
    }

    #[must_use]
    pub fn transposed(self) -> Matrix<'a> {
        Matrix { rows: self.columns, columns: self.rows, transposed: !self.transposed, ..self }
    }

    /// Of a left factor: some rows in groups of [`ROWS`], one group after the other, each with its rows side by side for
    /// the columns `depth`, and a zero for each row where those are odd.
    pub(crate) fn groups(self, rows: Range<usize>, depth: Range<usize>) -> Groups {
        let size = ROWS * depth.len().next_multiple_of(2);
        let mut values = vec![0.0; rows.len() * depth.len().next_multiple_of(2)];
        let lay = |(group, out): (usize, &mut [f32])| {
            let first = rows.start + group * ROWS;
            match rows.end.min(first + ROWS) - first {
                1 => self.group::<1>(first, depth.clone(), out),
                2 => self.group::<2>(first, depth.clone(), out),
                3 => self.group::<3>(first, depth.clone(), out),
                4 => self.group::<4>(first, depth.clone(), out),
                5 => self.group::<5>(first, depth.clone(), out),
                _ => self.group::<ROWS>(first, depth.clone(), out),
            }
        };
        values.par_chunks_mut(size.max(1)).enumerate().with_min_len(ALONE).for_each(lay);
        Groups { values, size }
    }

    fn group<const M: usize>(self, first: usize, depth: Range<usize>, out: &mut [f32]) {
        match self.values {
            Values::F32(values) => self.group_of::<M, _>(values, (first, depth), out),
            Values::Bf16(values) => self.group_of::<M, _>(values, (first, depth), out),
        }
    }

    fn group_of<const M: usize, T: Number>(self, values: &[T], (first, depth): (usize, Range<usize>), out: &mut [f32]) {
        let out = &mut out.as_chunks_mut::<M>().0[..depth.len()];
        if self.transposed {
            for (out, column) in out.iter_mut().zip(depth) {
                widen(&values[column * self.rows + first..][..M], out);
            }
            return;
        }
        let mut rows = [&values[..0]; M];
        for (m, row) in rows.iter_mut().enumerate() {
            *row = &values[(first + m) * self.columns..][depth.clone()];
        }
        for (column, out) in out.iter_mut().enumerate() {
            for (out, row) in out.iter_mut().zip(&rows) {
                *out = row[column].wide();
            }
        }
    }

    /// Of a right factor: its panels of [`PANEL`] columns, one after the other, a row for each of its rows, with zeros
    /// where the last has fewer columns.
    pub(crate) fn panels(self) -> Vec<[f32; PANEL]> {
        let mut panels = vec![[0.0; PANEL]; self.columns.div_ceil(PANEL) * self.rows];
        let lay = |(index, panel): (usize, &mut [[f32; PANEL]])| self.panel(index, 0..self.rows, panel);
        panels.par_chunks_mut(self.rows.max(1)).enumerate().for_each(lay);
        panels
    }

    /// What one of them has in some rows.
    pub(crate) fn panel(self, index: usize, rows: Range<usize>, out: &mut [[f32; PANEL]]) {
        match self.values {
            Values::F32(values) => self.panel_of(values, (index, rows), out),
            Values::Bf16(values) => self.panel_of(values, (index, rows), out),
        }
    }

    fn panel_of<T: Number>(self, values: &[T], (index, rows): (usize, Range<usize>), out: &mut [[f32; PANEL]]) {
        let columns = index * PANEL..self.columns.min((index + 1) * PANEL);
        if !self.transposed {
            for (out, row) in out.iter_mut().zip(rows) {
                widen(&values[row * self.columns..][columns.clone()], &mut out[..columns.len()]);
            }
            return;
        }
        // A cache line of each column at a time.
        for (line, out) in out.chunks_mut(LINE).enumerate() {
            for (at, column) in columns.clone().enumerate() {
                let values = &values[column * self.rows + rows.start + line * LINE..][..out.len()];
                for (out, value) in out.iter_mut().zip(values) {
                    out[at] = value.wide();
                }
            }
        }
    }
}

#[inline(always)]
fn widen<T: Number>(values: &[T], out: &mut [f32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = value.wide();
    }
}

/// What [`Matrix::groups`] lays out.
pub(crate) struct Groups {
    values: Vec<f32>,
    size: usize,
}

impl Groups {
    pub fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks(self.size.max(1))
    }
}
