//! `eval`: multiple-choice benchmarks under two declared protocols that are never mixed.
//!
//! `loglikelihood` (lm-eval's): the option whose continuation of the prompt is most likely. `generate_cot`: the model
//! reasons, and the answer is read after `</think>`. Items are scored one by one and kept, so that a report can put
//! intervals on means and on paired differences.

mod generation;
mod likelihood;
mod lm_eval;
pub(crate) mod source;

use std::collections::BTreeMap;

use gazal_data::jsonl;
use gazal_lm::{Decoder, Tokenizer, load_adapter};
use gazal_stage_api::{
    Context, Declared, Forecast, Foresight, InPort, JsonSchema, Kind, OutPort, PortType, Problem, StageError, Traits,
};
use gazal_tasks::attempts::{self, AtK, Attempts};
use gazal_tasks::{BENCHMARKS, Benchmark, Item, Reward};
use serde::{Deserialize, Serialize};

use crate::examples::failing_examples;
use crate::{defaults, device, forecast, memory};

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// What a report calls this model.
    pub label: String,
    /// Models of the same seed are compared with one another.
    #[serde(default)]
    pub group: String,
    /// Benchmarks to score; those of the connected data set if empty.
    #[serde(default)]
    pub tasks: Vec<String>,
    #[serde(default = "both")]
    pub protocols: Vec<Protocol>,
    /// Questions of each benchmark, the first ones; 0 for all.
    #[serde(default)]
    pub limit: usize,
    #[serde(default = "batch")]
    pub batch_size: usize,
    #[serde(default = "new_tokens")]
    pub max_new_tokens: usize,
    /// Generated answers to each question. Of several, metrics are means, beside them `pass@k` and `maj@k`.
    #[serde(default = "defaults::single")]
    pub num_generations: usize,
    /// 0 takes the most likely token.
    #[serde(default)]
    pub temperature: f64,
    #[serde(default = "defaults::one")]
    pub top_p: f64,
    #[serde(default)]
    pub top_k: usize,
    /// Rewards of generated answers, summed; those that GRPO trains on, to see what it gained on held-out questions.
    #[serde(default = "defaults::reward_funcs")]
    pub reward_funcs: Vec<Reward>,
}

/// How an answer is got out of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Protocol {
    #[default]
    Loglikelihood,
    GenerateCot,
}

fn both() -> Vec<Protocol> {
    vec![Protocol::Loglikelihood, Protocol::GenerateCot]
}

fn batch() -> usize {
    32
}

fn new_tokens() -> usize {
    128
}

/// One scored item, as the samples file has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    pub id: String,
    pub benchmark: String,
    pub cluster: String,
    pub protocol: Protocol,
    pub label: String,
    pub group: String,
    pub target: usize,
    /// Which of several generated answers, counted from 0.
    #[serde(default, skip_serializing_if = "is_first")]
    pub generation: usize,
    pub answer: Option<usize>,
    pub correct: bool,
    /// Whether it is right in other ways of telling the answer, which stand beside and decide nothing: by
    /// log-likelihoods divided by the options' lengths, and as HuatuoGPT-o1's harness reads a first and a last match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub right_by: BTreeMap<String, bool>,
    /// Log-likelihoods of the options, or nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resps: Vec<f64>,
    /// Whether each option is what the model itself would write next, or nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub is_greedy: Vec<bool>,
    /// What the model was asked for the text, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The generated text, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<String>,
    #[serde(default)]
    pub unfinished: bool,
    /// Whether the text is one closed `<think>` block and an answer.
    #[serde(default)]
    pub formatted: bool,
    /// The sum of `reward_funcs` over the text, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<f64>,
}

fn is_first(generation: &usize) -> bool {
    *generation == 0
}

/// Ways of telling an answer, as [`Sample::right_by`] names them.
pub(crate) const NORMALIZED: &str = "acc_norm";
const FIRST: &str = "first_match";
const LAST: &str = "last_match";

pub struct Eval;

impl Eval {
    /// Of how benchmarks are asked and read.
    const VERSION: u32 = <Eval as Kind>::REVISION;
}

impl Kind for Eval {
    type Params = Params;
    const NAME: &'static str = "eval";
    // 5: lm-eval's results and samples in a folder of their own, prompts beside generated texts.
    const REVISION: u32 = 5;
    const DOC: &'static str = "Scores a model on multiple-choice benchmarks by log-likelihood and by generation.";
    const TRAITS: Traits = Traits { unkeyed: &["batch_size"], ..defaults::LEARNING };

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![
            InPort::one("model", PortType::Model, "the model, with its tokenizer"),
            InPort::optional("adapter", PortType::Adapter, "a PEFT folder for it"),
            InPort::one("benchmarks", PortType::Dataset, "one file a benchmark, ours or the publishers'"),
        ]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("metrics", PortType::Metrics, "`metrics.json`: {task: {metric: number}}"),
            OutPort::value("samples", PortType::Samples, "one row an item and protocol"),
            OutPort::value(
                "lm_eval",
                PortType::Files,
                "`results.json` and `samples_TASK.jsonl`, as lm-eval writes them",
            ),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let rewards = params.reward_funcs.iter().enumerate();
        let examples = |(at, reward)| failing_examples(&format!("reward_funcs[{at}]"), reward, params.max_new_tokens);
        let mut problems: Vec<Problem> = rewards.flat_map(examples).collect();
        for task in params.tasks.iter().filter(|task| Benchmark::named(task).is_none()) {
            let known: Vec<&str> = BENCHMARKS.iter().map(|benchmark| benchmark.name).collect();
            let problem = Problem::new("tasks", format!("there is no benchmark `{task}`"));
            problems.push(problem.with_help(format!("use some of {}", known.join(", "))));
        }
        for (field, wrong) in [
            ("batch_size", params.batch_size == 0),
            ("max_new_tokens", params.max_new_tokens == 0),
            ("num_generations", params.num_generations == 0),
            ("protocols", params.protocols.is_empty()),
        ] {
            if wrong {
                problems.push(Problem::new(field, "must not be empty or 0"));
            }
        }
        if params.num_generations > 1 && params.temperature == 0.0 {
            let problem = Problem::new("num_generations", "several answers at `temperature = 0` are all the same");
            problems.push(problem.with_help("raise `temperature`, or take one"));
        }
        if params.temperature < 0.0 {
            problems.push(Problem::new("temperature", "must not be negative"));
        }
        problems
    }

    fn forecast(&self, params: &Params, inputs: &Foresight) -> Forecast {
        let peak_bytes = forecast::config(inputs, "model")
            .map(|config| memory::weight_bytes(&config, device::kept_in(inputs.precision)));
        // Without a limit the benchmarks decide.
        let work = (params.limit > 0).then(|| (params.limit * params.protocols.len()) as f64);
        Forecast { work, peak_bytes, ..Forecast::default() }
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let folder = context.input("model")?;
        let tokenizer = Tokenizer::load(folder).map_err(StageError::failed)?;
        let mut decoder = device::load(context, folder)?;
        if let Some(adapter) = context.optional("adapter") {
            load_adapter(&mut decoder, adapter).map_err(StageError::failed)?;
        }
        let sets = source::read(context.input("benchmarks")?, &params.tasks, params.limit)?;

        let total = sets.iter().map(|(_, items)| items.len() * params.protocols.len()).sum::<usize>() as u64;
        let mut samples: Vec<Sample> = Vec::new();
        for (benchmark, items) in &sets {
            for protocol in &params.protocols {
                for chunk in items.chunks(params.batch_size) {
                    let scorer =
                        Scorer { decoder: &decoder, tokenizer: &tokenizer, params: &params, seed: context.seed };
                    samples.extend(scorer.score(benchmark, *protocol, chunk)?);
                    let correct = samples.iter().filter(|sample| sample.correct).count() as f64;
                    context.progress(samples.len() as u64, total, "items", &[("acc", correct / samples.len() as f64)]);
                    if context.cancelled() {
                        return Err(StageError::Cancelled);
                    }
                }
            }
        }

        let path = context.output("samples")?.join("samples.jsonl");
        jsonl::write_all(&path, &samples).map_err(StageError::failed)?;
        let path = context.output("metrics")?.join("metrics.json");
        let metrics = serde_json::to_string_pretty(&metrics(&samples)).map_err(StageError::failed)?;
        std::fs::write(&path, metrics + "\n").map_err(StageError::io(&path))?;
        lm_eval::write(context.output("lm_eval")?, &params, &sets, &samples)
    }
}

/// What scoring a batch needs.
struct Scorer<'a> {
    decoder: &'a Decoder,
    tokenizer: &'a Tokenizer,
    params: &'a Params,
    seed: u64,
}

impl Scorer<'_> {
    fn score(&self, benchmark: &Benchmark, protocol: Protocol, items: &[Item]) -> Result<Vec<Sample>, StageError> {
        match protocol {
            Protocol::Loglikelihood => likelihood::score(self, benchmark, items),
            Protocol::GenerateCot => generation::score(self, items),
        }
    }

    /// A sample with what all protocols fill in alike.
    fn sample(&self, item: &Item, protocol: Protocol, answer: Option<usize>) -> Sample {
        Sample {
            id: item.id.clone(),
            benchmark: item.benchmark.clone(),
            cluster: item.cluster.clone(),
            protocol,
            label: self.params.label.clone(),
            group: self.params.group.clone(),
            target: item.answer,
            answer,
            correct: answer == Some(item.answer),
            ..Sample::default()
        }
    }
}

/// `{benchmark: {metric: number}}`, metrics named by protocol.
fn metrics(samples: &[Sample]) -> BTreeMap<String, BTreeMap<String, f64>> {
    let mut sums: BTreeMap<String, BTreeMap<&str, (f64, f64)>> = BTreeMap::new();
    for sample in samples {
        let task = sums.entry(sample.benchmark.clone()).or_default();
        let mut add = |metric, value: f64| {
            let (sum, count) = task.entry(metric).or_default();
            *sum += value;
            *count += 1.0;
        };
        let share = |yes: bool| f64::from(u8::from(yes));
        for (name, metric) in [(NORMALIZED, "acc_norm"), (FIRST, "acc_first_match"), (LAST, "acc_last_match")] {
            sample.right_by.get(name).into_iter().for_each(|&right| add(metric, share(right)));
        }
        match sample.protocol {
            Protocol::Loglikelihood => add("acc", share(sample.correct)),
            Protocol::GenerateCot => {
                add("acc_generate_cot", share(sample.correct));
                add("invalid_ratio", share(sample.answer.is_none()));
                add("unfinished_ratio", share(sample.unfinished));
                add("format_ratio", share(sample.formatted));
                add("reward", sample.reward.unwrap_or_default());
            }
        }
    }
    let means = |metrics: BTreeMap<&str, (f64, f64)>| {
        let means = metrics.into_iter().map(|(metric, (sum, count))| (metric.to_string(), sum / count));
        let mut means: BTreeMap<String, f64> = means.collect();
        // What HuatuoGPT-o1's harness reports: it chooses between the two by the result.
        if let (Some(first), Some(last)) = (means.get("acc_first_match"), means.get("acc_last_match")) {
            means.insert("acc_first_last_maximum".into(), first.max(*last));
        }
        means
    };
    let mut metrics: BTreeMap<_, _> = sums.into_iter().map(|(task, metrics)| (task, means(metrics))).collect();
    for (task, questions) in attempts(samples) {
        let k = questions.iter().map(|question| question.answers.len()).min().unwrap_or_default();
        for (name, at_k) in [("pass", AtK::Pass), ("maj", AtK::Majority)] {
            let scores = attempts::scores(&questions, at_k, k).filter(|_| k > 1).unwrap_or_default();
            let mean = scores.iter().map(|score| score.value).sum::<f64>() / scores.len() as f64;
            if !scores.is_empty() {
                metrics.entry(task.clone()).or_default().insert(format!("{name}@{k}"), mean);
            }
        }
    }
    metrics
}

/// The generated answers to each question, by benchmark.
fn attempts(samples: &[Sample]) -> BTreeMap<String, Vec<Attempts>> {
    let mut questions: BTreeMap<String, BTreeMap<&str, Attempts>> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.protocol == Protocol::GenerateCot) {
        let question = || Attempts {
            id: sample.id.clone(),
            cluster: sample.cluster.clone(),
            right: sample.target,
            answers: Vec::new(),
        };
        let of_benchmark = questions.entry(sample.benchmark.clone()).or_default();
        of_benchmark.entry(&sample.id).or_insert_with(question).answers.push(sample.answer);
    }
    questions.into_iter().map(|(task, questions)| (task, questions.into_values().collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn sample(protocol: Protocol, correct: bool) -> Sample {
        Sample {
            id: "1".into(),
            benchmark: "medqa".into(),
            cluster: "1".into(),
            protocol,
            label: "m".into(),
            answer: Some(usize::from(!correct)),
            correct,
            ..Sample::default()
        }
    }

    #[test]
    fn several_answers_vote() {
        let of = |generation: usize, correct: bool| Sample { generation, ..sample(Protocol::GenerateCot, correct) };
        let metrics = metrics(&[of(0, true), of(1, false), of(2, true)]);
        assert_eq!((metrics["medqa"]["pass@3"], metrics["medqa"]["maj@3"]), (1.0, 1.0));
        assert!((metrics["medqa"]["acc_generate_cot"] - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn other_ways_of_telling_the_answer_stand_beside() {
        let of = |first: bool, last: bool| Sample {
            right_by: [(FIRST.to_string(), first), (LAST.to_string(), last)].into(),
            ..sample(Protocol::GenerateCot, true)
        };
        let metrics = metrics(&[of(true, false), of(true, true), of(false, false), of(true, true)]);
        let metric = |name: &str| metrics["medqa"][name];
        assert_eq!((metric("acc_generate_cot"), metric("acc_first_match")), (1.0, 0.75));
        assert_eq!((metric("acc_last_match"), metric("acc_first_last_maximum")), (0.5, 0.75));
    }
}
