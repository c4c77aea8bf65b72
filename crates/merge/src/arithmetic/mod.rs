//! The arithmetic of one tensor: float32 in, float32 out, sums and products in float64.
//!
//! Where a result needs something of the whole tensor first (an angle, a threshold, a norm), that is one or two
//! passes over the sources; then one pass makes the result. Nothing of a tensor's size is allocated beside it.

mod blocks;
mod linear;
mod select;
mod slerp;
mod stock;
mod task;

use crate::error::MergeError;
use crate::plan::{Operation, PlannedTensor, Source};
use blocks::Defect;

/// A tensor's numbers in its planned order of dimensions.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// Of [`PlannedTensor::base`].
    pub base: Option<&'a [f32]>,
    /// Of [`PlannedTensor::sources`], in their order.
    pub sources: Vec<&'a [f32]>,
}

/// A number in `[0, 1)` for the number at an index of a source, by the source's place among
/// [`PlannedTensor::sources`]. It is asked up to twice for each number of a tensor, from several threads, and has to
/// give the same each time.
pub type Uniform<'a> = &'a (dyn Fn(usize, u64) -> f64 + Sync);

/// Merges the sources of one tensor into `merged`, which has its shape.
///
/// # Errors
/// Slices that are not the planned tensor's, a source that is not finite somewhere, or a result that is too large for
/// float32.
pub fn merge(
    tensor: &PlannedTensor,
    inputs: &Inputs<'_>,
    random: Uniform<'_>,
    merged: &mut [f32],
) -> Result<(), MergeError> {
    check(tensor, inputs, merged.len())?;
    let sources = inputs.sources.as_slice();
    let done = match (&tensor.operation, inputs.base, sources) {
        (Operation::Linear { weights, normalize }, ..) => linear::linear(weights, *normalize, sources, merged),
        (Operation::Copy { scale }, ..) => linear::linear(&[scale.unwrap_or(1.0)], false, sources, merged),
        (Operation::Slerp { t }, Some(base), [other]) => slerp::slerp(*t, [base, other], merged),
        (Operation::Nuslerp { t, along }, base, [one, two]) => {
            slerp::nuslerp(*t, &slerp::Pair { one, two, base }, (*along, &tensor.shape), merged)
        }
        (Operation::TaskVectors(vectors), Some(base), _) => task::merge(vectors, (base, sources), random, merged),
        (Operation::ModelStock { filter_wise }, Some(base), _) => {
            let width = tensor.shape.last().filter(|_| *filter_wise && tensor.shape.len() > 1).copied();
            stock::stock(width, (base, sources), merged)
        }
        _ => return Err(slices(tensor, "its base or a source is missing")),
    };
    done.map_err(|defect| describe(&defect, tensor, inputs))
}

fn slices(tensor: &PlannedTensor, message: &str) -> MergeError {
    MergeError::Slices { tensor: tensor.name.clone(), message: message.into() }
}

fn check(tensor: &PlannedTensor, inputs: &Inputs<'_>, length: usize) -> Result<(), MergeError> {
    let planned: usize = tensor.shape.iter().product();
    let lengths = inputs.sources.iter().chain(&inputs.base).map(|source| source.len());
    match lengths.chain([length]).find(|length| *length != planned) {
        Some(other) => Err(slices(tensor, &format!("its shape has {planned} numbers, a slice {other}"))),
        None if inputs.sources.len() != tensor.sources.len() || inputs.base.is_some() != tensor.base.is_some() => {
            Err(slices(tensor, "its sources are others"))
        }
        None => Ok(()),
    }
}

/// Names what is broken. A number of an input that is not finite is told before a result that is not.
fn describe(defect: &Defect, tensor: &PlannedTensor, inputs: &Inputs<'_>) -> MergeError {
    let index = defect.0;
    let named: Vec<(&Source, &[f32])> =
        tensor.base.iter().zip(inputs.base).chain(tensor.sources.iter().zip(inputs.sources.iter().copied())).collect();
    let broken = named.into_iter().find_map(|(source, numbers)| {
        let value = numbers.get(index).filter(|value| !value.is_finite())?;
        Some((source, value))
    });
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
