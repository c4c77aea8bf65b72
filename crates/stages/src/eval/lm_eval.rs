//! The results as lm-evaluation-harness (0.4.13) writes them, for what reads its files: a task of each benchmark and
//! protocol, metrics with their standard errors. What it says of times and machines is not in it.

use std::collections::BTreeMap;

use gazal_tasks::scoring::mean_stderr;
use serde_json::{Map, Value, json};

use super::{Params, Protocol, Sample};

/// `results.json`.
pub fn results(params: &Params, samples: &[Sample]) -> Value {
    let mut tasks: BTreeMap<String, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        tasks.entry(task(sample)).or_default().push(sample);
    }
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

fn metric(samples: &[&Sample]) -> &'static str {
    match samples.first().map(|sample| sample.protocol) {
        Some(Protocol::GenerateCot) => "exact_match",
        _ => "acc",
    }
}

fn result(name: &str, samples: &[&Sample]) -> Value {
    let mut result = Map::from_iter([("alias".to_string(), name.into())]);
    let mut add = |metric: &str, filter: &str, right: &dyn Fn(&Sample) -> Option<bool>| {
        let values: Option<Vec<f64>> =
            samples.iter().map(|sample| right(sample).map(|right| f64::from(u8::from(right)))).collect();
        if let Some((mean, error)) = values.and_then(|values| mean_stderr(&values)) {
            result.insert(format!("{metric},{filter}"), mean.into());
            result.insert(format!("{metric}_stderr,{filter}"), error.into());
        }
    };
    let filter = if metric(samples) == "acc" { "none" } else { "last-match-after-think" };
    add(metric(samples), filter, &|sample| Some(sample.correct));
    add("acc_norm", "none", &|sample| sample.right_by.get(super::NORMALIZED).copied());
    Value::Object(result)
}

fn config(params: &Params, name: &str, samples: &[&Sample]) -> Value {
    let generated = metric(samples) != "acc";
    let mut config = json!({
        "task": name,
        "output_type": if generated { "generate_until" } else { "multiple_choice" },
        "num_fewshot": 0,
        "repeats": 1,
    });
    if generated {
        config["generation_kwargs"] = json!({
            "max_gen_toks": params.max_new_tokens, "do_sample": params.temperature > 0.0,
            "temperature": params.temperature, "top_p": params.top_p, "top_k": params.top_k,
        });
    }
    config
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
        let results = results(&params, &samples);
        let [scored, generated] = ["medqa", "medqa_generate_cot"].map(|task| &results["results"][task]);
        assert_eq!((&scored["acc,none"], &scored["acc_stderr,none"]), (&json!(0.5), &json!(0.5)));
        assert_eq!(scored["acc_norm,none"], 1.0);
        assert_eq!(generated["exact_match,last-match-after-think"], 1.0);
        assert_eq!(results["n-samples"]["medqa"]["effective"], 2);
        assert_eq!(results["configs"]["medqa_generate_cot"]["output_type"], "generate_until");
    }
}
