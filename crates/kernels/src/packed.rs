//! A weight laid out for products with few rows.

use half::bf16;
use rayon::prelude::*;

use crate::tile::{Pass, ROWS, with_widest};

/// Columns of the result that one pass over a part of the weight makes: a cache line of each of four vectors of 16.
pub(crate) const PANEL: usize = 64;

/// Float32 numbers in a cache line.
const LINE: usize = 16;

/// How a weight's numbers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    F32,
    /// Rounded to the nearest, ties to even; half the bytes, and so up to twice the speed where memory is the limit.
    Bf16,
}

/// A weight `[outputs, inputs]`, laid out in panels of 64 outputs that each go through the inputs in order.
#[derive(Clone, Debug)]
pub struct Packed {
    pub outputs: usize,
    pub inputs: usize,
    panels: Panels,
}

#[derive(Clone, Debug)]
enum Panels {
    F32(Vec<[f32; PANEL]>),
    /// Two inputs to a word, the first of them in its lower half.
    Bf16(Vec<[u32; PANEL]>),
}

/// One of the panels.
#[derive(Clone, Copy)]
pub(crate) enum Panel<'a> {
    F32(&'a [[f32; PANEL]]),
    Bf16(&'a [[u32; PANEL]]),
}

impl Packed {
    /// Lays out `weight` `[outputs, inputs]`, row after row.
    ///
    /// # Panics
    /// When `weight` has another number of elements.
    pub fn new(weight: &[f32], [outputs, inputs]: [usize; 2], form: Form) -> Packed {
        assert_eq!(weight.len(), outputs * inputs, "a weight of {outputs} × {inputs}");
        let at = |output: usize, input: usize| {
            if output < outputs && input < inputs { weight[output * inputs + input] } else { 0.0 }
        };
        let panels = match form {
            Form::F32 => Panels::F32(lay_out(outputs, inputs, at)),
            Form::Bf16 => {
                let bits = |output, input| u32::from(bf16::from_f32(at(output, input)).to_bits());
                let word = |output, pair| bits(output, 2 * pair) | bits(output, 2 * pair + 1) << 16;
                Panels::Bf16(lay_out(outputs, inputs.div_ceil(2), word))
            }
        };
        Packed { outputs, inputs, panels }
    }

    pub fn form(&self) -> Form {
        match self.panels {
            Panels::F32(_) => Form::F32,
            Panels::Bf16(_) => Form::Bf16,
        }
    }

    /// Some rows of the weight as they were laid out, one after the other.
    pub fn rows(&self, rows: &[u32]) -> Vec<f32> {
        let row = |&row: &u32| {
            let row = row as usize;
            let (panel, column) = (self.panel(row / PANEL), row % PANEL);
            (0..self.inputs).map(move |input| panel.at(input, column))
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
        assert_eq!(x.len(), rows * self.inputs, "rows of {} inputs", self.inputs);
        if rows == 0 || self.outputs == 0 {
            return vec![0.0; rows * self.outputs];
        }
        let groups = side_by_side(x, self.inputs);
        let mut out = vec![0.0; rows * self.outputs];
        let fill = |(index, mut parts): (usize, Vec<&mut [f32]>)| {
            for (x, parts) in groups.iter().zip(parts.chunks_mut(ROWS)) {
                let mut sums = [0.0; ROWS * PANEL];
                let out = &mut sums[..parts.len() * PANEL];
                with_widest(Pass { x, panel: self.panel(index), out });
                for (part, sums) in parts.iter_mut().zip(sums.chunks_exact(PANEL)) {
                    part.copy_from_slice(&sums[..part.len()]);
                }
            }
        };
        by_panel(&mut out, self.outputs).into_par_iter().enumerate().for_each(fill);
        out
    }

    fn panel(&self, index: usize) -> Panel<'_> {
        match &self.panels {
            Panels::F32(panels) => Panel::F32(chunk(panels, index, self.inputs)),
            Panels::Bf16(panels) => Panel::Bf16(chunk(panels, index, self.inputs.div_ceil(2))),
        }
    }
}

impl Panel<'_> {
    fn at(&self, input: usize, column: usize) -> f32 {
        match self {
            Panel::F32(panel) => panel[input][column],
            Panel::Bf16(panel) => {
                let word = panel[input / 2][column];
                f32::from_bits(if input.is_multiple_of(2) { word << 16 } else { word & 0xffff_0000 })
            }
        }
    }
}

/// The parts of all rows of `out` that a panel makes, for every panel.
fn by_panel(out: &mut [f32], outputs: usize) -> Vec<Vec<&mut [f32]>> {
    let rows = out.len() / outputs;
    let mut panels: Vec<Vec<&mut [f32]>> = (0..outputs.div_ceil(PANEL)).map(|_| Vec::with_capacity(rows)).collect();
    for row in out.chunks_exact_mut(outputs) {
        row.chunks_mut(PANEL).zip(&mut panels).for_each(|(part, panel)| panel.push(part));
    }
    panels
}

fn chunk<T>(all: &[T], index: usize, size: usize) -> &[T] {
    &all[index * size..(index + 1) * size]
}

/// Panels of `depth` rows each, filled by output and row.
fn lay_out<T: Copy + Default + Send>(
    outputs: usize,
    depth: usize,
    at: impl Fn(usize, usize) -> T + Sync,
) -> Vec<[T; PANEL]> {
    let mut panels = vec![[T::default(); PANEL]; outputs.div_ceil(PANEL) * depth];
    let fill = |(panel, rows): (usize, &mut [[T; PANEL]])| {
        // A cache line of each output at a time.
        for (line, rows) in rows.chunks_mut(LINE).enumerate() {
            for column in 0..PANEL {
                for (index, row) in rows.iter_mut().enumerate() {
                    row[column] = at(panel * PANEL + column, line * LINE + index);
                }
            }
        }
    };
    panels.par_chunks_mut(depth.max(1)).enumerate().for_each(fill);
    panels
}

/// The rows of `x` in groups of [`ROWS`], each group with its rows side by side, and a zero where `inputs` is odd.
fn side_by_side(x: &[f32], inputs: usize) -> Vec<Vec<f32>> {
    let group = |rows: &[f32]| {
        let count = rows.len() / inputs;
        let mut group = vec![0.0; inputs.next_multiple_of(2) * count];
        for (at, row) in rows.chunks_exact(inputs).enumerate() {
            group[at..].iter_mut().step_by(count).zip(row).for_each(|(cell, value)| *cell = *value);
        }
        group
    };
    x.chunks(ROWS * inputs).map(group).collect()
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
