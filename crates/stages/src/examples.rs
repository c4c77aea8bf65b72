//! Examples beside the rewards of a pipeline: one that does not hold is a problem of the stage.

use gazal_stage_api::Problem;
use gazal_tasks::Reward;

/// A problem for each example of the reward at `field` that does not hold; `limit` is the longest completion.
pub fn failing_examples(field: &str, reward: &Reward, limit: usize) -> Vec<Problem> {
    let problem = |(at, what): (usize, String)| {
        let problem = Problem::new(&format!("{field}.tests[{at}]"), format!("{}: {what}", reward.name()));
        problem.with_help("change the example, or the reward's parameters")
    };
    reward.failures(limit).into_iter().map(problem).collect()
}
