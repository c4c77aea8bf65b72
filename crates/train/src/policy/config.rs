//! The choices of a policy loss, spelled as TRL spells them, and as verl where TRL has no name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `loss_type`: what a token's loss is, and how per-token losses become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossType {
    /// Mean over tokens of each completion, then over completions.
    Grpo,
    /// Mean over all tokens of the micro-batch.
    Bnpo,
    /// Sum over tokens divided by `rows × max_completion_length`.
    DrGrpo,
    /// Sum over tokens divided by all tokens of the accumulation window.
    #[default]
    Dapo,
    /// REINFORCE with the ratio as a constant weight, at most `epsilon_high`; normalised as `dapo`.
    Cispo,
    /// Sum over tokens of each completion, mean over completions: with a ratio of the whole completion, its loss
    /// times its length.
    Luspo,
}

/// `importance_sampling_level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportanceSampling {
    #[default]
    Token,
    /// One ratio for a completion, the geometric mean of its tokens' (GSPO). Its gradient goes through the mean, so
    /// every token gets an equal share of the completion's.
    Sequence,
    /// The same ratio as a constant, times the token's own ratio to itself (GSPO-token): every token gets its own
    /// share. Differs from `sequence` only where tokens of a completion weigh differently.
    SequenceToken,
}

/// `scale_rewards`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScaleRewards {
    #[default]
    Group,
    Batch,
    None,
}

/// `multi_objective_aggregation`: how several rewards become one advantage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MultiObjectiveAggregation {
    /// Advantages of the weighted sum.
    #[default]
    SumThenNormalize,
    /// Each reward normalised in its group, their weighted sum normalised over the batch (GDPO, arXiv:2601.05242).
    NormalizeThenSum,
}

/// Estimators of the KL divergence to the reference from one sample (J. Schulman, *Approximating KL Divergence*).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KlEstimator {
    /// `log π/π_ref`: unbiased, may be negative.
    K1,
    /// `(log π/π_ref)²/2`: biased, of low variance.
    K2,
    /// `π_ref/π − 1 − log π_ref/π`: unbiased, never negative. TRL's.
    #[default]
    K3,
}

/// Parameters of [`policy_loss`](super::policy_loss); the default has TRL's values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolicyConfig {
    pub loss_type: LossType,
    pub importance_sampling_level: ImportanceSampling,
    /// The ratio is clipped to `[1 − epsilon, 1 + epsilon_high]`.
    pub epsilon: f64,
    /// For `cispo` the bound of the ratio itself.
    pub epsilon_high: f64,
    /// The largest ratio where the clip does not bind, that is, for negative advantages (two-sided clipping,
    /// arXiv:2505.07291).
    pub delta: Option<f64>,
    /// verl's dual clip (arXiv:1912.09729): the loss of a negative advantage is at most `−clip_ratio_c · Â`.
    pub clip_ratio_c: Option<f64>,
    /// Weight of the KL to the reference; with 0 no reference is needed.
    pub beta: f64,
    pub kl_estimator: KlEstimator,
    /// The KL of a token times its importance ratio, so that it is of the present policy and not of the sampler.
    pub use_bias_correction_kl: bool,
    /// Weight of the mean entropy, which is taken off the loss.
    pub entropy_coef: f64,
    /// Share of the micro-batch's tokens, those of the highest entropy, that the surrogate learns from
    /// (arXiv:2506.01939).
    pub top_entropy_quantile: f64,
    pub max_completion_length: usize,
}

impl Default for PolicyConfig {
    fn default() -> PolicyConfig {
        PolicyConfig {
            loss_type: LossType::default(),
            importance_sampling_level: ImportanceSampling::default(),
            epsilon: 0.2,
            epsilon_high: 0.2,
            delta: None,
            clip_ratio_c: None,
            beta: 0.0,
            kl_estimator: KlEstimator::default(),
            use_bias_correction_kl: false,
            entropy_coef: 0.0,
            top_entropy_quantile: 1.0,
            max_completion_length: 256,
        }
    }
}

impl PolicyConfig {
    /// Whether a completion without an advantage can still move the policy.
    pub fn learns_without_advantage(&self) -> bool {
        self.beta != 0.0 || self.entropy_coef != 0.0
    }
}
