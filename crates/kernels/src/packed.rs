//! A weight that is laid out once, for many products.

use half::bf16;
use rayon::prelude::*;

use crate::matrix::Matrix;
use crate::product::{Out, Panels, chunk, halves, multiply};
use crate::tile::PANEL;

/// How a weight's numbers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    F32,
    /// Rounded to the nearest, ties to even; half the bytes, and so up to twice the speed where memory is the limit.
    Bf16,
}

/// A weight `[outputs, inputs]`, laid out as the right factor of products.
#[derive(Clone, Debug)]
pub struct Packed {
    pub outputs: usize,
    pub inputs: usize,
    panels: Owned,
}

#[derive(Clone, Debug)]
enum Owned {
    F32(Vec<[f32; PANEL]>),
    Bf16(Vec<[u32; PANEL]>),
}

impl Packed {
    /// Lays out `weight` `[outputs, inputs]`, row after row.
    ///
    /// # Panics
    /// When `weight` has another number of elements.
    pub fn new(weight: &[f32], [outputs, inputs]: [usize; 2], form: Form) -> Packed {
        let right = Matrix::new(weight, [outputs, inputs]).transposed();
        let panels = match form {
            Form::F32 => Owned::F32(right.panels()),
            Form::Bf16 => Owned::Bf16(words(right)),
        };
        Packed { outputs, inputs, panels }
    }

    pub fn form(&self) -> Form {
        match self.panels {
            Owned::F32(_) => Form::F32,
            Owned::Bf16(_) => Form::Bf16,
        }
    }

    /// Some rows of the weight as they were laid out, one after the other.
    pub fn rows(&self, rows: &[u32]) -> Vec<f32> {
        let row = |&row: &u32| {
            let row = row as usize;
            let (panel, column) = (row / PANEL, row % PANEL);
            (0..self.inputs).map(move |input| match &self.panels {
                Owned::F32(panels) => chunk(panels, panel, self.inputs)[input][column],
                Owned::Bf16(panels) => {
                    halves(chunk(panels, panel, self.inputs.div_ceil(2))[input / 2][column])[input % 2]
                }
            })
        };
        rows.iter().flat_map(row).collect()
    }

    /// `x` `[rows, inputs]` times the weight's transpose: `[rows, outputs]`, row after row. What a row gives does not
    /// depend on the other rows, nor on the number of threads.
    ///
    /// # Panics
    /// When `x` is no whole number of rows.
    pub fn product(&self, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.inputs.max(1);
        let mut out = vec![0.0; rows * self.outputs];
        let panels = match &self.panels {
            Owned::F32(panels) => Panels::F32(panels),
            Owned::Bf16(panels) => Panels::Bf16(panels),
        };
        multiply(
            Matrix::new(x, [rows, self.inputs]),
            &panels,
            Out { values: &mut out, columns: self.outputs, add: false },
        );
        out
    }
}

/// Panels in which two inputs are a word.
fn words(right: Matrix<'_>) -> Vec<[u32; PANEL]> {
    let (inputs, depth) = (right.rows(), right.rows().div_ceil(2));
    let mut panels = vec![[0; PANEL]; right.columns().div_ceil(PANEL) * depth];
    panels.par_chunks_mut(depth.max(1)).enumerate().for_each(|(index, words)| {
        let mut panel = vec![[0.0; PANEL]; 2 * depth];
        right.panel(index, 0..inputs, &mut panel[..inputs]);
        for (words, [even, odd]) in words.iter_mut().zip(panel.as_chunks::<2>().0) {
            for ((word, even), odd) in words.iter_mut().zip(even).zip(odd) {
                let [even, odd] = [even, odd].map(|value| u32::from(bf16::from_f32(*value).to_bits()));
                *word = even | odd << 16;
            }
        }
    });
    panels
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::check::numbers;

    fn reference(x: &[f32], weight: &[f32], [outputs, inputs]: [usize; 2]) -> Vec<f64> {
        let dot = |x: &[f32], row: &[f32]| x.iter().zip(row).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        let rows = x.chunks_exact(inputs);
        rows.flat_map(|x| (0..outputs).map(move |n| dot(x, &weight[n * inputs..][..inputs]))).collect()
    }

    proptest! {
        #[test]
        fn products_are_those_of_the_weight(
            rows in 1_usize..20, outputs in 1_usize..200, inputs in 1_usize..90, half: bool, seed in 0_u64..1000,
        ) {
            let (x, weight) = (numbers(rows * inputs, seed), numbers(outputs * inputs, seed + 1));
            let form = if half { Form::Bf16 } else { Form::F32 };
            let packed = Packed::new(&weight, [outputs, inputs], form);
            let all: Vec<u32> = (0..outputs as u32).collect();
            let kept = packed.rows(&all);
            let rounded: Vec<f32> = weight.iter().map(|value| bf16::from_f32(*value).to_f32()).collect();
            prop_assert_eq!(&kept, if half { &rounded } else { &weight });
            let found = packed.product(&x);
            for (a, b) in found.iter().zip(reference(&x, &kept, [outputs, inputs])) {
                prop_assert!((f64::from(*a) - b).abs() < 1e-5 * inputs as f64, "{a} is not {b}");
            }
            prop_assert_eq!(found.len(), rows * outputs);
        }

        #[test]
        fn a_batch_gives_bitwise_what_its_rows_give(rows in 1_usize..15, half: bool, seed in 0_u64..1000) {
            let (outputs, inputs) = (130, 77);
            let (x, weight) = (numbers(rows * inputs, seed), numbers(outputs * inputs, seed + 1));
            let packed = Packed::new(&weight, [outputs, inputs], if half { Form::Bf16 } else { Form::F32 });
            let one_by_one: Vec<f32> = x.chunks_exact(inputs).flat_map(|row| packed.product(row)).collect();
            prop_assert_eq!(packed.product(&x), one_by_one);
        }
    }

    #[test]
    fn nothing_times_a_weight_is_nothing() {
        let packed = Packed::new(&numbers(12, 1), [3, 4], Form::F32);
        assert_eq!(packed.product(&[]), []);
        assert_eq!((packed.form(), packed.outputs), (Form::F32, 3));
    }
}
