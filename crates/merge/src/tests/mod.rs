#![allow(clippy::unwrap_used)]

mod configs;
mod fixtures;
mod layouts;
mod methods;
mod vocabularies;

use std::sync::Mutex;

use serde_json::Value;

use crate::*;

/// Numbers of no randomness, for methods that have none.
fn none(_: usize, _: u64) -> f64 {
    f64::NAN
}

fn recipe(config: &Value) -> Recipe {
    MergeConfig::from_value(config).unwrap().check().unwrap()
}

/// What is wrong with a configuration.
fn problems(yaml: &str) -> Vec<String> {
    match MergeConfig::from_yaml(yaml).and_then(|config| config.check()) {
        Err(MergeError::Config(problems)) => problems.iter().map(Problem::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

/// The plan of models that have nothing but one tensor `x.weight`.
fn planned(config: &Value, shape: &[usize], models: &[(&str, &[f32])]) -> PlannedTensor {
    let tensors =
        |name: &str| ModelTensors { name: name.into(), layers: 0, tensors: vec![("x.weight".into(), shape.to_vec())] };
    let models: Vec<ModelTensors> = models.iter().map(|(name, _)| tensors(name)).collect();
    plan(&recipe(config), &models, None).unwrap().tensors.remove(0)
}

/// Merges that tensor.
fn merged(
    config: &Value,
    shape: &[usize],
    models: &[(&str, &[f32])],
    random: Uniform<'_>,
) -> Result<Vec<f32>, MergeError> {
    let tensor = planned(config, shape, models);
    let numbers =
        |source: &Source| -> &dyn Numbers { &models.iter().find(|(name, _)| *name == source.model).unwrap().1 };
    let inputs =
        Inputs { base: tensor.base.as_ref().map(numbers), sources: tensor.sources.iter().map(numbers).collect() };
    let result = Mutex::new(vec![f32::NAN; shape.iter().product()]);
    let write = |start: usize, block: &[f32]| {
        result.lock().unwrap()[start..start + block.len()].copy_from_slice(block);
        Ok(())
    };
    merge(&tensor, &inputs, random, &write).map(|()| result.into_inner().unwrap())
}

/// The largest difference, and whether all are within the tolerance of 1e-6 that fixtures have.
fn compare(found: &[f32], expected: &[f64]) -> (f64, bool) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0, |largest: f64, number| largest.max(number.abs()));
    let differences = found.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected).abs());
    // `f64::max` would pass over what is no number.
    let most = differences.fold(0.0, |most, one| if one > most || one.is_nan() { one } else { most });
    (most, most <= 1e-6 + 1e-6 * largest)
}
