//! Conditions on what stages have measured: gates and `when`.

use std::collections::BTreeMap;

use gazal_spec::{Bound, Condition, Metric, Pipeline};
use gazal_store::{Artifact, Made, Store};
use serde_json::Value;

use crate::manifest::flatten;

/// Where a stage of type `metrics` says what it measured: `{task: {metric: number}}`.
const FILE: &str = "metrics.json";

/// Where the values of conditions come from.
pub(crate) struct Metrics<'a> {
    pub store: &'a Store,
    pub pipeline: &'a Pipeline,
    /// Of the stages that are done.
    pub made: &'a [Option<Made>],
}

impl Metrics<'_> {
    /// `None` where a condition holds, otherwise why it does not: what was measured, or what is missing.
    pub fn refusal(&self, condition: &Condition) -> Option<String> {
        let Bound { metric, plus } = &condition.right;
        let right = match metric {
            Some(metric) => {
                self.values(metric).and_then(|values| values.first().map(|(_, value)| *value).ok_or_else(String::new))
            }
            None => Ok(0.0),
        };
        let (left, right) = match (self.values(&condition.left), right) {
            (Ok(left), Ok(right)) => (left, right + plus),
            (Err(why), _) | (_, Err(why)) => return Some(format!("`{}` cannot be told: {why}", condition.text)),
        };
        let (name, value) = left.into_iter().find(|(_, value)| !condition.op.holds(*value, right))?;
        Some(format!("`{}` does not hold: {name} has {value}, against {right}", condition.text))
    }

    /// Stage and value, point by point.
    fn values(&self, metric: &Metric) -> Result<Vec<(&str, f64)>, String> {
        metric
            .stages
            .iter()
            .map(|&stage| Ok((self.pipeline.stages[stage].name.as_str(), self.value(stage, metric)?)))
            .collect()
    }

    fn value(&self, stage: usize, metric: &Metric) -> Result<f64, String> {
        let name = &self.pipeline.stages[stage].name;
        let made = self.made[stage].as_ref().ok_or_else(|| format!("`{name}` has no result"))?;
        let output = made.output(&metric.output).ok_or_else(|| format!("`{name}` has no `{}`", metric.output))?;
        let all = read(self.store, &output.artifact).map_err(|error| format!("{FILE} of `{name}`: {error}"))?;
        let found = metric.path.iter().try_fold(&all, |table, step| table.get(step)).and_then(Value::as_f64);
        found.ok_or_else(|| {
            format!("{FILE} of `{name}` has no number `{}`; it has {}", metric.path.join("."), known(&all))
        })
    }
}

/// What an artifact of type `metrics` says: `{task: {metric: number}}`.
///
/// # Errors
/// Why it says nothing, for people.
pub fn read(store: &Store, artifact: &Artifact) -> Result<Value, String> {
    let folder = store.view(artifact).map_err(|error| error.to_string())?;
    let text = std::fs::read(folder.join(FILE)).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

/// The names of all numbers, to choose from.
fn known(all: &Value) -> String {
    let mut names = BTreeMap::new();
    flatten("", all.clone(), &mut names);
    names.into_keys().collect::<Vec<_>>().join(", ")
}
