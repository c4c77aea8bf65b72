//! `train-character-model`: small decoders over characters, as the optimizer study of EXAdam (arXiv:2412.20302) trains one
//! on Shakespeare, and `play`, a text that is always there.
//!
//! What a run draws comes from its seed (where the rows of a batch begin, what dropout does, what is evaluated), so
//! trainings of one seed see the same; the initial weights may have a seed of their own. In the notebook of the study no
//! two optimizers share any of it.

mod design;
mod fit;
mod model;
mod play;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use gazal_stage_api::{
    Context, Declared, InPort, JsonSchema, Kind, OutPort, PortType, Precision, Problem, StageError, Traits,
};
use gazal_train::{OptimArgs, OptimConfig, OptimKind, SchedulerArgs, SchedulerType};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::checkpoints::Saving;
use crate::defaults::check_positive;
use crate::history::History;
use crate::optimization::{Optimization, optimization};
use crate::{defaults, device};
use design::Design;
use fit::{Progress, Settings};
use model::Network;
pub use play::Play;
use text::Text;

/// Under this name the history says what was trained.
pub const STAMP: &str = "character_model";

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// What a report calls this training.
    pub label: String,
    /// Trainings of the same group, such as a seed, are compared with one another.
    #[serde(default)]
    pub group: String,
    #[serde(default = "n_layer")]
    pub n_layer: usize,
    /// Of each layer; they share its width.
    #[serde(default = "n_head")]
    pub n_head: usize,
    /// The width.
    #[serde(default = "n_embd")]
    pub n_embd: usize,
    /// Characters of a row, and as many positions.
    #[serde(default = "block_size")]
    pub block_size: usize,
    #[serde(default = "dropout")]
    pub dropout: f64,
    pub max_steps: u64,
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
    /// What only some schedules have, such as the `patience` of `reduce_lr_on_plateau`, in evaluations.
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
    /// Rows of a batch.
    #[serde(default = "batch")]
    pub per_device_train_batch_size: usize,
    /// Steps between evaluations; the last step is followed by one in any case.
    #[serde(default = "eval_steps")]
    pub eval_steps: u64,
    /// Batches that an evaluation takes of the text that is trained on, and as many of the text that is held out.
    #[serde(default = "eval_batches")]
    pub eval_batches: u64,
    /// Of the initial weights; the stage's seed if it is absent.
    #[serde(default)]
    pub init_seed: Option<u64>,
    #[serde(default = "defaults::logging_steps")]
    pub logging_steps: u64,
    #[serde(default = "save_steps")]
    pub save_steps: u64,
    #[serde(default = "defaults::save_total_limit")]
    pub save_total_limit: usize,
}

fn n_layer() -> usize {
    2
}

fn n_head() -> usize {
    4
}

fn n_embd() -> usize {
    64
}

fn block_size() -> usize {
    64
}

fn dropout() -> f64 {
    0.2
}

fn batch() -> usize {
    16
}

fn eval_steps() -> u64 {
    100
}

fn eval_batches() -> u64 {
    20
}

/// Seldom: what is lost by a kill is less than what writing takes.
fn save_steps() -> u64 {
    500
}

pub struct TrainCharacterModel;

impl Kind for TrainCharacterModel {
    type Params = Params;
    const NAME: &'static str = "train-character-model";
    const REVISION: u32 = 1;
    const DOC: &'static str = "Trains a small decoder over the characters of a text, to compare optimizers.";
    const TRAITS: Traits = defaults::LEARNING;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![InPort::one("dataset", PortType::Files, "a folder with one `.txt` file, such as the output of `play`")]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("metrics", PortType::Metrics, "`metrics.json`: {text: {metric: number}}"),
            OutPort::value(
                "history",
                PortType::Files,
                "`trainer_state.json`, an entry an evaluation, and TensorBoard's events",
            ),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let mut problems = check_positive(&[
            ("n_layer", params.n_layer as f64),
            ("n_head", params.n_head as f64),
            ("n_embd", params.n_embd as f64),
            ("block_size", params.block_size as f64),
            ("max_steps", params.max_steps as f64),
            ("per_device_train_batch_size", params.per_device_train_batch_size as f64),
            ("eval_steps", params.eval_steps as f64),
            ("eval_batches", params.eval_batches as f64),
            ("logging_steps", params.logging_steps as f64),
        ]);
        if params.n_head > 0 && !params.n_embd.is_multiple_of(params.n_head) {
            let message = format!("does not divide `n_embd`, which is {}", params.n_embd);
            problems.push(Problem::new("n_head", message).with_help("heads share the width among them"));
        }
        if !(0.0..1.0).contains(&params.dropout) {
            problems.push(Problem::new("dropout", "must be in [0, 1)"));
        }
        problems.extend(params.optimization().problems(true));
        problems
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        if context.device.precision != Precision::F32 {
            return Err(StageError::failed("this model is trained in float32: set `precision = \"f32\"`"));
        }
        let device = device::open(context)?;
        let text = text::read(context.input("dataset")?)?;
        params.check(&text)?;
        let (design, settings) = (params.design(&text), params.settings());
        let numbers = device::tensor_numbers(params.init_seed.unwrap_or(context.seed), "initial weights");
        let mut network = Network::new(design, &device, &numbers);
        let progress = fit::fit(context, &mut network, &text, &settings)?;

        let metrics = json!({ &text.name: metrics(&progress, &design) });
        let path = context.output("metrics")?.join("metrics.json");
        std::fs::write(&path, format!("{metrics:#}\n")).map_err(StageError::io(&path))?;
        params.history(&progress, &text)?.write(context.output("history")?)
    }
}

impl Params {
    /// What can be told only once the text is there.
    fn check(&self, text: &Text) -> Result<(), StageError> {
        let [train, validation] = [text.train(), text.validation()].map(<[usize]>::len);
        match train.min(validation) >= self.block_size.saturating_add(2) {
            true => Ok(()),
            false => {
                let text = format!(
                    "is {}, which does not fit into the parts of the text: {train} characters to train on, {validation} \
                     held out",
                    self.block_size
                );
                Err(StageError::Params("block_size".into(), text))
            }
        }
    }

    fn optimization(&self) -> Optimization {
        optimization!(self, loraplus_lr_ratio: None)
    }

    fn design(&self, text: &Text) -> Design {
        Design {
            n_layer: self.n_layer,
            n_head: self.n_head,
            n_embd: self.n_embd,
            block_size: self.block_size,
            characters: text.characters,
            dropout: self.dropout,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            optim: OptimConfig { decays_vectors: true, ..self.optimization().optim_config() },
            schedule: self.optimization().schedule(self.max_steps),
            batch: [self.per_device_train_batch_size, self.block_size],
            eval_steps: self.eval_steps,
            eval_batches: self.eval_batches,
            logging_steps: self.logging_steps,
            saving: Saving { steps: self.save_steps, total_limit: self.save_total_limit },
        }
    }

    fn history(&self, progress: &Progress, text: &Text) -> Result<History, StageError> {
        let log_history = serde_json::from_value(json!(progress.log_history)).map_err(StageError::failed)?;
        let seen = self.max_steps * (self.per_device_train_batch_size * self.block_size) as u64;
        let stamp = json!({ "label": self.label, "group": self.group, "optim": self.optim, "learning_rate": self.learning_rate });
        let stateful_callbacks: Map<String, Value> = [(STAMP.to_string(), stamp)].into_iter().collect();
        Ok(History {
            log_history,
            max_steps: self.max_steps,
            train_batch_size: self.per_device_train_batch_size,
            epoch: seen as f64 / text.train().len() as f64,
            num_input_tokens_seen: seen,
            eval_steps: self.eval_steps,
            best: progress.best().map(|best| (best.eval_loss, best.step)),
            stateful_callbacks,
        })
    }
}

/// Of the last evaluation, of the best one, and of the model.
fn metrics(progress: &Progress, design: &Design) -> BTreeMap<&'static str, f64> {
    let mut metrics: BTreeMap<&str, f64> =
        [("parameters", design.count() as f64), ("characters", design.characters as f64)].into();
    if let (Some(last), Some(best)) = (progress.log_history.last(), progress.best()) {
        metrics.extend([
            ("train_loss", last.eval_train_loss),
            ("eval_loss", last.eval_loss),
            ("best_eval_loss", best.eval_loss),
            ("best_step", best.step as f64),
            ("steps", last.step as f64),
            ("learning_rate", last.learning_rate),
        ]);
    }
    metrics
}
