//! `sft`: supervised fine-tuning of a LoRA, rsLoRA or DoRA adapter, or of the whole model, on conversations, prompts with
//! completions, or texts.

mod examples;
mod packing;

use std::collections::BTreeSet;

use gazal_lm::{AdapterConfig, Config, Tokenizer, missed_projections};
use gazal_stage_api::{
    Context, Declared, Forecast, Foresight, InPort, JsonSchema, Kind, Level, OutPort, PortType, Problem, StageError,
    Traits,
};
use gazal_train::{OptimArgs, OptimKind, SchedulerArgs, SchedulerType, Sequence};
use serde::{Deserialize, Serialize};

use crate::defaults::check_positive;
use crate::memory::Lengths;
use crate::optimization::{Optimization, optimization};
use crate::peft::{self, Peft, TargetModules, peft};
use crate::supervised::{self, SamplingStrategy, Settings};
use crate::{defaults, device, forecast};
use examples::{Reading, TruncationMode};
use packing::PackingStrategy;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// Whether an adapter trains: the one that is given, or a new one. Else the whole model does.
    #[serde(default = "defaults::yes")]
    pub use_peft: bool,
    #[serde(default = "peft::rank")]
    pub lora_r: usize,
    #[serde(default = "peft::alpha")]
    pub lora_alpha: f64,
    #[serde(default)]
    pub use_rslora: bool,
    #[serde(default)]
    pub use_dora: bool,
    /// Names of projections; or `all-linear`, or a regular expression for whole names.
    #[serde(default)]
    pub lora_target_modules: TargetModules,
    /// Tokens of an example, and of a row of packed ones, at most.
    #[serde(default = "defaults::max_position_embeddings")]
    pub max_length: usize,
    /// What becomes of longer examples: they are dropped, or their end is cut off.
    #[serde(default)]
    pub truncation_mode: TruncationMode,
    /// Whether of a prompt with its completion only the completion is learnt.
    #[serde(default = "defaults::yes")]
    pub completion_only_loss: bool,
    /// Whether of a conversation only what the chat template marks as the assistant's is learnt.
    #[serde(default)]
    pub assistant_only_loss: bool,
    /// Puts several examples into a row, where they do not see one another.
    #[serde(default)]
    pub packing: bool,
    #[serde(default)]
    pub packing_strategy: PackingStrategy,
    /// Noise on the embeddings while training (NEFTune), 5 for example; none if it is absent.
    #[serde(default)]
    pub neftune_noise_alpha: Option<f64>,
    /// Keeps only what goes into each layer until the backward pass, and computes the rest a second time: slower, and the
    /// memory of one layer.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    pub num_train_epochs: f64,
    pub learning_rate: f64,
    #[serde(default)]
    pub optim: OptimKind,
    /// What only some optimizers have, such as Muon's `momentum`.
    #[serde(default)]
    pub optim_args: OptimArgs,
    #[serde(default = "defaults::adam_beta1")]
    pub adam_beta1: f64,
    #[serde(default = "defaults::adam_beta2")]
    pub adam_beta2: f64,
    #[serde(default = "defaults::adam_epsilon")]
    pub adam_epsilon: f64,
    /// LoRA+: the rate of B matrices and magnitudes over that of A matrices; one rate for all if absent.
    #[serde(default)]
    pub loraplus_lr_ratio: Option<f64>,
    #[serde(default)]
    pub lr_scheduler_type: SchedulerType,
    /// What only some schedules have, such as `num_decay_steps`.
    #[serde(default)]
    pub lr_scheduler_kwargs: SchedulerArgs,
    /// Steps of warm-up as a share of all; excludes `warmup_steps`.
    #[serde(default)]
    pub warmup_ratio: f64,
    #[serde(default)]
    pub warmup_steps: u64,
    #[serde(default)]
    pub weight_decay: f64,
    #[serde(default = "defaults::one")]
    pub max_grad_norm: f64,
    #[serde(default = "defaults::batch")]
    pub per_device_train_batch_size: usize,
    #[serde(default = "defaults::single")]
    pub gradient_accumulation_steps: usize,
    /// Steps between evaluations on the split `validation`; 0 for none.
    #[serde(default)]
    pub eval_steps: u64,
    /// Evaluations without a lower held-out loss before training ends; 0 for never. The best parameters are kept.
    #[serde(default)]
    pub early_stopping_patience: u64,
    /// How much lower a held-out loss must be to count as better.
    #[serde(default)]
    pub early_stopping_threshold: f64,
    #[serde(default = "defaults::logging_steps")]
    pub logging_steps: u64,
    #[serde(default = "defaults::save_steps")]
    pub save_steps: u64,
    #[serde(default = "defaults::save_total_limit")]
    pub save_total_limit: usize,
}

pub struct Sft;

impl Kind for Sft {
    type Params = Params;
    const NAME: &'static str = "sft";
    // 3: the history has entropies, token accuracies, tokens and epochs.
    // 4: the history has TensorBoard's events.
    // 5: a text that ends with the end-of-text token gets no second one.
    const REVISION: u32 = 5;
    const DOC: &'static str = "Supervised fine-tuning of a LoRA, rsLoRA or DoRA adapter, or of the whole model.";
    const TRAITS: Traits = defaults::LEARNING;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![
            InPort::one("model", PortType::Model, "the base"),
            Peft::input("trains on; without it a new one does"),
            InPort::many(
                "dataset",
                PortType::Dataset,
                "`messages` or `conversations`, `prompt` and `completion`, `text`, or `input_ids`; splits `train` and \
                 `validation`",
            ),
        ]
    }

    fn outputs(&self, params: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            params.peft().output(),
            OutPort::value("history", PortType::Files, "`trainer_state.json` and TensorBoard's events"),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let mut problems = check_positive(&[
            ("num_train_epochs", params.num_train_epochs),
            ("per_device_train_batch_size", params.per_device_train_batch_size as f64),
            ("gradient_accumulation_steps", params.gradient_accumulation_steps as f64),
            ("logging_steps", params.logging_steps as f64),
        ]);
        problems.extend(params.optimization().problems(params.eval_steps > 0));
        if params.early_stopping_patience > 0 && params.eval_steps == 0 {
            let problem = Problem::new("early_stopping_patience", "needs `eval_steps`");
            problems.push(problem.with_help("set `eval_steps` to the steps between evaluations"));
        }
        problems.extend(params.peft().problems());
        if params.neftune_noise_alpha.is_some_and(|alpha| alpha.is_nan() || alpha <= 0.0) {
            problems.push(Problem::new("neftune_noise_alpha", "must be above 0"));
        }
        problems
    }

    fn misplaced(&self, params: &Params, inputs: &[&str]) -> Vec<Problem> {
        params.peft().misplaced(inputs)
    }

    fn forecast(&self, params: &Params, inputs: &Foresight) -> Forecast {
        let work = Some(params.num_train_epochs);
        let shapes = forecast::config(inputs, "model").zip(params.peft().foresee(inputs));
        let Some((config, learner)) = shapes else { return Forecast { work, ..Forecast::default() } };
        let settings = params.settings(0, 1);
        // How long the rows are is not known.
        let lengths = Lengths { shortest: 1, longest: 1, targets: 1 };
        let of = (&config, learner.adapter(), inputs.precision);
        Forecast {
            work,
            peak_bytes: Some(supervised::least_bytes(of, &settings, lengths)),
            outputs: learner.foreseen(&config),
            ..Forecast::default()
        }
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let device = device::open(context)?;
        let folder = context.input("model")?.to_path_buf();
        let tokenizer = Tokenizer::load(&folder).map_err(StageError::failed)?;
        let config = Config::load(&folder).map_err(StageError::failed)?;
        if params.packing && config.has_linear_attention() {
            return Err(StageError::failed(
                "`packing` is not for models with linear attention, whose state would go from \
                one example to the next: leave it out",
            ));
        }
        let train = params.rows(context, &tokenizer, "train")?;
        let validation = params.rows(context, &tokenizer, "validation")?;
        if train.is_empty() {
            return Err(StageError::failed("no training example is left: the data set is empty or all are too long"));
        }

        for warning in params.peft().warnings() {
            context.say(Level::Warning, warning);
        }
        let (learner, settings) = (params.peft().learner(context)?, params.settings(tokenizer.pad, train.len()));
        supervised::plan(context, (&config, learner.adapter()), &train, &settings)?;
        if let Some(text) = learner.adapter().and_then(|adapter| missed(&config, adapter)) {
            context.say(Level::Warning, text);
        }
        let mut decoder = learner.load(&folder, &device, context)?;
        let progress = supervised::fit(context, &mut decoder, &train, &validation, &settings)?;

        learner.save(&decoder, &tokenizer, context)?;
        supervised::history(&progress, &settings, train.len())?.write(context.output("history")?)
    }
}

/// What is said where a hybrid model's adapter leaves most of its layers as they are.
fn missed(config: &Config, adapter: &AdapterConfig) -> Option<String> {
    let missed = missed_projections(config, adapter);
    let of_layer = |name: &String| name.rsplit_once("linear_attn.").map(|(_, projection)| projection.to_string());
    let projections: BTreeSet<String> = missed.iter().filter_map(of_layer).collect();
    let layers = missed.len().checked_div(projections.len())?;
    Some(format!(
        "`lora_target_modules` reaches attention in {} of {} layers: {layers} have linear attention instead, whose {} stay \
         as they are; name them too, or take \"all-linear\"",
        config.layer_types.len() - layers,
        config.layer_types.len(),
        projections.into_iter().collect::<Vec<_>>().join(", "),
    ))
}

impl Params {
    fn peft(&self) -> Peft<'_> {
        peft!(self)
    }

    /// The rows of a split, packed where they are to be.
    fn rows(&self, context: &mut Context, tokenizer: &Tokenizer, split: &str) -> Result<Vec<Sequence>, StageError> {
        let reading = Reading {
            tokenizer,
            max_length: self.max_length,
            truncation_mode: self.truncation_mode,
            completion_only_loss: self.completion_only_loss,
            assistant_only_loss: self.assistant_only_loss,
        };
        let examples = reading.split(context, split)?;
        if !self.packing {
            return Ok(examples);
        }
        let rows = packing::pack(&examples, self.max_length, self.packing_strategy);
        context.say(Level::Info, format!("{} {split} examples are packed into {} rows", examples.len(), rows.len()));
        Ok(rows)
    }

    fn optimization(&self) -> Optimization {
        optimization!(self, loraplus_lr_ratio: self.loraplus_lr_ratio)
    }

    fn settings(&self, pad: u32, rows: usize) -> Settings {
        let window = self.per_device_train_batch_size * self.gradient_accumulation_steps;
        let steps = (self.num_train_epochs * rows as f64 / window as f64).ceil() as u64;
        Settings {
            trainable: self.peft().trainable(),
            optim: self.optimization().optim_config(),
            schedule: self.optimization().schedule(steps),
            per_device_train_batch_size: self.per_device_train_batch_size,
            gradient_accumulation_steps: self.gradient_accumulation_steps,
            max_grad_norm: self.max_grad_norm,
            logging_steps: self.logging_steps,
            save_steps: self.save_steps,
            save_total_limit: self.save_total_limit,
            eval_steps: self.eval_steps,
            early_stopping_patience: self.early_stopping_patience,
            early_stopping_threshold: self.early_stopping_threshold,
            train_sampling_strategy: SamplingStrategy::Random,
            gradient_checkpointing: self.gradient_checkpointing,
            neftune_noise_alpha: self.neftune_noise_alpha,
            pad,
        }
    }
}
