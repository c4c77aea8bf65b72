//! The symmetry study's data and estimates for whom compares them with numpy's (`tests/bench/symmetry`): a JSON list
//! of cases on standard input, each a function's name and its numbers; a JSON list of results on standard output.

#![allow(clippy::print_stdout)]

use std::error::Error;

use gazal_tasks::symmetry::representation::{Dimensions, Points, orbit_consistency};
use gazal_tasks::symmetry::{Cell, DataChecks, Petals, Plan, Run, Study};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
#[serde(tag = "function", rename_all = "snake_case")]
enum Case {
    Petals {
        #[serde(flatten)]
        cell: Cell,
    },
    Study {
        runs: Vec<Run>,
        resamples: usize,
    },
    Dimensions {
        values: Vec<f32>,
        width: usize,
    },
    OrbitConsistency {
        logits: Vec<f32>,
        n: usize,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    let cases: Vec<Case> = serde_json::from_reader(std::io::stdin().lock())?;
    let results = cases.into_iter().map(result).collect::<Result<Vec<Value>, _>>()?;
    println!("{}", json!(results));
    Ok(())
}

fn result(case: Case) -> Result<Value, Box<dyn Error>> {
    Ok(match case {
        Case::Petals { cell } => {
            let data = cell.petals();
            let checks = DataChecks::of(&cell, &data);
            let numbers = (checks.positive, checks.linear_accuracy, checks.shared_points, checks.symmetry);
            json!({ "hash": data.hash(), "whole": whole(&data), "checks": numbers, "passes": checks.passes() })
        }
        Case::Study { runs, resamples } => json!(Study::new(runs)?.analysis(&Plan { resamples, ..Plan::default() })),
        Case::Dimensions { values, width } => json!(Points::new(&values, width).map(Dimensions::of)),
        Case::OrbitConsistency { logits, n } => json!(orbit_consistency(&logits, n)),
    })
}

fn whole(data: &Petals) -> String {
    let mut hasher = Sha256::new();
    for part in [&data.train, &data.validation, &data.test] {
        part.points.iter().flatten().chain(&part.labels).for_each(|number| hasher.update(number.to_le_bytes()));
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
