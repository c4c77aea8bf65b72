//! The arithmetic of one tensor: float32 in, float32 out, sums and products in float64.
//!
//! Where a result needs something of the whole tensor first (an angle, a threshold, a norm), that is one or two
//! passes over the sources; then one pass makes the result. Sources are read and the result is written in blocks, in
//! each pass anew, so that nothing of a tensor's size is ever in memory.

mod blocks;
mod linear;
mod select;
mod slerp;
mod stock;
mod task;

use crate::error::MergeError;
use crate::plan::{Operation, PlannedTensor};
use blocks::Defect;
use slerp::Pair;

/// A tensor's numbers in its planned order of dimensions, in memory or a file.
pub trait Numbers: Sync {
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the numbers from `start` on, as many as there is room for. Asked several times for each number, from
    /// several threads.
    ///
    /// # Errors
    /// Why they cannot be read.
    fn read(&self, start: usize, into: &mut [f32]) -> Result<(), String>;
}

impl Numbers for &[f32] {
    fn len(&self) -> usize {
        <[f32]>::len(self)
    }

    fn read(&self, start: usize, into: &mut [f32]) -> Result<(), String> {
        let numbers = self.get(start..start + into.len()).ok_or("it is shorter")?;
        into.copy_from_slice(numbers);
        Ok(())
    }
}

impl Numbers for Vec<f32> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn read(&self, start: usize, into: &mut [f32]) -> Result<(), String> {
        self.as_slice().read(start, into)
    }
}

/// What a tensor of the result is made of.
#[derive(Clone)]
pub struct Inputs<'a> {
    /// Of [`PlannedTensor::base`].
    pub base: Option<&'a dyn Numbers>,
    /// Of [`PlannedTensor::sources`], in their order.
    pub sources: Vec<&'a dyn Numbers>,
}

/// A number in `[0, 1)` for the number at an index of a source, by the source's place among
/// [`PlannedTensor::sources`]. It is asked up to twice for each number of a tensor, from several threads, and has to
/// give the same each time.
pub type Uniform<'a> = &'a (dyn Fn(usize, u64) -> f64 + Sync);

/// Takes numbers of the result from an index on; why it cannot, else. Every number comes once, in blocks that come in
/// any order and from several threads.
pub type Write<'a> = &'a (dyn Fn(usize, &[f32]) -> Result<(), String> + Sync);

/// Merges the sources of one tensor.
///
/// # Errors
/// Numbers that are not the planned tensor's, a source that is not finite somewhere, a result that is too large for
/// float32, or what cannot be read or written. Blocks may have been written then.
pub fn merge(
    tensor: &PlannedTensor,
    inputs: &Inputs<'_>,
    random: Uniform<'_>,
    write: Write<'_>,
) -> Result<(), MergeError> {
    check(tensor, inputs)?;
    let sources = inputs.sources.as_slice();
    let done = match (&tensor.operation, inputs.base, sources) {
        (Operation::Linear { weights, normalize }, ..) => linear::linear(weights, *normalize, sources, write),
        (Operation::Copy { scale }, ..) => linear::linear(&[scale.unwrap_or(1.0)], false, sources, write),
        (Operation::Slerp { t }, Some(base), [other]) => slerp::slerp(*t, &Pair(vec![base, *other]), write),
        (Operation::Nuslerp { t, along }, base, [one, two]) => {
            let pair = Pair([*one, *two].into_iter().chain(base).collect());
            slerp::nuslerp(*t, &pair, (*along, &tensor.shape), write)
        }
        (Operation::TaskVectors(vectors), Some(base), _) => task::merge(vectors, (base, sources), random, write),
        (Operation::ModelStock { filter_wise }, Some(base), _) => {
            let width = tensor.shape.last().filter(|_| *filter_wise && tensor.shape.len() > 1).copied();
            stock::stock(width, (base, sources), write)
        }
        _ => return Err(wrong(tensor, "its base or a source is missing")),
    };
    done.map_err(|defect| describe(defect, tensor, inputs))
}

fn wrong(tensor: &PlannedTensor, message: &str) -> MergeError {
    MergeError::Inputs { tensor: tensor.name.clone(), message: message.into() }
}

fn check(tensor: &PlannedTensor, inputs: &Inputs<'_>) -> Result<(), MergeError> {
    let planned: usize = tensor.shape.iter().product();
    let lengths = inputs.sources.iter().chain(&inputs.base).map(|source| source.len());
    match lengths.into_iter().find(|length| *length != planned) {
        Some(other) => Err(wrong(tensor, &format!("its shape has {planned} numbers, a source {other}"))),
        None if inputs.sources.len() != tensor.sources.len() || inputs.base.is_some() != tensor.base.is_some() => {
            Err(wrong(tensor, "its sources are others"))
        }
        None => Ok(()),
    }
}

/// Names what is broken. A number of an input that is not finite is told before a result that is not.
fn describe(defect: Defect, tensor: &PlannedTensor, inputs: &Inputs<'_>) -> MergeError {
    let named = tensor.base.iter().zip(inputs.base).chain(tensor.sources.iter().zip(inputs.sources.iter().copied()));
    let index = match defect {
        Defect::NotFinite(index) => index,
        Defect::Access(message) => return MergeError::Access { tensor: tensor.name.clone(), message },
    };
    let value = |numbers: &dyn Numbers| {
        let mut value = [0.0];
        numbers.read(index, &mut value).ok().and_then(|()| value.into_iter().find(|value| !value.is_finite()))
    };
    let broken = named.into_iter().find_map(|(source, numbers)| Some((source, value(numbers)?)));
    match broken {
        Some((source, value)) => MergeError::NotFinite {
            model: source.model.clone(),
            tensor: source.tensor.clone(),
            index,
            value: value.to_string(),
        },
        None => MergeError::Overflow { tensor: tensor.name.clone(), index },
    }
}
