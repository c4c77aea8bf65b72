//! Results and samples as lm-evaluation-harness (0.4.13) writes them, for what reads its files: a task of each benchmark
//! and protocol, metrics with their standard errors, and of each question what was asked and said. What it says of times
//! and machines is not in it.

mod samples;

use std::collections::BTreeMap;
use std::path::Path;

use gazal_data::jsonl;
use gazal_stage_api::StageError;
use gazal_tasks::scoring::mean_stderr;
use gazal_tasks::{Benchmark, Item};
use serde_json::{Map, Value, json};

use super::{Params, Protocol, Sample};

/// By the names of tasks.
type Tasks<'a> = BTreeMap<String, Vec<&'a Sample>>;

/// `results.json`, and `samples_TASK.jsonl` of each task.
///
/// # Errors
/// A file that cannot be written.
pub fn write(
    folder: &Path,
    params: &Params,
    sets: &[(&'static Benchmark, Vec<Item>)],
    samples: &[Sample],
) -> Result<(), StageError> {
    let tasks = tasks(samples);
    let path = folder.join("results.json");
    std::fs::write(&path, format!("{:#}\n", results(params, &tasks))).map_err(StageError::io(&path))?;
    for (task, samples) in &tasks {
        let is_asked = |name: &str| samples.first().is_some_and(|sample| sample.benchmark == name);
        let set = sets.iter().find(|(benchmark, _)| is_asked(benchmark.name));
        let Some((benchmark, items)) = set else { continue };
        let asked = samples::Asked { params, benchmark, items };
        let path = folder.join(format!("samples_{task}.jsonl"));
        jsonl::write_all(&path, asked.rows(samples)).map_err(StageError::failed)?;
    }
    Ok(())
}

fn tasks(samples: &[Sample]) -> Tasks<'_> {
    let mut tasks = Tasks::new();
    samples.iter().for_each(|sample| tasks.entry(task(sample)).or_default().push(sample));
    tasks
}

/// `results.json`.
fn results(params: &Params, tasks: &Tasks) -> Value {
    let of = |tell: &dyn Fn(&str, &[&Sample]) -> Value| {
        tasks.iter().map(|(name, samples)| (name.clone(), tell(name, samples))).collect::<Map<String, Value>>()
    };
    json!({
        "results": of(&|name, samples| result(name, samples)),
        "group_subtasks": of(&|_, _| json!([])),
        "configs": of(&|name, samples| config(params, name, samples)),
        "versions": of(&|_, _| json!(super::Eval::VERSION)),
        "n-shot": of(&|_, _| json!(0)),
        "higher_is_better": of(&|_, samples| json!({ metric(samples): true })),
        "n-samples": of(&|_, samples| json!({ "original": samples.len(), "effective": samples.len() })),
        "config": { "model": "gazal-pipe", "model_args": params.label, "limit": params.limit },
    })
}

fn task(sample: &Sample) -> String {
    match sample.protocol {
        Protocol::Loglikelihood => sample.benchmark.clone(),
        Protocol::GenerateCot => format!("{}_generate_cot", sample.benchmark),
    }
}

const ACCURACY: &str = "acc";

fn metric(samples: &[&Sample]) -> &'static str {
    match samples.first().map(|sample| sample.protocol) {
        Some(Protocol::GenerateCot) => "exact_match",
        _ => ACCURACY,
    }
}

/// How an answer was read.
fn filter(samples: &[&Sample]) -> &'static str {
    if metric(samples) == ACCURACY { "none" } else { "last-match-after-think" }
}

/// What was measured of samples of one task, one value of each.
fn measured(samples: &[&Sample]) -> Vec<(&'static str, Vec<f64>)> {
    let values = |right: &dyn Fn(&Sample) -> Option<bool>| -> Option<Vec<f64>> {
        samples.iter().map(|sample| right(sample).map(|right| f64::from(u8::from(right)))).collect()
    };
    let correct = values(&|sample| Some(sample.correct)).map(|values| (metric(samples), values));
    let normalized = values(&|sample| sample.right_by.get(super::NORMALIZED).copied());
    correct.into_iter().chain(normalized.map(|values| (super::NORMALIZED, values))).collect()
}

fn result(name: &str, samples: &[&Sample]) -> Value {
    let mut result = Map::from_iter([("alias".to_string(), name.into())]);
    for (metric, values) in measured(samples) {
        if let Some((mean, error)) = mean_stderr(&values) {
            result.insert(format!("{metric},{}", filter(samples)), mean.into());
            result.insert(format!("{metric}_stderr,{}", filter(samples)), error.into());
        }
    }
    Value::Object(result)
}

fn config(params: &Params, name: &str, samples: &[&Sample]) -> Value {
    let generated = metric(samples) != ACCURACY;
    let mut config = json!({
        "task": name,
        "output_type": if generated { "generate_until" } else { "multiple_choice" },
        "num_fewshot": 0,
        "repeats": if generated { params.num_generations } else { 1 },
    });
    if generated {
        config["generation_kwargs"] = generation(params);
    }
    config
}

fn generation(params: &Params) -> Value {
    json!({
        "max_gen_toks": params.max_new_tokens, "do_sample": params.temperature > 0.0,
        "temperature": params.temperature, "top_p": params.top_p, "top_k": params.top_k,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn tasks_have_their_metrics_and_errors() {
        let params: Params = serde_json::from_value(json!({ "label": "m" })).unwrap_or_else(|error| panic!("{error}"));
        let mut samples = vec![sample(Protocol::Loglikelihood, true), sample(Protocol::Loglikelihood, false)];
        for sample in &mut samples {
            sample.right_by.insert(super::super::NORMALIZED.into(), true);
        }
        samples.push(sample(Protocol::GenerateCot, true));
        let results = results(&params, &tasks(&samples));
        let [scored, generated] = ["medqa", "medqa_generate_cot"].map(|task| &results["results"][task]);
        assert_eq!((&scored["acc,none"], &scored["acc_stderr,none"]), (&json!(0.5), &json!(0.5)));
        assert_eq!(scored["acc_norm,none"], 1.0);
        assert_eq!(generated["exact_match,last-match-after-think"], 1.0);
        assert_eq!(results["n-samples"]["medqa"]["effective"], 2);
        assert_eq!(results["configs"]["medqa_generate_cot"]["output_type"], "generate_until");
    }
}
