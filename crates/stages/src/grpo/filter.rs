//! Dynamic sampling (DAPO, arXiv:2503.14476): a prompt whose completions are all as good teaches nothing, so others are
//! drawn in its place. verl's `filter_groups`; where verl gives up, prompts without differences fill the generation up.

use gazal_stage_api::StageError;
use serde_json::{Map, Value, json};

use super::Params;
use super::rollout::Rollout;

/// What a generation came to be.
pub struct Generation {
    pub rollout: Rollout,
    /// Rows of the prompts that were drawn for it.
    pub rows: Vec<usize>,
    /// Batches of prompts that were drawn.
    pub draws: u64,
    /// Share of the drawn prompts whose completions differ; where the filter is on.
    pub kept_ratio: Option<f64>,
}

/// Draws batches of prompts, numbered from `first`, until a generation is full. A batch is the rows of its prompts and
/// their rollout.
///
/// # Errors
/// Those of `draw`.
pub fn generation(
    params: &Params,
    first: u64,
    mut draw: impl FnMut(u64) -> Result<(Vec<usize>, Rollout), StageError>,
) -> Result<Generation, StageError> {
    let (mut rows, mut all) = draw(first)?;
    let Some(filter) = params.filter() else {
        return Ok(Generation { rollout: all, rows, draws: 1, kept_ratio: None });
    };
    let wanted = params.prompts_per_generation();
    let mut draws = 1;
    let mut kept = all.informative(params, &filter.metric);
    while kept.len() < wanted && draws < filter.max_num_gen_batches {
        let (further, rollout) = draw(first + draws)?;
        rows.extend(further);
        all.extend(rollout);
        draws += 1;
        kept = all.informative(params, &filter.metric);
    }
    let count = all.prompts.len();
    let others = (0..count).filter(|group| !kept.contains(group));
    let groups: Vec<usize> = kept.iter().copied().chain(others).take(wanted).collect();
    let kept_ratio = Some(kept.len() as f64 / count.max(1) as f64);
    Ok(Generation { rollout: all.with_groups(params, &groups), rows, draws, kept_ratio })
}

impl Generation {
    /// TRL's metrics, and the filter's.
    pub fn metrics(&self, params: &Params) -> Map<String, Value> {
        let mut metrics = self.rollout.metrics(params);
        if let Some(ratio) = self.kept_ratio {
            metrics.insert("filter_groups/kept_ratio".into(), json!(ratio));
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gazal_lm::Generated;
    use gazal_stage_api::parse;

    use super::*;

    /// Two prompts a batch with two completions each, filtered.
    fn params(filter: &Value) -> Params {
        let table = json!({"max_steps": 1, "max_completion_length": 8, "learning_rate": 1e-3, "num_generations": 2,
            "per_device_train_batch_size": 4, "reward_funcs": ["accuracy", "format"], "filter_groups": filter});
        parse::<Params>(table.as_object().unwrap()).unwrap()
    }

    /// Batch `number` of the accuracies of its completions; their formats always differ.
    fn batch(params: &Params, number: u64, accuracies: [f64; 4]) -> (Vec<usize>, Rollout) {
        let first = 2 * number as usize;
        let rewards = vec![accuracies.to_vec(), vec![0.0, 1.0, 0.0, 1.0]];
        let rollout = Rollout {
            prompts: (first..first + 2).map(|row| vec![row as u32]).collect(),
            completions: (0..4).map(|index| Generated { ids: vec![index], ..Generated::default() }).collect(),
            advantages: gazal_train::advantages(&params.advantage_config(), &rewards, &[]),
            totals: gazal_train::totals(&rewards, &[]),
            rewards,
            ..Rollout::default()
        };
        (vec![first, first + 1], rollout)
    }

    const BATCHES: [[f64; 4]; 4] =
        [[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]];

    fn generation_of(filter: &Value) -> Generation {
        let params = params(filter);
        generation(&params, 5, |number| Ok(batch(&params, number, BATCHES[number as usize - 5]))).unwrap()
    }

    #[test]
    fn without_a_filter_the_first_batch_is_the_generation() {
        let found = generation_of(&json!({"enable": false}));
        assert_eq!((found.draws, found.kept_ratio, found.rows), (1, None, vec![10, 11]));
        assert_eq!(found.rollout.prompts, [[10], [11]]);
    }

    #[test]
    fn batches_are_drawn_until_enough_prompts_differ() {
        let found = generation_of(&json!({"metric": "accuracy_reward"}));
        assert_eq!(found.rollout.prompts, [[11], [14]], "in the order in which they were drawn");
        assert_eq!((found.draws, found.rows.len(), found.kept_ratio), (3, 6, Some(2.0 / 6.0)));
        assert!(found.rollout.advantages.iter().all(|advantage| *advantage != 0.0));
        assert_eq!(found.rollout.totals, [0.0, 2.0, 0.0, 2.0], "rewards move with their prompts");
    }

    #[test]
    fn the_metric_decides_what_a_difference_is() {
        let found = generation_of(&json!({"metric": "think_format_reward"}));
        assert_eq!((found.draws, found.rollout.prompts), (1, vec![vec![10], vec![11]]));
    }

    #[test]
    fn prompts_without_differences_fill_up_what_the_limit_leaves() {
        let found = generation_of(&json!({"metric": "accuracy_reward", "max_num_gen_batches": 2}));
        assert_eq!((found.draws, found.kept_ratio), (2, Some(0.25)));
        assert_eq!(found.rollout.prompts, [[11], [10]]);
    }
}
