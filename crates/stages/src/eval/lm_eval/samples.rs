//! A question with the requests that were made of it, as lm-eval logs it.

use gazal_tasks::{Benchmark, Item};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::super::{Params, Protocol, Sample};
use super::{filter, generation, measured};

/// What was asked.
pub struct Asked<'a> {
    pub params: &'a Params,
    pub benchmark: &'a Benchmark,
    pub items: &'a [Item],
}

/// The requests of one question, what came back, and what was read from that.
struct Requests {
    arguments: Vec<[Value; 2]>,
    resps: Vec<Value>,
    filtered: Vec<Value>,
}

impl Asked<'_> {
    /// Of one task, whose samples stand in the order of the items.
    pub fn rows<'a>(&'a self, samples: &'a [&Sample]) -> impl Iterator<Item = Value> + 'a {
        let of_each = samples.chunk_by(|one, other| one.id == other.id);
        self.items.iter().zip(of_each).enumerate().map(|(at, (item, samples))| self.row(at, item, samples))
    }

    fn row(&self, at: usize, item: &Item, samples: &[&Sample]) -> Value {
        let generated = samples.iter().any(|sample| sample.protocol == Protocol::GenerateCot);
        let Requests { arguments, resps, filtered } =
            if generated { self.generated(item, samples) } else { self.scored(item, samples) };
        let (doc, target) = (json!(item), item.answer.to_string());
        let prompt = arguments.first().and_then(|[prompt, _]| prompt.as_str()).unwrap_or_default().to_string();
        let [doc_hash, prompt_hash, target_hash] =
            [format!("{doc:#}"), prompt, target.clone()].map(|text| sha256(&text));
        let named = |(at, [first, second]): (usize, [Value; 2])| {
            (format!("gen_args_{at}"), json!({ "arg_0": first, "arg_1": second }))
        };
        let mut row = json!({
            "doc_id": at,
            "doc": doc,
            "target": target,
            "arguments": arguments.into_iter().enumerate().map(named).collect::<Map<String, Value>>(),
            "resps": resps,
            "filtered_resps": filtered,
            "filter": filter(samples),
            "doc_hash": doc_hash,
            "prompt_hash": prompt_hash,
            "target_hash": target_hash,
        });
        let measured = measured(samples);
        row["metrics"] = measured.iter().map(|(metric, _)| *metric).collect();
        for (metric, values) in measured {
            row[metric] = (values.iter().sum::<f64>() / values.len() as f64).into();
        }
        row
    }

    /// An option's log-likelihood and whether the model would write it: numbers and truths stand there as Python writes
    /// them.
    fn scored(&self, item: &Item, samples: &[&Sample]) -> Requests {
        let prompt = self.benchmark.prompt(item);
        let said = samples.iter().flat_map(|sample| sample.resps.iter().zip(&sample.is_greedy));
        let filtered: Vec<Value> =
            said.map(|(sum, greedy)| json!([sum.to_string(), if *greedy { "True" } else { "False" }])).collect();
        Requests {
            arguments: prompt.continuations.iter().map(|end| [json!(prompt.context), json!(end)]).collect(),
            resps: filtered.iter().map(|said| json!([said])).collect(),
            filtered,
        }
    }

    fn generated(&self, item: &Item, samples: &[&Sample]) -> Requests {
        let prompt = samples.first().and_then(|sample| sample.prompt.as_deref()).unwrap_or_default();
        let read = |sample: &&Sample| {
            let words = |answer: usize| item.options.get(answer).filter(|_| item.open).cloned();
            let read = sample.answer.and_then(|at| item.labels().nth(at).map(String::from).or_else(|| words(at)));
            read.unwrap_or_else(|| "[invalid]".into())
        };
        Requests {
            arguments: vec![[prompt.into(), generation(self.params)]],
            resps: vec![samples.iter().map(|sample| sample.completion.clone()).collect()],
            filtered: samples.iter().map(|sample| read(sample).into()).collect(),
        }
    }
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::super::tests::sample;
    use super::*;

    fn item() -> Item {
        let item =
            json!({ "id": "1", "benchmark": "medqa", "question": "Which?", "options": ["one", "two"], "answer": 0 });
        serde_json::from_value(item).unwrap()
    }

    fn row(samples: &[Sample]) -> Value {
        let params: Params = serde_json::from_value(json!({ "label": "m" })).unwrap();
        let (benchmark, items) = (Benchmark::named("medqa").unwrap(), [item()]);
        let samples: Vec<&Sample> = samples.iter().collect();
        let rows: Vec<Value> = Asked { params: &params, benchmark, items: &items }.rows(&samples).collect();
        assert_eq!(rows.len(), 1);
        rows[0].clone()
    }

    #[test]
    fn options_are_requests_of_their_own() {
        let (resps, is_greedy) = (vec![-1.5, -2.25], vec![true, false]);
        let row = row(&[Sample { resps, is_greedy, ..sample(Protocol::Loglikelihood, true) }]);
        assert_eq!(
            row["arguments"]["gen_args_1"],
            json!({ "arg_0": "Question: Which?\nA. one\nB. two\nAnswer:", "arg_1": " B" })
        );
        assert_eq!(row["resps"], json!([[["-1.5", "True"]], [["-2.25", "False"]]]));
        assert_eq!(
            (&row["filtered_resps"][1], &row["acc"], &row["filter"]),
            (&json!(["-2.25", "False"]), &json!(1.0), &json!("none"))
        );
        // `hashlib.sha256` of the prompt and of the target.
        assert_eq!(row["prompt_hash"], "17ec6dff43fc34308bf7982478ed140715dfbcead79ddadab62f2d86c9a1c605");
        assert_eq!(row["target_hash"], "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9");
        assert_eq!(row["doc_hash"], "14e20b7b891e1dfb6f6157d5bd02e038214b4ab31c95c363d878f805a221e8a6");
    }

    #[test]
    fn answers_to_one_question_are_one_row() {
        let of = |generation, correct| {
            let completion = Some(format!("text {generation}"));
            Sample { generation, prompt: Some("Which?".into()), completion, ..sample(Protocol::GenerateCot, correct) }
        };
        let row = row(&[of(0, true), of(1, false)]);
        assert_eq!((&row["resps"], &row["filtered_resps"]), (&json!([["text 0", "text 1"]]), &json!(["A", "B"])));
        assert_eq!((&row["exact_match"], &row["metrics"]), (&json!(0.5), &json!(["exact_match"])));
        assert_eq!(row["arguments"]["gen_args_0"]["arg_1"]["max_gen_toks"], 128);
    }
}
