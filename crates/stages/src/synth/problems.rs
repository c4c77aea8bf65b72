//! Multiple-choice problems about the knowledge base, with the reasoning that solves them.
//!
//! Held out by construction: the triples of findings that a condition's benchmark questions show are never shown
//! together in training, and no wording of a question is in both (see `wording`).

use gazal_data::Draws;
use gazal_tasks::Item;

use super::knowledge::{Condition, Fact};
use super::wording::{self, Split};

/// The four reasoning types of Gazal-R1's card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reasoning {
    Diagnostic,
    TreatmentPlanning,
    Uncertainty,
    Prognostic,
}

impl Reasoning {
    pub const ALL: [Reasoning; 4] =
        [Reasoning::Diagnostic, Reasoning::TreatmentPlanning, Reasoning::Uncertainty, Reasoning::Prognostic];

    pub fn name(self) -> &'static str {
        match self {
            Reasoning::Diagnostic => "diagnostic reasoning",
            Reasoning::TreatmentPlanning => "treatment planning",
            Reasoning::Uncertainty => "decision-making under uncertainty",
            Reasoning::Prognostic => "prognostic assessment",
        }
    }

    /// The heading of the answer.
    pub fn heading(self) -> &'static str {
        match self {
            Reasoning::Diagnostic => "## Clinical Assessment",
            Reasoning::TreatmentPlanning => "## Treatment Plan",
            Reasoning::Uncertainty => "## Decision",
            Reasoning::Prognostic => "## Prognosis",
        }
    }

    fn of(fact: Option<Fact>) -> Reasoning {
        match fact {
            None | Some(Fact::Mechanism) => Reasoning::Diagnostic,
            Some(Fact::Treatment | Fact::Avoid) => Reasoning::TreatmentPlanning,
            Some(Fact::Test) => Reasoning::Uncertainty,
            Some(Fact::Prognosis) => Reasoning::Prognostic,
        }
    }
}

/// p values that are significant, that are not, and that leave it open; written as the JAMA writes them.
pub const P_VALUES: [&[&str]; 3] = [
    &[".001", ".002", ".003", ".004", ".01", ".02", ".03"],
    &[".2", ".3", ".4", ".5", ".6", ".7", ".8", ".9"],
    &[".05", ".06", ".07", ".08", ".09"],
];

/// The letter of the option at an index.
pub fn letter(index: usize) -> char {
    char::from(b'A' + index as u8)
}

/// A problem and its worked solution.
#[derive(Clone, Debug)]
pub struct Problem {
    pub item: Item,
    pub reasoning: Reasoning,
    pub specialty: String,
    /// The steps, without their numbers.
    pub steps: Vec<String>,
}

impl Problem {
    /// The completion as the card shows it: numbered steps inside `<think>`, a heading, the answer.
    pub fn completion(&self) -> String {
        let steps: Vec<String> =
            self.steps.iter().enumerate().map(|(index, step)| format!("Step {}: {step}\n", index + 1)).collect();
        let answer = answer_name(&self.item);
        let heading = self.reasoning.heading();
        format!("<think>\n{}</think>\n{heading}\nThe answer is {answer}.", steps.concat())
    }
}

/// How an answer is named: its letter, or the word itself for yes/no/maybe.
pub fn answer_name(item: &Item) -> String {
    if item.options.iter().any(|option| option == "maybe") {
        item.options[item.answer].clone()
    } else {
        letter(item.answer).to_string()
    }
}

/// Triples of the six findings, as indices; the same for every condition.
fn triples() -> Vec<[usize; 3]> {
    let mut all = Vec::new();
    for a in 0..6 {
        for b in a + 1..6 {
            all.extend((b + 1..6).map(|c| [a, b, c]));
        }
    }
    all
}

/// The triples of a split: every fourth is held out, shifted by the condition so that each finding is held out in
/// some and shown in others.
pub fn split_triples(condition: usize, split: Split) -> Vec<[usize; 3]> {
    let held_out = |index: usize| (index + condition).is_multiple_of(4);
    let all = triples().into_iter().enumerate();
    all.filter(|(index, _)| held_out(*index) == (split == Split::HeldOut)).map(|(_, triple)| triple).collect()
}

/// Makes problems from the knowledge base, all of one split.
pub struct Maker<'a> {
    pub conditions: &'a [Condition],
    pub split: Split,
}

impl Maker<'_> {
    /// A vignette of three findings that asks for the diagnosis or for a fact.
    pub fn case(&self, index: usize, fact: Option<Fact>, options: usize, draws: &mut Draws) -> Problem {
        let condition = &self.conditions[index];
        let mut findings = *draws.pick(&split_triples(index, self.split));
        draws.shuffle(&mut findings);
        let findings = findings.map(|finding| condition.findings[finding].as_str());
        let vignette = draws.pick(wording::vignettes(self.split)).replace("{f}", &list(&findings));
        let question = draws.pick(wording::case_questions(fact, self.split));
        let mut steps = vec![format!("The findings {} point to {}.", list(&findings), condition.name)];
        if let Some(fact) = fact {
            steps.push(statement(fact, condition));
        }
        let question = format!("{vignette} {question}");
        self.choice(index, fact, (question, options), steps, Some(&findings), draws)
    }

    /// A short question that names the condition.
    pub fn fact(&self, index: usize, fact: Fact, options: usize, draws: &mut Draws) -> Problem {
        let condition = &self.conditions[index];
        let question = draws.pick(wording::fact_questions(fact, self.split)).replace("{c}", &condition.name);
        let steps = vec![statement(fact, condition)];
        self.choice(index, Some(fact), (question, options), steps, None, draws)
    }

    #[allow(clippy::too_many_arguments)]
    fn choice(
        &self,
        index: usize,
        fact: Option<Fact>,
        (question, count): (String, usize),
        mut steps: Vec<String>,
        findings: Option<&[&str]>,
        draws: &mut Draws,
    ) -> Problem {
        let condition = &self.conditions[index];
        let text = |condition: &Condition| fact.map_or(condition.name.as_str(), |fact| fact.of(condition)).to_string();
        let right = text(condition);
        let mut options = vec![right.clone()];
        let mut tries = 0;
        while options.len() < count {
            tries += 1;
            let other = &self.conditions[draws.below(self.conditions.len())];
            // The first distractors come from the same specialty: they are the plausible ones.
            let near = options.len() > count / 2 || tries > 400 || other.specialty == condition.specialty;
            let fits = findings.is_none_or(|findings| !findings.iter().all(|f| other.findings.iter().any(|g| g == f)));
            let option = text(other);
            if near && fits && !options.contains(&option) {
                options.push(option);
            }
        }
        draws.shuffle(&mut options);
        let answer = options.iter().position(|option| *option == right).unwrap_or(0);
        steps.push(format!("So {right} {}.", letter(answer)));
        let shape = match (count, findings) {
            (4, Some(_)) => "mini_medqa",
            (4, None) => "mini_medmcqa",
            _ => "mini_mmlu_pro",
        };
        let item = self.item(shape, index, question, None, options, answer);
        Problem { item, reasoning: Reasoning::of(fact), specialty: condition.specialty.clone(), steps }
    }

    /// A study abstract with a yes/no/maybe question.
    pub fn evidence(&self, index: usize, draws: &mut Draws) -> Problem {
        let condition = &self.conditions[index];
        let answer = draws.below(3);
        let p = draws.pick(P_VALUES[answer]);
        let control = 20 + draws.below(30);
        let gain = [20, 2, 10][answer] + draws.below(10);
        let fill = |template: &str| {
            let text = template.replace("{t}", &condition.treatment).replace("{c}", &condition.name);
            text.replace("{a}", &(control + gain).to_string()).replace("{b}", &control.to_string()).replace("{p}", p)
        };
        let patients = (40 + 20 * draws.below(20)).to_string();
        let context = fill(&draws.pick(wording::abstracts(self.split)).replace("{n}", &patients));
        let templates: &[&str] = wording::abstract_questions(self.split);
        let question = fill(draws.pick::<&str>(templates));
        let judgement = [
            "below .05, so the difference is significant",
            "far above .05, so there is no difference",
            "near .05, so the evidence is uncertain",
        ][answer];
        let steps = vec![
            format!("The study compares {} with placebo.", condition.treatment),
            format!("The p = {p} is {judgement}."),
        ];
        let options = ["yes", "no", "maybe"].map(String::from).to_vec();
        let item = self.item("mini_pubmedqa", index, capital(&question), Some(capital(&context)), options, answer);
        let specialty = condition.specialty.clone();
        Problem { item, reasoning: Reasoning::Uncertainty, specialty, steps }
    }

    /// `benchmark` is the set that the question is shaped as.
    fn item(
        &self,
        benchmark: &str,
        condition: usize,
        question: String,
        context: Option<String>,
        options: Vec<String>,
        answer: usize,
    ) -> Item {
        let cluster = self.conditions[condition].name.clone();
        Item {
            id: String::new(),
            benchmark: benchmark.into(),
            question,
            context,
            options,
            answer,
            cluster,
            open: false,
        }
    }
}

/// A fact in the words that training uses for reasoning.
fn statement(fact: Fact, condition: &Condition) -> String {
    capital(&wording::statements(fact)[0].replace("{c}", &condition.name).replace("{x}", fact.of(condition)))
}

/// `a, b and c`.
pub fn list(parts: &[&str]) -> String {
    match parts {
        [] => String::new(),
        [one] => (*one).into(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}

/// With a capital first letter.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
