//! `pretrain`: a decoder of Qwen3's or Qwen3.5's architecture from scratch, on text packed into blocks. The stand-in, on
//! a CPU, for the base model that a full run fetches.

use gazal_lm::{Config, Initialization, Tokenizer, Trainable, init};
use gazal_stage_api::{
    Context, Declared, Forecast, Foresight, InPort, JsonSchema, Kind, OutPort, PortType, Problem, StageError, Traits,
};
use gazal_train::{OptimArgs, OptimKind, SchedulerArgs, SchedulerType, Sequence};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::defaults::check_positive;
use crate::memory::Lengths;
use crate::optimization::{Optimization, optimization};
use crate::rows::{Text, read_split};
use crate::supervised::{self, SamplingStrategy, Settings};
use crate::{defaults, device, forecast};

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    /// One layer of so many attends to all positions, the others are Gated DeltaNets, with as many heads of the same size:
    /// Qwen3.5's architecture, where it is 4. Every layer attends, as in Qwen3, if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_attention_interval: Option<usize>,
    #[serde(default = "defaults::max_position_embeddings")]
    pub max_position_embeddings: usize,
    /// `normal`, or `induction`: a small model that trains on few tokens starts with heads that copy.
    #[serde(default)]
    #[schemars(with = "String")]
    pub initialization: Initialization,
    /// Tokens of a training block.
    pub max_length: usize,
    pub max_steps: u64,
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
    #[serde(default)]
    #[schemars(with = "String")]
    pub train_sampling_strategy: SamplingStrategy,
    /// Keeps only what goes into each layer until the backward pass, and computes the rest a second time: slower, and the
    /// memory of one layer.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    #[serde(default = "defaults::logging_steps")]
    pub logging_steps: u64,
    #[serde(default = "defaults::save_steps")]
    pub save_steps: u64,
    #[serde(default = "defaults::save_total_limit")]
    pub save_total_limit: usize,
}

pub struct Pretrain;

impl Kind for Pretrain {
    type Params = Params;
    const NAME: &'static str = "pretrain";
    // 4: the history has entropies, token accuracies, tokens and epochs.
    // 5: the history has TensorBoard's events.
    const REVISION: u32 = 5;
    const DOC: &'static str = "Trains a small decoder of Qwen3's or Qwen3.5's architecture from scratch.";
    const TRAITS: Traits = defaults::LEARNING;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![
            InPort::many("dataset", PortType::Dataset, "rows of `text`"),
            InPort::one("tokenizer", PortType::Tokenizer, "decides the vocabulary"),
        ]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("model", PortType::Model, "the trained decoder with its tokenizer"),
            OutPort::value("history", PortType::Files, "`trainer_state.json` and TensorBoard's events"),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let mut problems = check_positive(&[
            ("max_steps", params.max_steps as f64),
            ("per_device_train_batch_size", params.per_device_train_batch_size as f64),
            ("gradient_accumulation_steps", params.gradient_accumulation_steps as f64),
            ("logging_steps", params.logging_steps as f64),
            ("num_hidden_layers", params.num_hidden_layers as f64),
            ("num_key_value_heads", params.num_key_value_heads as f64),
        ]);
        problems.extend(params.optimization().problems(false));
        if params.num_key_value_heads > 0 && !params.num_attention_heads.is_multiple_of(params.num_key_value_heads) {
            problems.push(Problem::new("num_attention_heads", "must be a multiple of `num_key_value_heads`"));
        }
        if !params.head_dim.is_multiple_of(2) {
            problems.push(Problem::new("head_dim", "must be even: rotary positions turn pairs"));
        }
        let small = params.num_hidden_layers < 2 || params.head_dim < 8 || params.hidden_size < params.head_dim;
        if params.initialization == Initialization::Induction && small {
            let problem = Problem::new("initialization", "`induction` does not fit into so small a model");
            problems.push(
                problem.with_help("it needs two layers, `head_dim` of 8 or more, and no more than `hidden_size`"),
            );
        }
        if params.full_attention_interval == Some(0) {
            problems.push(Problem::new("full_attention_interval", "must be at least 1"));
        }
        if params.full_attention_interval.is_some() {
            if params.initialization == Initialization::Induction {
                let problem = Problem::new("initialization", "`induction` needs two layers of Qwen3's attention");
                problems.push(problem.with_help("leave out `full_attention_interval`, or take `normal`"));
            }
            if !params.head_dim.is_multiple_of(8) {
                let problem = Problem::new("head_dim", "must be a multiple of 8: a quarter of a head turns, in pairs");
                problems.push(problem.with_help("or leave out `full_attention_interval`"));
            }
        }
        if params.max_length < 2 || params.max_length > params.max_position_embeddings {
            problems.push(Problem::new("max_length", "must be between 2 and `max_position_embeddings`"));
        }
        problems
    }

    fn forecast(&self, params: &Params, inputs: &Foresight) -> Forecast {
        let work = params.tokens() * (params.num_hidden_layers * params.hidden_size) as f64;
        let vocab_size = forecast::vocab_size(inputs, "tokenizer");
        let Some(config) = vocab_size.and_then(|size| params.config(size, (0, 0)).ok()) else {
            return Forecast { work: Some(work), ..Forecast::default() };
        };
        let length = params.max_length;
        let lengths = Lengths { shortest: length, longest: length, targets: length - 1 };
        Forecast {
            work: Some(work),
            peak_bytes: Some(supervised::least_bytes((&config, None, inputs.precision), &params.settings(0), lengths)),
            outputs: forecast::model(&config),
            ..Forecast::default()
        }
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let device = device::open(context)?;
        let tokenizer = Tokenizer::load(context.input("tokenizer")?).map_err(StageError::failed)?;
        let rows: Vec<Text> = read_split(context.inputs("dataset"), "train")?;
        let blocks = pack(&tokenizer, &rows, params.max_length)?;

        let numbers = device::tensor_numbers(context.seed, "initial weights");
        let config = params.config(tokenizer.vocab_size(), (tokenizer.eos, tokenizer.pad))?;
        let settings = params.settings(tokenizer.pad);
        supervised::plan(context, (&config, None), &blocks, &settings)?;
        let decoder = init(&config, params.initialization, &device, &numbers).map_err(StageError::failed)?;
        let mut decoder = decoder.in_precision(device::kept_in(context.device.precision));
        let progress = supervised::fit(context, &mut decoder, &blocks, &[], &settings)?;

        let folder = context.output("model")?;
        decoder.save(folder).map_err(StageError::failed)?;
        tokenizer.save(folder).map_err(StageError::failed)?;
        supervised::history(&progress, &settings, blocks.len())?.write(context.output("history")?)
    }
}

impl Params {
    /// Tokens that it will be trained on.
    fn tokens(&self) -> f64 {
        let window = self.per_device_train_batch_size * self.gradient_accumulation_steps;
        self.max_steps as f64 * (window * self.max_length) as f64
    }

    fn config(&self, vocab_size: usize, (eos, pad): (u32, u32)) -> Result<Config, StageError> {
        let (architecture, model_type) = match self.full_attention_interval {
            Some(_) => ("Qwen3_5ForCausalLM", "qwen3_5_text"),
            None => ("Qwen3ForCausalLM", "qwen3"),
        };
        let mut file = json!({
            "architectures": [architecture],
            "model_type": model_type,
            "attention_bias": false,
            "attention_dropout": 0.0,
            "hidden_act": "silu",
            "torch_dtype": "float32",
            "vocab_size": vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1_000_000.0,
            "tie_word_embeddings": true,
            "eos_token_id": eos,
            "pad_token_id": pad,
        });
        if let Some(interval) = self.full_attention_interval {
            file["full_attention_interval"] = json!(interval);
            file["attn_output_gate"] = json!(true);
            file["partial_rotary_factor"] = json!(0.25);
            file["linear_num_key_heads"] = json!(self.num_key_value_heads);
            file["linear_num_value_heads"] = json!(self.num_attention_heads);
            file["linear_key_head_dim"] = json!(self.head_dim);
            file["linear_value_head_dim"] = json!(self.head_dim);
            file["linear_conv_kernel_dim"] = json!(4);
        }
        Config::from_json(file).map_err(StageError::failed)
    }

    fn optimization(&self) -> Optimization {
        optimization!(self, loraplus_lr_ratio: None)
    }

    fn settings(&self, pad: u32) -> Settings {
        Settings {
            trainable: Trainable::Base,
            optim: self.optimization().optim_config(),
            schedule: self.optimization().schedule(self.max_steps),
            per_device_train_batch_size: self.per_device_train_batch_size,
            gradient_accumulation_steps: self.gradient_accumulation_steps,
            max_grad_norm: self.max_grad_norm,
            logging_steps: self.logging_steps,
            save_steps: self.save_steps,
            save_total_limit: self.save_total_limit,
            eval_steps: 0,
            early_stopping_patience: 0,
            early_stopping_threshold: 0.0,
            train_sampling_strategy: self.train_sampling_strategy,
            gradient_checkpointing: self.gradient_checkpointing,
            neftune_noise_alpha: None,
            pad,
        }
    }
}

/// Texts one after another, an end-of-text token between them, cut into blocks of `length`; the rest is left out.
fn pack(tokenizer: &Tokenizer, rows: &[Text], length: usize) -> Result<Vec<Sequence>, StageError> {
    let mut ids = Vec::new();
    for row in rows {
        ids.extend(tokenizer.encode(&row.text).map_err(StageError::failed)?);
        ids.push(tokenizer.eos);
    }
    let blocks: Vec<Sequence> = ids.chunks_exact(length).map(|block| Sequence::new(block.to_vec(), 1)).collect();
    if blocks.is_empty() {
        return Err(StageError::failed(format!(
            "the data set has {} tokens, fewer than one block of {length}",
            ids.len()
        )));
    }
    Ok(blocks)
}
