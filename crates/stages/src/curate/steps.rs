//! The steps as a pipeline file has them.

use std::collections::BTreeSet;
use std::path::Path;

use gazal_data::DataError;
use gazal_data::curation::{
    Chain, Duplicates, ExactDuplicates, Expression, Filter, Language, Languages, Length, Lengths, Near, NearDuplicates,
    PlacedRow, Reason, Step, Verdict,
};
use gazal_stage_api::{Context, JsonSchema, Problem, StageError};
use gazal_tasks::contamination::Detector;
use serde::{Deserialize, Serialize};

use crate::contamination;

/// A step with its parameters.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum StepParams {
    /// Rows for which an expression over their columns is true stay.
    Filter(Expression),
    /// Of rows with the same content the first stays.
    ExactDuplicates(Duplicates),
    /// Of rows with nearly the same words the first stays.
    NearDuplicates(Near),
    /// Texts that are too short or too long go.
    Length(Lengths),
    /// Texts in other languages go.
    Language(Languages),
    /// Rows in which a question of the port `benchmarks` stands go.
    Decontaminate(Decontaminate),
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Decontaminate {
    /// Words of an n-gram, as `contamination` takes them.
    #[serde(default = "contamination::ngram")]
    pub ngram: usize,
    /// The columns that are searched, all that are texts, lists or objects if empty.
    #[serde(default)]
    pub columns: Vec<String>,
}

impl StepParams {
    fn name(&self) -> &'static str {
        match self {
            StepParams::Filter(_) => "filter",
            StepParams::ExactDuplicates(_) => "exact_duplicates",
            StepParams::NearDuplicates(_) => "near_duplicates",
            StepParams::Length(_) => "length",
            StepParams::Language(_) => "language",
            StepParams::Decontaminate(_) => "decontaminate",
        }
    }

    /// The step itself, which puts away in `folder` what need not be in memory; decontamination asks for the benchmarks.
    fn build(&self, folder: &Path, detector: impl FnOnce(usize) -> Detector) -> Result<Box<dyn Step>, DataError> {
        Ok(match self.clone() {
            StepParams::Filter(params) => Box::new(Filter::new(params)?),
            StepParams::ExactDuplicates(params) => Box::new(ExactDuplicates::new(params).in_folder(folder)),
            StepParams::NearDuplicates(params) => Box::new(NearDuplicates::new(params)?.in_folder(folder)),
            StepParams::Length(params) => Box::new(Length::new(params)?),
            StepParams::Language(params) => Box::new(Language::new(params)?),
            StepParams::Decontaminate(params) => {
                Box::new(Leaks { detector: detector(params.ngram), columns: params.columns })
            }
        })
    }
}

/// A detector of nothing.
fn nothing(ngram: usize) -> Detector {
    Detector::new(ngram, BTreeSet::new())
}

/// What is wrong with the steps.
pub fn problems(steps: &[StepParams]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        problems
            .extend(step.build(Path::new(""), nothing).err().map(|error| problem(&format!("steps[{at}]."), &error)));
        if matches!(step, StepParams::Decontaminate(params) if params.ngram == 0) {
            problems.push(Problem::new(&format!("steps[{at}].ngram"), "must be at least 1"));
        }
    }
    problems
}

/// An error of a parameter at its place.
pub fn problem(before: &str, error: &DataError) -> Problem {
    match error {
        DataError::Parameter { name, message } => Problem::new(&format!("{before}{name}"), message.clone()),
        other => Problem::new(before.trim_end_matches('.'), other.to_string()),
    }
}

/// All steps, called by their places and names.
///
/// # Errors
/// A step that has no meaning, or benchmarks that cannot be read.
pub fn chain(steps: &[StepParams], context: &Context) -> Result<Chain, StageError> {
    let mut chain = Chain::new();
    for (at, step) in steps.iter().enumerate() {
        let detector = match step {
            StepParams::Decontaminate(params) => {
                Some(contamination::detector(context.input("benchmarks")?, params.ngram)?)
            }
            _ => None,
        };
        let step_of = step
            .build(context.wip(), |ngram| detector.unwrap_or_else(|| nothing(ngram)))
            .map_err(StageError::failed)?;
        chain = chain.then(format!("{} {}", at + 1, step.name()), step_of);
    }
    Ok(chain)
}

/// Benchmark questions in rows.
struct Leaks {
    detector: Detector,
    columns: Vec<String>,
}

impl Step for Leaks {
    fn keep(&mut self, row: &PlacedRow) -> Result<Verdict, DataError> {
        let text = match self.columns.is_empty() {
            true => {
                let texts =
                    row.row.iter().filter(|(_, value)| value.is_string() || value.is_array() || value.is_object());
                row.text(&texts.map(|(column, _)| column.clone()).collect::<Vec<_>>())?
            }
            false => row.text(&self.columns)?,
        };
        let hit = self.detector.check("", &text).into_iter().next();
        Ok(hit.map_or(Verdict::Kept, |hit| {
            let detail = format!("{}: \"{}\"", hit.item, hit.ngram);
            Verdict::Dropped(Reason::Other { name: "contaminated".into(), detail })
        }))
    }
}
