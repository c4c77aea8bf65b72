//! `synth`: a textbook for the base model, reasoning examples of Gazal-R1's four types for SFT, and questions
//! without solutions for GRPO.
//!
//! The completion is what the card shows: `<think>` with numbered `Step k:` lines, a heading, the answer. Every
//! example is read back by the parser that scores answers, and dropped (with a count) if it disagrees.

use std::collections::BTreeSet;
use std::path::Path;

use gazal_data::{Draws, Stream, jsonl};
use gazal_stage_api::{
    Context, Declared, InPort, JsonSchema, Kind, Level, OutPort, PortType, Problem as Mistake, StageError, Traits,
};
use gazal_tasks::{Benchmark, Extraction};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::corpus::page;
use super::exercises::{exercise, first_exercise};
use super::knowledge::{Condition, Fact};
use super::language::Language;
use super::problems::{Maker, Problem, answer_name};
use super::wording::Split;
use crate::rows::{Example, Question, Text};

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// Pages of facts in the corpus.
    pub num_pages: u64,
    /// Exercises before the first page: copying, which all else is read with.
    #[serde(default)]
    pub num_first_exercises: u64,
    /// Exercises among the pages, about nothing medical.
    #[serde(default)]
    pub num_exercises: u64,
    /// Supervised examples in `train.jsonl`.
    pub num_examples: u64,
    /// Supervised examples in `validation.jsonl`, none of which is in training.
    pub num_validation: u64,
    /// Questions for GRPO.
    pub num_prompts: u64,
    /// The share of examples that answer at once, without reasoning (as Qwen3's non-thinking mode).
    #[serde(default)]
    pub direct_ratio: f64,
}

pub struct Synth;

impl Kind for Synth {
    type Params = Params;
    const NAME: &'static str = "synth";
    const REVISION: u32 = 2;
    const DOC: &'static str = "Textbook, reasoning examples and questions made from the embedded knowledge base.";
    const TRAITS: Traits = Traits::SEEDED;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![InPort::one("knowledge", PortType::Dataset, "conditions, as `knowledge` writes them")]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("corpus", PortType::Dataset, "`text`: what the base model reads"),
            OutPort::value("dataset", PortType::Dataset, "`prompt`, `completion`: train and validation"),
            OutPort::value("prompts", PortType::Dataset, "`prompt` and the question with its answer, for rewards"),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if !(0.0..=1.0).contains(&params.direct_ratio) {
            mistakes.push(Mistake::new("direct_ratio", "must be between 0 and 1"));
        }
        for (field, value) in [("num_pages", params.num_pages), ("num_examples", params.num_examples)] {
            if value == 0 {
                mistakes.push(Mistake::new(field, "must be at least 1"));
            }
        }
        mistakes
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let conditions = read_conditions(context.input("knowledge")?)?;
        let maker = Maker { conditions: &conditions, split: Split::Train };
        write(context, "corpus", "train.jsonl", &corpus(&conditions, &params, context.seed))?;

        let mut writer = Examples {
            maker,
            seen: BTreeSet::new(),
            direct_ratio: params.direct_ratio,
            seed: context.seed,
            dropped: 0,
        };
        let train = writer.examples("train", params.num_examples);
        let validation = writer.examples("validation", params.num_validation);
        let prompts = writer.questions("prompts", params.num_prompts);
        if writer.dropped > 0 {
            context.say(
                Level::Warning,
                format!("{} examples were dropped: their answer did not parse back", writer.dropped),
            );
        }
        context.progress(params.num_examples, params.num_examples, "examples", &[]);
        write(context, "dataset", "train.jsonl", &train)?;
        write(context, "dataset", "validation.jsonl", &validation)?;
        write(context, "prompts", "train.jsonl", &prompts)
    }
}

/// The conditions that the stage `knowledge` wrote.
pub fn read_conditions(folder: &Path) -> Result<Vec<Condition>, StageError> {
    jsonl::read_all(&folder.join("conditions.jsonl")).map_err(StageError::failed)
}

fn write<T: Serialize>(context: &Context, output: &str, file: &str, rows: &[T]) -> Result<(), StageError> {
    jsonl::write_all(&context.output(output)?.join(file), rows).map_err(StageError::failed)?;
    Ok(())
}

/// The first exercises, then pages and exercises in random order.
fn corpus(conditions: &[Condition], params: &Params, seed: u64) -> Vec<Text> {
    type Write = fn(&[Condition], &mut Draws) -> String;
    let write = |purpose: &str, count: u64, write: Write| -> Vec<String> {
        let stream = Stream::new(seed, purpose);
        (0..count).map(|row| write(conditions, &mut stream.draws(row))).collect()
    };
    let mut texts = write("first exercises", params.num_first_exercises, first_exercise);
    let english = |conditions: &[Condition], draws: &mut Draws| page(conditions, Language::En.wording(), draws);
    let mut rest = write("pages", params.num_pages, english);
    rest.extend(write("exercises", params.num_exercises, exercise));
    Stream::new(seed, "corpus order").draws(0).shuffle(&mut rest);
    texts.extend(rest);
    texts.into_iter().map(|text| Text { text }).collect()
}

/// Makes examples whose questions never repeat.
struct Examples<'a> {
    maker: Maker<'a>,
    seen: BTreeSet<String>,
    direct_ratio: f64,
    seed: u64,
    dropped: usize,
}

impl Examples<'_> {
    fn examples(&mut self, purpose: &str, count: u64) -> Vec<Example> {
        let direct = Stream::new(self.seed, &format!("{purpose} direct"));
        let problems = self.problems(purpose, count);
        let examples = problems.into_iter().enumerate().map(|(index, problem)| {
            let without_reasoning = direct.uniform(0, index as u64) < self.direct_ratio;
            example(&problem, without_reasoning)
        });
        examples.collect()
    }

    fn questions(&mut self, purpose: &str, count: u64) -> Vec<Question> {
        let problems = self.problems(purpose, count);
        problems
            .into_iter()
            .map(|problem| Question { prompt: reasoning_prompt(&problem), item: problem.item, columns: Map::new() })
            .collect()
    }

    fn problems(&mut self, purpose: &str, count: u64) -> Vec<Problem> {
        let stream = Stream::new(self.seed, purpose);
        let mut problems = Vec::new();
        // A bounded number of tries: the knowledge base may hold fewer questions than were asked for.
        for row in 0..count * 4 {
            if problems.len() as u64 == count {
                break;
            }
            let mut problem = draw(&self.maker, &mut stream.draws(row));
            problem.item.id = format!("{purpose}-{row:06}");
            if !self.seen.insert(reasoning_prompt(&problem)) {
                continue;
            }
            if problem.item.read(&problem.completion()) == Extraction::Answer(problem.item.answer) {
                problems.push(problem);
            } else {
                self.dropped += 1;
            }
        }
        problems
    }
}

/// One training problem: vignettes, short facts, abstracts, and some with ten options.
pub(super) fn draw(maker: &Maker, draws: &mut Draws) -> Problem {
    let index = draws.below(maker.conditions.len());
    let options = if draws.below(8) == 0 { 10 } else { 4 };
    match draws.below(20) {
        0..=4 => maker.case(index, None, options, draws),
        5..=9 => {
            let fact = *draws.pick(&Fact::ALL);
            maker.case(index, Some(fact), options, draws)
        }
        10..=16 => {
            let fact = *draws.pick(&Fact::ALL);
            maker.fact(index, fact, options, draws)
        }
        _ => maker.evidence(index, draws),
    }
}

/// The prompt of a question that is to be reasoned about.
pub fn reasoning_prompt(problem: &Problem) -> String {
    crate::prompt::reasoning(&problem.item)
}

fn example(problem: &Problem, direct: bool) -> Example {
    let (prompt, completion) = match Benchmark::named(&problem.item.benchmark) {
        Some(benchmark) if direct => {
            let prompt = benchmark.prompt(&problem.item);
            (prompt.context, prompt.continuations[problem.item.answer].clone())
        }
        _ => (reasoning_prompt(problem), problem.completion()),
    };
    Example {
        id: problem.item.id.clone(),
        prompt,
        completion,
        reasoning_type: problem.reasoning.name().into(),
        specialty: problem.specialty.clone(),
        condition: problem.item.cluster.clone(),
        answer: answer_name(&problem.item),
    }
}
