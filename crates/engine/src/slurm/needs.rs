//! What a job asks of Slurm, as arguments of `sbatch`.

use std::time::Duration;

use gazal_spec::{Executor, SlurmOptions, Stage};
use serde::{Deserialize, Serialize};

/// Between a word that the time is nearly over and its end: long enough to write a checkpoint.
const NOTICE: Duration = Duration::from_secs(180);
/// Slurm may send a signal this much too early.
pub(crate) const EARLY: Duration = Duration::from_secs(60);

/// What a stage's job needs of a cluster; no part of any key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlurmNeeds {
    pub options: SlurmOptions,
    /// 0 leaves it to the cluster.
    pub cpus: u32,
    pub gpus: u32,
    /// In bytes.
    pub memory: Option<u64>,
    /// How long it may run; the time in the queue does not count.
    pub limit: Option<Duration>,
}

impl SlurmNeeds {
    /// Those of a stage that is to run on Slurm.
    pub fn of(stage: &Stage, limit: Option<Duration>) -> Option<SlurmNeeds> {
        let Executor::Slurm(options) = &*stage.executor else { return None };
        let needs = stage.needs;
        Some(SlurmNeeds { options: options.clone(), cpus: needs.cpus, gpus: needs.gpus, memory: needs.memory, limit })
    }

    /// The arguments, for any number of tasks.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let options = &self.options;
        let texts = [
            ("partition", options.partition.clone()),
            ("account", options.account.clone()),
            ("qos", options.qos.clone()),
            ("constraint", options.constraint.clone()),
            ("cpus-per-task", (self.cpus > 0).then(|| self.cpus.to_string())),
            ("gpus", (self.gpus > 0).then(|| self.gpus.to_string())),
            ("mem", self.memory.map(|bytes| format!("{}M", bytes.div_ceil(1 << 20)))),
            ("time", self.limit.map(|limit| limit.as_secs().div_ceil(60).max(1).to_string())),
            ("signal", self.notice().map(|notice| format!("B:USR1@{}", notice.as_secs()))),
        ];
        let given = texts.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value?)));
        given.chain(options.extra.iter().cloned()).collect()
    }

    /// How long before its end a job hears of it. A short job does not: the word could come at its very start. Without
    /// a limit of its own a job may still be under one of its partition.
    pub(crate) fn notice(&self) -> Option<Duration> {
        let notice = self.limit.map_or(NOTICE, |limit| (limit / 4).min(NOTICE));
        (notice >= EARLY).then_some(notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(seconds: u64) -> Vec<String> {
        SlurmNeeds { limit: Some(Duration::from_secs(seconds)), ..SlurmNeeds::default() }.arguments()
    }

    #[test]
    fn needs_become_arguments() {
        let options = SlurmOptions {
            partition: Some("gpu".into()),
            extra: vec!["--exclusive".into()],
            ..SlurmOptions::default()
        };
        let needs = SlurmNeeds { options, cpus: 4, gpus: 2, memory: Some((1 << 30) + 1), limit: None };
        let expected =
            ["--partition=gpu", "--cpus-per-task=4", "--gpus=2", "--mem=1025M", "--signal=B:USR1@180", "--exclusive"];
        assert_eq!(needs.arguments(), expected);
    }

    #[test]
    fn limits_are_whole_minutes_and_short_jobs_get_no_notice() {
        assert_eq!(limited(1), ["--time=1"]);
        assert_eq!(limited(61), ["--time=2"]);
        assert_eq!(limited(400), ["--time=7", "--signal=B:USR1@100"]);
        assert_eq!(limited(43_200), ["--time=720", "--signal=B:USR1@180"]);
    }
}
