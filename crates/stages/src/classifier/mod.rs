//! `train-classifier`: small convolutional networks on small images, as the optimizer study of EXAdam
//! (arXiv:2412.20302) trains them, and `digits`, images that are always there.
//!
//! What a run draws comes from its seed (which images are held out, their order, what augmentation and dropout do), but
//! the initial weights may have a seed of their own: so several optimizers start from the same weights, or each from
//! others, as in the notebooks of the study, which seed their generator once for all of them.

mod augmentation;
mod design;
mod digits;
mod fit;
mod images;
mod model;
mod raw;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use gazal_data::jsonl;
use gazal_stage_api::{
    Context, Declared, InPort, JsonSchema, Kind, OutPort, PortType, Precision, Problem, StageError, Traits,
};
use gazal_train::{OptimArgs, OptimConfig, OptimKind, SchedulerArgs, SchedulerType};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::checkpoints::Saving;
use crate::defaults::check_positive;
use crate::eval::{Protocol, Sample};
use crate::history::History;
use crate::optimization::{Optimization, optimization};
use crate::{defaults, device};
use augmentation::Augmentation;
use design::Architecture;
pub use digits::Digits;
use fit::{Progress, Settings, Split};
use images::Images;
use model::{Network, Scored, likeliest};

/// Under this name the history says what was trained.
pub const STAMP: &str = "classifier";

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// What a report calls this training.
    pub label: String,
    /// Trainings of the same group, such as a seed, are compared with one another.
    #[serde(default)]
    pub group: String,
    #[serde(default)]
    pub architecture: Architecture,
    pub num_train_epochs: u64,
    pub learning_rate: f64,
    #[serde(default)]
    pub optim: OptimKind,
    /// What only some optimizers have, such as the `momentum` of `sgd`.
    #[serde(default)]
    pub optim_args: OptimArgs,
    #[serde(default = "defaults::adam_beta1")]
    pub adam_beta1: f64,
    #[serde(default = "defaults::adam_beta2")]
    pub adam_beta2: f64,
    #[serde(default = "defaults::adam_epsilon")]
    pub adam_epsilon: f64,
    #[serde(default)]
    pub lr_scheduler_type: SchedulerType,
    /// What only some schedules have, such as the `patience` of `reduce_lr_on_plateau`, in epochs.
    #[serde(default)]
    pub lr_scheduler_kwargs: SchedulerArgs,
    /// Steps of warm-up as a share of all; excludes `warmup_steps`.
    #[serde(default)]
    pub warmup_ratio: f64,
    #[serde(default)]
    pub warmup_steps: u64,
    /// Of all parameters, biases and norms too, as PyTorch's optimizers have it of themselves.
    #[serde(default)]
    pub weight_decay: f64,
    #[serde(default = "batch")]
    pub per_device_train_batch_size: usize,
    /// Images that are held out of training, drawn by the seed.
    #[serde(default = "validation_size")]
    pub validation_size: usize,
    /// How they are shown.
    #[serde(default)]
    pub validation_transform: Transform,
    /// What is done to an image each time before it is shown, in this order.
    #[serde(default)]
    pub augmentation: Vec<Augmentation>,
    /// Of the initial weights; the stage's seed if it is absent.
    #[serde(default)]
    pub init_seed: Option<u64>,
    /// Training accuracies whose first epochs are told.
    #[serde(default = "accuracy_targets")]
    pub accuracy_targets: Vec<f64>,
    #[serde(default = "defaults::logging_steps")]
    pub logging_steps: u64,
    #[serde(default = "save_steps")]
    pub save_steps: u64,
    #[serde(default = "defaults::save_total_limit")]
    pub save_total_limit: usize,
}

/// How images that are held out are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Transform {
    /// As they are.
    #[default]
    Clean,
    /// As those that are trained on: what the study did.
    Augmented,
}

fn batch() -> usize {
    128
}

fn validation_size() -> usize {
    10_000
}

fn accuracy_targets() -> Vec<f64> {
    vec![0.8, 0.9, 0.95]
}

/// Seldom: what is lost by a kill is less than what writing takes.
fn save_steps() -> u64 {
    500
}

pub struct TrainClassifier;

impl Kind for TrainClassifier {
    type Params = Params;
    const NAME: &'static str = "train-classifier";
    const REVISION: u32 = 1;
    const DOC: &'static str = "Trains a small convolutional network on small images, to compare optimizers.";
    const TRAITS: Traits = defaults::LEARNING;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![InPort::one("dataset", PortType::Files, "CIFAR-10's binary files, or the output of `digits`")]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("metrics", PortType::Metrics, "`metrics.json`: {data set: {metric: number}}"),
            OutPort::value("samples", PortType::Samples, "one row an image of the test set"),
            OutPort::value(
                "history",
                PortType::Files,
                "`trainer_state.json`, an entry an epoch, and TensorBoard's events",
            ),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let mut problems = check_positive(&[
            ("num_train_epochs", params.num_train_epochs as f64),
            ("per_device_train_batch_size", params.per_device_train_batch_size as f64),
            ("validation_size", params.validation_size as f64),
            ("logging_steps", params.logging_steps as f64),
        ]);
        problems.extend(params.optimization().problems(true));
        let steps = params.augmentation.iter().enumerate();
        problems.extend(steps.filter_map(|(at, step)| step.problem(&format!("augmentation[{at}]"))));
        if params.accuracy_targets.iter().any(|target| !(*target > 0.0 && *target <= 1.0)) {
            problems.push(Problem::new("accuracy_targets", "must be above 0 and at most 1"));
        }
        problems
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        if context.device.precision != Precision::F32 {
            return Err(StageError::failed("this network is trained in float32: set `precision = \"f32\"`"));
        }
        let device = device::open(context)?;
        let (images, test) = images::read(context.input("dataset")?)?;
        params.check(&images)?;
        let split = Split::new(&images, params.validation_size, context.seed);
        let description = &images.description;
        let shape = ([description.channels, description.height, description.width], description.classes);
        let numbers = device::tensor_numbers(params.init_seed.unwrap_or(context.seed), "initial weights");
        let mut network = Network::new(params.architecture, shape, &device, &numbers);
        let settings = params.settings(split.train.len());
        let progress = fit::fit(context, &mut network, &split, &settings)?;

        let rows: Vec<usize> = (0..test.len()).collect();
        let (likelihoods, tested) = fit::evaluate(&network, &test, &rows, None);
        let samples = likelihoods.chunks_exact(description.classes).zip(rows);
        let samples = samples.map(|(likelihoods, row)| params.sample(&test, row, likelihoods));
        let path = context.output("samples")?.join("samples.jsonl");
        jsonl::write_all(&path, samples).map_err(StageError::failed)?;
        let metrics = json!({ &description.name: params.metrics(&progress, tested, test.len()) });
        let path = context.output("metrics")?.join("metrics.json");
        std::fs::write(&path, format!("{metrics:#}\n")).map_err(StageError::io(&path))?;
        params.history(&progress, &settings)?.write(context.output("history")?)
    }
}

impl Params {
    /// What can be told only once the images are there.
    fn check(&self, images: &Images) -> Result<(), StageError> {
        let (description, wrong) = (&images.description, |field: &str, text| StageError::Params(field.into(), text));
        if self.validation_size >= images.len() {
            let text =
                format!("holds out {} of {} images: nothing is left to train on", self.validation_size, images.len());
            return Err(wrong("validation_size", text));
        }
        let (side, [height, width]) = (self.architecture.least_side(), [description.height, description.width]);
        match height.is_multiple_of(side) && width.is_multiple_of(side) {
            true => Ok(()),
            false => {
                let text = format!("halves images until {side} pixels are one, and these have {height}×{width}");
                Err(wrong("architecture", text))
            }
        }
    }

    fn optimization(&self) -> Optimization {
        optimization!(self, loraplus_lr_ratio: None)
    }

    fn settings(&self, images: usize) -> Settings {
        let steps = fit::steps_of_epoch(images, self.per_device_train_batch_size);
        Settings {
            optim: OptimConfig { decays_vectors: true, ..self.optimization().optim_config() },
            schedule: self.optimization().schedule(self.num_train_epochs.saturating_mul(steps)),
            per_device_train_batch_size: self.per_device_train_batch_size,
            augmentation: self.augmentation.clone(),
            augments_validation: self.validation_transform == Transform::Augmented,
            logging_steps: self.logging_steps,
            saving: Saving { steps: self.save_steps, total_limit: self.save_total_limit },
        }
    }

    /// A test image as `eval` has its questions: its classes are the options, and their log-likelihoods decide.
    fn sample(&self, images: &Images, row: usize, likelihoods: &[f32]) -> Sample {
        let (id, target, answer) = (row.to_string(), images.label(row), likeliest(likelihoods));
        Sample {
            cluster: id.clone(),
            id,
            benchmark: images.description.name.clone(),
            protocol: Protocol::Loglikelihood,
            label: self.label.clone(),
            group: self.group.clone(),
            target,
            answer: Some(answer),
            correct: answer == target,
            resps: likelihoods.iter().map(|&value| f64::from(value)).collect(),
            ..Sample::default()
        }
    }

    /// Of the last epoch, of the best one, of the test set (by the network of the last epoch).
    fn metrics(&self, progress: &Progress, tested: Scored, count: usize) -> BTreeMap<String, f64> {
        let share = |value: f64| value / count.max(1) as f64;
        let mut metrics: BTreeMap<String, f64> = [("acc", share(tested.correct as f64)), ("loss", share(tested.loss))]
            .map(|(name, value)| (name.into(), value))
            .into();
        if let (Some(last), Some(best)) = (progress.log_history.last(), progress.best()) {
            let told = [
                ("train_accuracy", last.accuracy),
                ("train_loss", last.loss),
                ("eval_accuracy", last.eval_accuracy),
                ("eval_loss", last.eval_loss),
                ("best_eval_accuracy", best.eval_accuracy),
                ("best_epoch", best.epoch),
                ("epochs", last.epoch),
                ("learning_rate", last.learning_rate),
            ];
            metrics.extend(told.map(|(name, value)| (name.to_string(), value)));
        }
        for target in &self.accuracy_targets {
            let first = progress.log_history.iter().find(|epoch| epoch.accuracy >= *target);
            metrics.extend(first.map(|epoch| (format!("epochs_to_{target}"), epoch.epoch)));
        }
        metrics
    }

    fn history(&self, progress: &Progress, settings: &Settings) -> Result<History, StageError> {
        let log_history = serde_json::from_value(json!(progress.log_history)).map_err(StageError::failed)?;
        let last = progress.log_history.last();
        let lowest = progress.log_history.iter().min_by(|a, b| a.eval_loss.total_cmp(&b.eval_loss));
        let stamp = json!({ "label": self.label, "group": self.group, "optim": self.optim, "learning_rate": self.learning_rate });
        let stateful_callbacks: Map<String, Value> = [(STAMP.to_string(), stamp)].into_iter().collect();
        Ok(History {
            log_history,
            max_steps: settings.schedule.total_steps,
            train_batch_size: self.per_device_train_batch_size,
            epoch: last.map_or(0.0, |epoch| epoch.epoch),
            eval_steps: settings.schedule.total_steps / self.num_train_epochs.max(1),
            best: lowest.map(|epoch| (epoch.eval_loss, epoch.step)),
            stateful_callbacks,
            ..History::default()
        })
    }
}
