//! Presets: what published recipes say, for parameters that a file does not give.
//!
//! They are put in as a table is read, and the preset itself is not written again: keys hold the values that are used,
//! however they came about.

use gazal_stage_api::JsonSchema;
use gazal_train::{ImportanceSampling, LossType, ScaleRewards};
use serde::{Deserialize, Serialize};

use super::{FilterGroups, Params};
use crate::defaults;

/// `preset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Preset {
    /// arXiv:2402.03300: means by completion, a KL of 0.04.
    Grpo,
    /// arXiv:2503.20783: neither lengths nor deviations divide.
    DrGrpo,
    /// arXiv:2503.14476: clip higher, truncated completions masked, dynamic sampling by accuracy. Its length penalty is
    /// a reward: `soft_overlong`.
    Dapo,
    /// arXiv:2507.18071: ratios of completions, clipped narrowly, four optimizer steps a generation.
    Gspo,
}

/// What a preset decides.
struct Values {
    loss_type: LossType,
    importance_sampling_level: ImportanceSampling,
    epsilon: f64,
    epsilon_high: Option<f64>,
    beta: f64,
    scale_rewards: ScaleRewards,
    mask_truncated_completions: bool,
    filter_groups: FilterGroups,
    /// Optimizer steps that go once through a generation.
    windows: usize,
}

impl Values {
    fn of(preset: Option<Preset>) -> Values {
        let none = Values {
            loss_type: LossType::Dapo,
            importance_sampling_level: ImportanceSampling::Token,
            epsilon: 0.2,
            epsilon_high: None,
            beta: 0.0,
            scale_rewards: ScaleRewards::Group,
            mask_truncated_completions: false,
            filter_groups: FilterGroups {
                enable: false,
                metric: defaults::filter_metric(),
                max_num_gen_batches: defaults::max_num_gen_batches(),
            },
            windows: 1,
        };
        match preset {
            None => none,
            Some(Preset::Grpo) => Values { loss_type: LossType::Grpo, beta: 0.04, ..none },
            Some(Preset::DrGrpo) => Values { loss_type: LossType::DrGrpo, scale_rewards: ScaleRewards::None, ..none },
            Some(Preset::Dapo) => Values {
                epsilon_high: Some(0.28),
                mask_truncated_completions: true,
                filter_groups: FilterGroups { enable: true, metric: "accuracy_reward".into(), ..none.filter_groups },
                ..none
            },
            Some(Preset::Gspo) => Values {
                loss_type: LossType::Grpo,
                importance_sampling_level: ImportanceSampling::Sequence,
                epsilon: 3e-4,
                epsilon_high: Some(4e-4),
                windows: 4,
                ..none
            },
        }
    }
}

impl Params {
    /// With what the preset, or else the default, says for what is absent.
    pub(super) fn filled(mut self) -> Params {
        let values = Values::of(self.preset.take());
        self.loss_type.get_or_insert(values.loss_type);
        self.importance_sampling_level.get_or_insert(values.importance_sampling_level);
        // A bound of one's own is not widened by the preset's other one.
        if self.epsilon.is_none() {
            self.epsilon_high = self.epsilon_high.or(values.epsilon_high);
        }
        self.epsilon.get_or_insert(values.epsilon);
        self.beta.get_or_insert(values.beta);
        self.scale_rewards.get_or_insert(values.scale_rewards);
        self.mask_truncated_completions.get_or_insert(values.mask_truncated_completions);
        self.filter_groups.get_or_insert(values.filter_groups);
        self.with_generation(values.windows)
    }

    /// One way to say how much is generated together; what cannot be said that way stays, for the checks.
    fn with_generation(mut self, windows: usize) -> Params {
        let micro_batch = self.per_device_train_batch_size.max(1);
        match (self.steps_per_generation, self.generation_batch_size) {
            (None, None) => self.steps_per_generation = Some(self.gradient_accumulation_steps * windows),
            (None, Some(size)) if size.is_multiple_of(micro_batch) => {
                self.steps_per_generation = Some(size / micro_batch);
                self.generation_batch_size = None;
            }
            _ => {}
        }
        self
    }
}
