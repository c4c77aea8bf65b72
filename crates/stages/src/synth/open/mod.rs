//! `open-questions`: questions that are asked without options and answered in words, in English or Chinese, with a
//! textbook that tells the answers, reasoning examples in the layout of `medical-o1-reasoning-SFT`, and a held-out set.

mod drill;
mod problems;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use gazal_data::{Draws, Stream, jsonl};
use gazal_stage_api::{
    Context, Declared, InPort, JsonSchema, Kind, OutPort, PortType, Problem as Mistake, StageError, Traits,
};
use gazal_tasks::Item;
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::corpus::page;
use super::language::Language;
use super::run::read_conditions;
use super::wording::Split;
use crate::rows::{Question, Text};
use drill::drill;
use problems::{OpenMaker, OpenProblem};

/// The benchmark that held-out questions belong to.
const SET: &str = "mini_medical_o1_verifiable";

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// `en` or `zh`, as the knowledge base that is connected.
    #[serde(default)]
    pub language: Language,
    /// Pages of facts in the corpus.
    pub num_pages: u64,
    /// Drills among the pages, about nothing medical.
    #[serde(default)]
    pub num_drills: u64,
    /// Reasoning examples in `train.jsonl`.
    pub num_examples: u64,
    /// Reasoning examples in `validation.jsonl`, none of which is in training.
    #[serde(default)]
    pub num_validation: u64,
    /// Questions for GRPO.
    pub num_prompts: u64,
    /// Held-out questions about every condition.
    #[serde(default = "one")]
    pub questions_per_condition: u64,
}

fn one() -> u64 {
    1
}

/// A row of `medical-o1-reasoning-SFT`.
#[derive(Serialize)]
struct Reasoned {
    #[serde(rename = "Question")]
    question: String,
    #[serde(rename = "Complex_CoT")]
    reasoning: String,
    #[serde(rename = "Response")]
    response: String,
}

pub struct OpenQuestions;

impl Kind for OpenQuestions {
    type Params = Params;
    const NAME: &'static str = "open-questions";
    const REVISION: u32 = 1;
    const DOC: &'static str = "Open questions, answers with reasoning and a textbook made from the knowledge base.";
    const TRAITS: Traits = Traits::SEEDED;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![InPort::one("knowledge", PortType::Dataset, "conditions, as `knowledge` writes them in this language")]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("corpus", PortType::Dataset, "`text`: what the base model reads"),
            OutPort::value("dataset", PortType::Dataset, "`Question`, `Complex_CoT`, `Response`: train and validation"),
            OutPort::value("prompts", PortType::Dataset, "`prompt` and the question with its answer, for rewards"),
            OutPort::value("benchmarks", PortType::Dataset, "held-out questions, in other words"),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Mistake> {
        let counts = [
            ("num_pages", params.num_pages),
            ("num_examples", params.num_examples),
            ("num_prompts", params.num_prompts),
            ("questions_per_condition", params.questions_per_condition),
        ];
        let missing = counts.into_iter().filter(|(_, count)| *count == 0);
        missing.map(|(field, _)| Mistake::new(field, "must be at least 1")).collect()
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let conditions = read_conditions(context.input("knowledge")?)?;
        let wording = params.language.wording();
        let seed = context.seed;
        let maker = |split| OpenMaker { conditions: &conditions, wording, split };

        let (pages, drills) = (Stream::new(seed, "pages"), Stream::new(seed, "drills"));
        let pages = (0..params.num_pages).map(|row| page(&conditions, wording, &mut pages.draws(row)));
        let drills = (0..params.num_drills).map(|row| drill(&conditions, wording, &mut drills.draws(row)));
        let mut texts: Vec<Text> = pages.chain(drills).map(|text| Text { text }).collect();
        Stream::new(seed, "corpus order").draws(0).shuffle(&mut texts);
        write(context, "corpus", "train.jsonl", texts)?;

        let mut asked = Asked { maker: maker(Split::Train), seed, seen: BTreeSet::new() };
        for (split, count) in [("train", params.num_examples), ("validation", params.num_validation)] {
            let rows = asked.problems(split, count).into_iter().map(reasoned);
            write(context, "dataset", &format!("{split}.jsonl"), rows)?;
        }
        let prompts = asked.problems("prompts", params.num_prompts).into_iter().map(question);
        write(context, "prompts", "train.jsonl", prompts)?;

        let held_out = maker(Split::HeldOut);
        let stream = Stream::new(seed, SET);
        let item = |row: u64| {
            let problem = held_out.draw(row as usize % conditions.len(), &mut stream.draws(row));
            Item { id: format!("{SET}-{row:04}"), ..problem.item }
        };
        let rows = conditions.len() as u64 * params.questions_per_condition;
        write(context, "benchmarks", &format!("{SET}.jsonl"), (0..rows).map(item))
    }
}

fn write<T: Serialize>(
    context: &Context,
    output: &str,
    file: &str,
    rows: impl IntoIterator<Item = T>,
) -> Result<(), StageError> {
    let rows: Vec<T> = rows.into_iter().collect();
    jsonl::write_all(&context.output(output)?.join(file), &rows).map_err(StageError::failed)?;
    Ok(())
}

/// Asks questions that never repeat.
struct Asked<'a> {
    maker: OpenMaker<'a>,
    seed: u64,
    seen: BTreeSet<String>,
}

impl Asked<'_> {
    fn problems(&mut self, purpose: &str, count: u64) -> Vec<OpenProblem> {
        let stream = Stream::new(self.seed, purpose);
        let draw = |row: u64| {
            let draws: &mut Draws = &mut stream.draws(row);
            let index = draws.below(self.maker.conditions.len());
            let mut problem = self.maker.draw(index, draws);
            problem.item.id = format!("{purpose}-{row:06}");
            problem
        };
        // A bounded number of tries: the knowledge base may hold fewer questions than were asked for.
        let new = |problem: &OpenProblem| self.seen.insert(problem.item.question.clone());
        (0..count * 4).map(draw).filter(new).take(count as usize).collect()
    }
}

fn reasoned(problem: OpenProblem) -> Reasoned {
    Reasoned { question: problem.item.question, reasoning: problem.reasoning, response: problem.response }
}

fn question(problem: OpenProblem) -> Question {
    Question { prompt: crate::prompt::reasoning(&problem.item), item: problem.item, columns: Map::new() }
}
