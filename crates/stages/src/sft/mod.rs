//! `sft`: supervised fine-tuning of a LoRA, rsLoRA or DoRA adapter on prompts and completions; the loss is on the
//! completion only.

use gazal_lm::{AdapterConfig, Decoder, Targets, Tokenizer, Trainable, new_adapter, save_adapter};
use gazal_stage_api::{
    Context, Declared, InPort, JsonSchema, Kind, Level, OutPort, PortType, Problem, StageError, Traits,
};
use gazal_train::{OptimArgs, OptimKind, SchedulerArgs, SchedulerType, Sequence};
use serde::{Deserialize, Serialize};

use crate::optimization::Optimization;
use crate::rows::{PromptCompletion, read_split};
use crate::supervised::{self, SamplingStrategy, Settings, check_positive};
use crate::{defaults, device};

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    #[serde(default = "rank")]
    pub lora_r: usize,
    #[serde(default = "alpha")]
    pub lora_alpha: f64,
    #[serde(default)]
    pub use_rslora: bool,
    #[serde(default)]
    pub use_dora: bool,
    #[serde(default = "defaults::all_projections")]
    pub lora_target_modules: Vec<String>,
    /// Longer examples are dropped and counted.
    #[serde(default = "defaults::max_position_embeddings")]
    pub max_length: usize,
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

fn rank() -> usize {
    16
}

fn alpha() -> f64 {
    32.0
}

pub struct Sft;

impl Kind for Sft {
    type Params = Params;
    const NAME: &'static str = "sft";
    const REVISION: u32 = 1;
    const DOC: &'static str = "Supervised fine-tuning with LoRA, rsLoRA and DoRA adapters.";
    const TRAITS: Traits = defaults::LEARNING;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![
            InPort::one("model", PortType::Model, "the base, frozen"),
            InPort::many("dataset", PortType::Dataset, "`prompt`, `completion`; splits `train` and `validation`"),
        ]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("adapter", PortType::Adapter, "a PEFT folder"),
            OutPort::value("history", PortType::Files, "`trainer_state.json`"),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let mut problems = check_positive(&[
            ("num_train_epochs", params.num_train_epochs),
            ("lora_r", params.lora_r as f64),
            ("lora_alpha", params.lora_alpha),
            ("per_device_train_batch_size", params.per_device_train_batch_size as f64),
            ("gradient_accumulation_steps", params.gradient_accumulation_steps as f64),
            ("logging_steps", params.logging_steps as f64),
        ]);
        problems.extend(params.optimization().problems(params.eval_steps > 0));
        if params.early_stopping_patience > 0 && params.eval_steps == 0 {
            let problem = Problem::new("early_stopping_patience", "needs `eval_steps`");
            problems.push(problem.with_help("set `eval_steps` to the steps between evaluations"));
        }
        problems.extend(defaults::unknown_projections("lora_target_modules", &params.lora_target_modules));
        problems
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let device = device::open(context)?;
        let folder = context.input("model")?;
        let tokenizer = Tokenizer::load(folder).map_err(StageError::failed)?;
        let mut decoder = Decoder::load(folder, &device).map_err(StageError::failed)?;
        let train = sequences(context, &tokenizer, "train", params.max_length)?;
        let validation = sequences(context, &tokenizer, "validation", params.max_length)?;
        if train.is_empty() {
            return Err(StageError::failed("no training example is left: the data set is empty or all are too long"));
        }

        let adapter = params.adapter();
        new_adapter(&mut decoder, &adapter, &device::tensor_numbers(context.seed, "initial adapter"));
        let settings = params.settings(&tokenizer, train.len());
        let progress = supervised::fit(context, &mut decoder, &train, &validation, &settings)?;

        save_adapter(&decoder, &adapter, context.output("adapter")?).map_err(StageError::failed)?;
        supervised::write_history(context.output("history")?, &progress, &settings, train.len())
    }
}

impl Params {
    fn adapter(&self) -> AdapterConfig {
        let targets = Targets::Names(self.lora_target_modules.clone());
        AdapterConfig {
            use_rslora: self.use_rslora,
            use_dora: self.use_dora,
            ..AdapterConfig::new(self.lora_r, self.lora_alpha, targets)
        }
    }

    fn optimization(&self) -> Optimization {
        Optimization {
            optim: self.optim,
            optim_args: self.optim_args,
            adam_beta1: self.adam_beta1,
            adam_beta2: self.adam_beta2,
            adam_epsilon: self.adam_epsilon,
            weight_decay: self.weight_decay,
            loraplus_lr_ratio: self.loraplus_lr_ratio,
            learning_rate: self.learning_rate,
            lr_scheduler_type: self.lr_scheduler_type,
            lr_scheduler_kwargs: self.lr_scheduler_kwargs,
            warmup_ratio: self.warmup_ratio,
            warmup_steps: self.warmup_steps,
        }
    }

    fn settings(&self, tokenizer: &Tokenizer, rows: usize) -> Settings {
        let window = self.per_device_train_batch_size * self.gradient_accumulation_steps;
        let steps = (self.num_train_epochs * rows as f64 / window as f64).ceil() as u64;
        Settings {
            trainable: Trainable::Adapters,
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
            pad: tokenizer.pad,
        }
    }
}

/// Prompt and completion tokenised apart and joined, the eos learnt with the completion; what is too long is dropped
/// and said.
fn sequences(
    context: &mut Context,
    tokenizer: &Tokenizer,
    split: &str,
    max_length: usize,
) -> Result<Vec<Sequence>, StageError> {
    let rows: Vec<PromptCompletion> = read_split(context.inputs("dataset"), split)?;
    let count = rows.len();
    let mut kept = Vec::with_capacity(count);
    for row in rows {
        let mut ids = tokenizer.encode(&row.prompt).map_err(StageError::failed)?;
        let learn_from = ids.len();
        ids.extend(tokenizer.encode(&row.completion).map_err(StageError::failed)?);
        ids.push(tokenizer.eos);
        if ids.len() <= max_length {
            kept.push(Sequence { ids, learn_from });
        }
    }
    if kept.len() < count {
        let dropped = count - kept.len();
        context.say(
            Level::Warning,
            format!("{dropped} of {count} {split} examples are longer than {max_length} tokens and were dropped"),
        );
    }
    Ok(kept)
}
