//! Which optimizer, and its numbers, as transformers spells them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `optim`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OptimKind {
    /// EXAdam, second version.
    #[default]
    Exadam,
    /// EXAdam, first version, with its growing step.
    ExadamV1,
    Adamw,
    /// Adam with weight decay in the gradient.
    Adam,
    /// Second moments of matrices as a row and a column; no first moments.
    Adafactor,
    /// The sign of a momentum. `adam_beta2` is best at 0.99, the rate at a third to a tenth of AdamW's.
    Lion,
    /// Orthogonalised momentum for matrices, AdamW for the rest, at one rate.
    Muon,
    /// With `momentum`, if that is given.
    Sgd,
    Rmsprop,
    /// Its rate is a factor of the step that it finds by itself: 1 is the paper's.
    Adadelta,
}

impl OptimKind {
    /// Whether weight decay is added to the gradient, as PyTorch does for those that are older than AdamW.
    pub(super) fn is_coupled(self) -> bool {
        matches!(self, OptimKind::Adam | OptimKind::Sgd | OptimKind::Rmsprop | OptimKind::Adadelta)
    }

    /// Numbers that the state keeps of a parameter, at least, by its name in a checkpoint and its shape: `sgd` keeps as
    /// many as the parameter has where it has `momentum`.
    pub fn state_numbers(self, name: &str, shape: &[usize]) -> usize {
        let count = shape.iter().product();
        match (self, shape) {
            (OptimKind::Sgd, _) => 0,
            (OptimKind::Lion | OptimKind::Rmsprop, _) => count,
            (OptimKind::Adafactor, [rows, columns]) => rows + columns,
            (OptimKind::Adafactor, _) => count,
            (OptimKind::Muon, [_, _]) if !is_vocabulary(name) => count,
            (OptimKind::Exadam | OptimKind::ExadamV1 | OptimKind::Adam | OptimKind::Adamw, _) => 2 * count,
            (OptimKind::Muon | OptimKind::Adadelta, _) => 2 * count,
        }
    }
}

/// Whether a parameter is the embeddings or the head, of which Muon makes none of its matrices.
pub(super) fn is_vocabulary(name: &str) -> bool {
    name.ends_with("embed_tokens.weight") || name.ends_with("lm_head.weight")
}

/// `optim_args`: what only some optimizers have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptimArgs {
    /// Of `muon`, 0.95 if absent, and of `sgd`, 0 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// Of `muon`: Newton–Schulz iterations; 5 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ns_steps: Option<usize>,
    /// Of `adafactor`: the root mean square that an update may have; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_threshold: Option<f64>,
    /// Of `adafactor`: the second moments' decay at step t is `1 − t^decay_rate`; −0.8 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decay_rate: Option<f64>,
    /// Of `rmsprop`: what is kept of the mean of squared gradients; 0.99 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Of `adadelta`: what is kept of the means of squared gradients and of squared steps; 0.9 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rho: Option<f64>,
    /// Of `rmsprop`, 1e-8 if absent, and of `adadelta`, 1e-6 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eps: Option<f64>,
}

impl OptimArgs {
    /// Those that are given and that the optimizer does not have.
    pub fn unused(&self, kind: OptimKind) -> Vec<&'static str> {
        use OptimKind::{Adadelta, Adafactor, Muon, Rmsprop, Sgd};
        let all: [(_, _, &[OptimKind]); 7] = [
            ("momentum", self.momentum.is_some(), &[Muon, Sgd]),
            ("ns_steps", self.ns_steps.is_some(), &[Muon]),
            ("clip_threshold", self.clip_threshold.is_some(), &[Adafactor]),
            ("decay_rate", self.decay_rate.is_some(), &[Adafactor]),
            ("alpha", self.alpha.is_some(), &[Rmsprop]),
            ("rho", self.rho.is_some(), &[Adadelta]),
            ("eps", self.eps.is_some(), &[Rmsprop, Adadelta]),
        ];
        all.into_iter().filter(|(_, given, of)| *given && !of.contains(&kind)).map(|(name, ..)| name).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimConfig {
    pub kind: OptimKind,
    /// `adam_beta1`; Lion's first factor.
    pub beta1: f64,
    /// `adam_beta2`; Lion's second factor.
    pub beta2: f64,
    /// `adam_epsilon`.
    pub epsilon: f64,
    pub weight_decay: f64,
    /// Whether biases and norms decay too, as PyTorch's optimizers have it of themselves.
    pub decays_vectors: bool,
    /// LoRA+: the rate of B matrices and magnitudes over that of A matrices.
    pub loraplus_lr_ratio: Option<f64>,
    pub args: OptimArgs,
}

impl Default for OptimConfig {
    fn default() -> OptimConfig {
        OptimConfig {
            kind: OptimKind::Exadam,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            decays_vectors: false,
            loraplus_lr_ratio: None,
            args: OptimArgs::default(),
        }
    }
}
