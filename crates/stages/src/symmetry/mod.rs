//! `symmetry`: the networks of the symmetry–data exchange study (arXiv:2606.01090), trained on its data.
//!
//! What the data, the families and their orbits are stands in [`gazal_tasks::symmetry`]. Here they are trained: all seeds
//! and all families with as many rotations side by side, since one such network is too small to be worth a kernel.
//! Networks with equal seeds begin with equal weights and see their points in the same order, whatever their family (in
//! the study's programs they do not, which is why its two equal families have different curves).

mod model;
mod training;

use gazal_stage_api::{
    Context, Declared, Forecast, Foresight, InPort, JsonSchema, Kind, OutPort, PortType, Problem, StageError, Traits,
};
use gazal_tasks::symmetry::{EXPLORATORY, Family};
use serde::{Deserialize, Serialize};

pub(crate) use training::{Curve, Ended};

use crate::defaults;
use crate::defaults::check_positive;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// How many petals and rotations.
    pub groups: Vec<u32>,
    /// How many points to train on.
    pub samples: Vec<usize>,
    /// Shares of training labels that are not the petals'.
    #[serde(default = "no_noise")]
    pub noise: Vec<f64>,
    #[serde(default = "seeds")]
    pub seeds: Vec<u64>,
    #[serde(default = "families")]
    pub families: Vec<Family>,
    #[serde(default = "learning_rate")]
    pub learning_rate: f64,
    #[serde(default = "batch_size")]
    pub per_device_train_batch_size: usize,
    /// The most; fewer where the target is held.
    #[serde(default = "epochs")]
    pub num_train_epochs: usize,
    /// Epochs between two evaluations.
    #[serde(default = "eval_epochs")]
    pub eval_epochs: usize,
    /// Of validation; a run ends when it is reached `patience` times in a row.
    #[serde(default = "target")]
    pub target_accuracy: f64,
    #[serde(default = "patience")]
    pub patience: usize,
}

fn no_noise() -> Vec<f64> {
    vec![0.0]
}

fn seeds() -> Vec<u64> {
    EXPLORATORY.seeds.to_vec()
}

fn families() -> Vec<Family> {
    Family::REGISTERED.to_vec()
}

fn learning_rate() -> f64 {
    EXPLORATORY.lr
}

fn batch_size() -> usize {
    EXPLORATORY.batch_size
}

fn epochs() -> usize {
    EXPLORATORY.max_epochs
}

fn eval_epochs() -> usize {
    5
}

fn target() -> f64 {
    EXPLORATORY.target_acc
}

fn patience() -> usize {
    10
}

pub struct Symmetry;

impl Kind for Symmetry {
    type Params = Params;
    const NAME: &'static str = "symmetry";
    const REVISION: u32 = 1;
    const DOC: &'static str = "Trains the networks of the symmetry-data exchange study, many at once.";
    // Seeds are parameters: they are the study's, and the data follow from them.
    const TRAITS: Traits = Traits { seeded: false, ..defaults::LEARNING };

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("runs", PortType::Dataset, "a row a network: family, cell, best accuracy, epochs"),
            OutPort::value("curves", PortType::Dataset, "a row a network: loss and accuracy at each evaluation"),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let mut problems = check_positive(&[
            ("learning_rate", params.learning_rate),
            ("per_device_train_batch_size", params.per_device_train_batch_size as f64),
            ("num_train_epochs", params.num_train_epochs as f64),
            ("eval_epochs", params.eval_epochs as f64),
            ("patience", params.patience as f64),
        ]);
        let lists = [
            ("groups", params.groups.is_empty() || params.groups.contains(&0)),
            ("samples", params.samples.is_empty() || params.samples.contains(&0)),
            ("noise", params.noise.is_empty() || !params.noise.iter().all(|noise| (0.0..=1.0).contains(noise))),
            ("seeds", params.seeds.is_empty()),
            ("families", params.families.is_empty()),
        ];
        for (field, _) in lists.into_iter().filter(|(_, is_wrong)| *is_wrong) {
            problems.push(Problem::new(field, "must name at least one, of numbers above 0 (shares from 0 to 1)"));
        }
        let twice = |list: Vec<String>| list.iter().enumerate().any(|(at, one)| list[..at].contains(one));
        let families = params.families.iter().map(|family| family.name().to_string()).collect();
        let numbers = |list: &[u64]| list.iter().map(u64::to_string).collect();
        for (field, list) in [("families", families), ("seeds", numbers(&params.seeds))] {
            if twice(list) {
                problems.push(Problem::new(field, "names one twice"));
            }
        }
        problems
    }

    fn forecast(&self, params: &Params, _: &Foresight) -> Forecast {
        let passes = params
            .groups
            .iter()
            .map(|&n| params.families.iter().map(|family| family.training_orbit(n).len()).sum::<usize>() as f64);
        let points: usize = params.samples.iter().sum();
        let cells = (params.noise.len() * params.seeds.len()) as f64;
        let work = passes.sum::<f64>() * points as f64 * cells * params.num_train_epochs as f64;
        Forecast { work: Some(work), ..Forecast::default() }
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        training::run(&params, context)
    }
}

#[cfg(test)]
mod tests;
