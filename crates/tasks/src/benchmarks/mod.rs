//! The benchmarks: how each is read, asked and named. One file and one line of [`BENCHMARKS`] each.
//!
//! The `mini_*` sets are made by this project from its own knowledge base and are shaped as the real one of
//! the same name; they are not those benchmarks and their scores compare with nothing outside this project. Their
//! log-likelihood is that of an option's words.
//!
//! Log-likelihood prompts are worded as EleutherAI's lm-evaluation-harness words them (0.4.13), so that scores
//! compare with its `acc`. MMLU-Pro is a generation task there; its log-likelihood form here is ours.

mod medical_o1;
mod medmcqa;
mod medqa;
mod mini_medical_o1;
mod mini_medmcqa;
mod mini_medqa;
mod mini_mmlu_pro;
mod mini_pubmedqa;
mod mmlu;
mod mmlu_pro;
mod pubmedqa;

use crate::{Item, ReadError};

/// What a language model is scored on: the continuation of highest log-likelihood is its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Ends without white space.
    pub context: String,
    /// One an option, each beginning with the space that parts it from the context.
    pub continuations: Vec<String>,
}

/// A set of questions that is asked and scored in one way.
#[derive(Clone, Copy, Debug)]
pub struct Benchmark {
    /// As items and files name it.
    pub name: &'static str,
    /// As a report names it.
    pub title: &'static str,
    /// How many options a question shows, at most; 1 where it is open and has nothing but its answer.
    pub options: usize,
    /// Made by this project, not published by anybody.
    pub synthetic: bool,
    /// The publishers' usual file names, the best first.
    pub files: &'static [&'static str],
    read: fn(&str) -> Result<Vec<Item>, ReadError>,
    prompt: fn(&Item) -> Prompt,
    ask: fn(&Item) -> String,
}

/// Every benchmark, in the order of a report.
pub static BENCHMARKS: &[Benchmark] = &[
    mini_medqa::BENCHMARK,
    mini_medmcqa::BENCHMARK,
    mini_pubmedqa::BENCHMARK,
    mini_mmlu_pro::BENCHMARK,
    mini_medical_o1::BENCHMARK,
    medqa::BENCHMARK,
    medmcqa::BENCHMARK,
    pubmedqa::BENCHMARK,
    mmlu_pro::BENCHMARK,
    medical_o1::BENCHMARK,
    mmlu::ANATOMY,
    mmlu::CLINICAL_KNOWLEDGE,
    mmlu::COLLEGE_BIOLOGY,
    mmlu::COLLEGE_MEDICINE,
    mmlu::MEDICAL_GENETICS,
    mmlu::PROFESSIONAL_MEDICINE,
];

impl Benchmark {
    /// The benchmark of this name.
    pub fn named(name: &str) -> Option<&'static Benchmark> {
        BENCHMARKS.iter().find(|benchmark| benchmark.name == name)
    }

    /// Items from the text of a file in the layout in which this benchmark is published.
    ///
    /// # Errors
    /// The text has another layout, or what it says cannot be told for certain.
    pub fn read(&self, text: &str) -> Result<Vec<Item>, ReadError> {
        (self.read)(text)
    }

    /// The prompt for scoring by log-likelihood; continuation `i` stands for option `i`.
    pub fn prompt(&self, item: &Item) -> Prompt {
        (self.prompt)(item)
    }

    /// The user's turn for scoring by generation, whose answer [`crate::extract`] reads.
    pub fn ask(&self, item: &Item) -> String {
        (self.ask)(item)
    }
}

/// The best of these file names (without folders) that holds a benchmark, or nothing.
pub fn find_file<'a>(benchmark: &Benchmark, names: &'a [String]) -> Option<&'a str> {
    benchmark.files.iter().find_map(|file| names.iter().map(String::as_str).find(|name| name == file))
}

/// A prompt that is continued by the letter of an option.
fn lettered(item: &Item, context: String) -> Prompt {
    Prompt { context, continuations: item.labels().map(|label| format!(" {label}")).collect() }
}

/// The same question, continued by the words of an option instead of its letter: what a model knows, not whether it
/// can name a letter.
fn worded(item: &Item, prompt: Prompt) -> Prompt {
    Prompt { continuations: item.options.iter().map(|option| format!(" {option}")).collect(), ..prompt }
}

/// The user's turn of HuatuoGPT-o1's evaluation, in its strict wording.
fn strict_turn(item: &Item) -> String {
    let context = item.context.as_ref().map(|context| format!("Abstract: {context}\n")).unwrap_or_default();
    format!(
        "Please answer the following multiple-choice question, ensuring your response concludes with the correct \
         option in the format: 'The answer is A.'.\n{context}{}\n{}",
        item.question,
        item.lettered()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;
    use crate::fixture::fixture;
    use crate::item::tests::item;

    /// The case's document as the publisher writes it: lm-eval's Hugging Face copies name the fields otherwise.
    fn published(name: &str, doc: &Value) -> String {
        match name {
            "medqa" => json!({
                "question": doc["sent1"], "answer_idx": "A",
                "options": {"A": doc["ending0"], "B": doc["ending1"], "C": doc["ending2"], "D": doc["ending3"]},
            })
            .to_string(),
            "medmcqa" => {
                let mut rows = [doc.clone(), doc.clone()];
                rows[0]["id"] = json!("asked");
                rows[1]["id"] = json!("the row from which the file's range is inferred");
                rows[1]["cop"] = json!(0);
                format!("{}\n{}", rows[0], rows[1])
            }
            "pubmedqa" => json!({"1": doc}).to_string(),
            _ => {
                let mut doc = doc.clone();
                doc["question_id"] = json!(1);
                doc["answer_index"] = json!(0);
                doc.to_string()
            }
        }
    }

    #[test]
    fn prompts_are_worded_as_the_fixture_says() {
        let cases = fixture("mcq.json");
        let mut count = 0;
        for (case, name) in [("medqa_4options", "medqa"), ("medmcqa", "medmcqa"), ("pubmedqa", "pubmedqa")] {
            let benchmark = Benchmark::named(name).unwrap();
            let items = benchmark.read(&published(name, &cases[case]["doc"])).unwrap();
            let prompt = benchmark.prompt(&items[0]);
            assert_eq!(json!(prompt.context), cases[case]["prompt"]);
            assert_eq!(json!(prompt.continuations), cases[case]["continuations"]);
            let gold = &cases[case]["gold"];
            assert!(*gold == json!(items[0].answer) || *gold == json!(items[0].options[items[0].answer]));
            count += 1;
        }
        let case = &cases["mmlu_pro"];
        let benchmark = Benchmark::named("mmlu_pro").unwrap();
        let items = benchmark.read(&published("mmlu_pro", &case["doc"])).unwrap();
        let asked = benchmark.ask(&items[0]);
        assert!(asked.ends_with(case["prompt"].as_str().unwrap()), "{asked}");
        let description = case["description_health"].as_str().unwrap().replace(" about health", "");
        assert!(asked.starts_with(&description), "{asked}");
        assert_eq!(count + 1, 4);
    }

    #[test]
    fn every_benchmark_has_a_name_of_its_own_and_a_prompt() {
        for (index, benchmark) in BENCHMARKS.iter().enumerate() {
            assert!(
                BENCHMARKS[..index].iter().all(|other| (other.name, other.title) != (benchmark.name, benchmark.title))
            );
            assert!(BENCHMARKS[..index].iter().all(|other| other.files != benchmark.files));
            assert_eq!(benchmark.synthetic, benchmark.name.starts_with("mini_"));
            let asked = if benchmark.options == 3 { item(&["yes", "no", "maybe"]) } else { item(&["a", "b", "c"]) };
            let prompt = benchmark.prompt(&asked);
            assert!(prompt.context.ends_with("\nAnswer:"), "{}", prompt.context);
            assert!(prompt.continuations.len() == 3 && prompt.continuations.iter().all(|text| text.starts_with(' ')));
            assert!(benchmark.ask(&asked).contains("Which one?"));
        }
        assert!(Benchmark::named("nothing").is_none());
    }

    #[test]
    fn a_mini_set_is_asked_as_the_real_one() {
        for benchmark in BENCHMARKS.iter().filter(|benchmark| benchmark.synthetic) {
            let real = Benchmark::named(&benchmark.name["mini_".len()..]).unwrap();
            let mut asked = item(&["yes", "no", "maybe"]);
            asked.context = Some("Of three.".into());
            assert_eq!(benchmark.prompt(&asked).context, real.prompt(&asked).context);
            assert_eq!(benchmark.prompt(&asked).continuations, [" yes", " no", " maybe"]);
            assert_eq!(benchmark.options, real.options);
        }
    }

    #[test]
    fn the_best_file_is_found() {
        let names =
            ["README.md", "pubmedqa_test500.json", "medmcqa_dev.jsonl", "pubmedqa_pqal_1000.json"].map(String::from);
        let find = |name| find_file(Benchmark::named(name).unwrap(), &names);
        assert_eq!(find("pubmedqa"), Some("pubmedqa_pqal_1000.json"));
        assert_eq!(find("medmcqa"), Some("medmcqa_dev.jsonl"));
        assert_eq!(find("medqa"), None);
        assert_eq!(find_file(Benchmark::named("pubmedqa").unwrap(), &names[..2]), Some("pubmedqa_test500.json"));
    }
}
