//! Open questions about the knowledge base, with the reasoning that answers them.
//!
//! Held out as multiple-choice problems are (`super::super::problems`): other triples of findings, other wordings.

use gazal_data::Draws;
use gazal_tasks::Item;

use crate::synth::knowledge::{Condition, Fact};
use crate::synth::language::Wording;
use crate::synth::problems::split_triples;
use crate::synth::wording::Split;

/// Other answers that an item knows to be wrong, at most.
const WRONG: usize = 25;

/// A question, what is thought about it and what is said.
#[derive(Clone, Debug)]
pub struct OpenProblem {
    pub item: Item,
    pub reasoning: String,
    pub response: String,
}

/// Makes them, all of one split.
pub struct OpenMaker<'a> {
    pub conditions: &'a [Condition],
    pub wording: &'static Wording,
    pub split: Split,
}

impl OpenMaker<'_> {
    /// One about a condition: its diagnosis from findings once in three, else a fact.
    pub fn draw(&self, index: usize, draws: &mut Draws) -> OpenProblem {
        match draws.below(3) {
            0 => self.diagnosis(index, draws),
            _ => {
                let fact = *draws.pick(&Fact::ALL);
                self.fact(index, fact, draws)
            }
        }
    }

    fn diagnosis(&self, index: usize, draws: &mut Draws) -> OpenProblem {
        let condition = &self.conditions[index];
        let mut findings = *draws.pick(&split_triples(index, self.split));
        draws.shuffle(&mut findings);
        let findings = findings.map(|finding| condition.findings[finding].as_str());
        let listed = self.wording.list(&findings);
        let vignette = Wording::fill(draws.pick::<&str>((self.wording.vignettes)(self.split)), &[("{f}", &listed)]);
        let question: &str = draws.pick::<&str>((self.wording.diagnosis_questions)(self.split));
        let question = Wording::fill(self.wording.vignette_and_question, &[("{v}", &vignette), ("{q}", question)]);
        let reasoning = Wording::fill(self.wording.pointing, &[("{f}", &listed), ("{c}", &condition.name)]);
        let fits = |other: &&Condition| findings.iter().all(|finding| other.findings.iter().any(|own| own == finding));
        let others = self.conditions.iter().filter(|other| !fits(other));
        let answers = self.answers(condition, &condition.name, others.map(|other| (other, other.name.as_str())));
        self.problem(index, question, reasoning, answers)
    }

    fn fact(&self, index: usize, fact: Fact, draws: &mut Draws) -> OpenProblem {
        let condition = &self.conditions[index];
        let templates = (self.wording.fact_questions)(fact, self.split);
        let question = Wording::fill(draws.pick::<&str>(templates), &[("{c}", &condition.name)]);
        let right = fact.of(condition);
        let statement = (self.wording.statements)(fact).first().copied().unwrap_or_default();
        let reasoning = Wording::fill(statement, &[("{c}", &condition.name), ("{x}", right)]);
        let answers = self.answers(condition, right, self.conditions.iter().map(|other| (other, fact.of(other))));
        self.problem(index, question, reasoning, answers)
    }

    /// The right answer, and then others of the same sort, those of the same specialty first.
    fn answers<'a>(
        &self,
        condition: &Condition,
        right: &'a str,
        others: impl Iterator<Item = (&'a Condition, &'a str)>,
    ) -> Vec<String> {
        let (near, far): (Vec<_>, Vec<_>) = others.partition(|(other, _)| other.specialty == condition.specialty);
        let mut answers = vec![right.to_string()];
        for (_, answer) in near.into_iter().chain(far) {
            if answers.len() <= WRONG && !answers.iter().any(|known| known == answer) {
                answers.push(answer.into());
            }
        }
        answers
    }

    fn problem(&self, index: usize, question: String, reasoning: String, options: Vec<String>) -> OpenProblem {
        let response = Wording::fill(self.wording.answer, &[("{x}", options.first().map_or("", String::as_str))]);
        let item = Item {
            id: String::new(),
            benchmark: super::SET.into(),
            question,
            context: None,
            options,
            answer: 0,
            cluster: self.conditions[index].name.clone(),
            open: true,
        };
        OpenProblem { item, reasoning, response }
    }
}
