//! `contamination`: the gate between training data and benchmarks.
//!
//! Its output is the benchmarks themselves, unchanged, so that what evaluates them waits for the gate. How a leak is
//! seen stands in [`gazal_tasks::contamination`]; words of question templates are left out. Questions of this
//! project's own sets are held out by construction, so for them the vignette and the abstract alone must not stand
//! in a training text either.

mod training;

use std::collections::BTreeMap;
use std::path::Path;

use gazal_stage_api::{
    Context, Declared, InPort, JsonSchema, Kind, Level, OutPort, PortType, Problem, StageError, Traits,
};
use gazal_tasks::contamination::{Detector, Hit, template_words};
use gazal_tasks::{Benchmark, Item};
use serde::{Deserialize, Serialize};

use crate::{eval::source, synth};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// Words of an n-gram; questions that are shorter are compared as a whole.
    #[serde(default = "ngram")]
    pub ngram: usize,
    #[serde(default)]
    pub action: Action,
}

/// What follows from a leak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Action {
    /// The stage fails, and nothing that evaluates can run.
    #[default]
    Fail,
    /// The leaks are written down and the run goes on.
    Report,
}

pub fn ngram() -> usize {
    Detector::NGRAM
}

/// How many leaks a message shows.
const SHOWN: usize = 5;

/// Published questions of fewer words ("Vitamin K?") are no questions by themselves: they are looked for together with
/// their context and options only.
const TELLING: usize = 8;

/// What was checked and found: `contamination.json`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Findings {
    /// Training rows that were read.
    pub rows: u64,
    /// Benchmark items that were looked for.
    pub items: usize,
    pub n: usize,
    pub benchmarks: BTreeMap<String, usize>,
    pub hits: Vec<Hit>,
}

impl Findings {
    pub const FILE: &str = "contamination.json";
}

pub struct Contamination;

impl Kind for Contamination {
    type Params = Params;
    const NAME: &'static str = "contamination";
    // 3: each Chinese and Japanese character is a word, and open questions are looked for.
    const REVISION: u32 = 3;
    const DOC: &'static str = "Fails when a benchmark question stands in training data; passes the benchmarks on.";
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![
            InPort::many("training", PortType::Dataset, "all that a model is trained on"),
            InPort::one("benchmarks", PortType::Dataset, "what it is evaluated on, ours or the publishers' files"),
        ]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("benchmarks", PortType::Dataset, "the same files"),
            OutPort::value("report", PortType::Files, "`contamination.json`: what was checked and found"),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        if params.ngram == 0 {
            return vec![Problem::new("ngram", "must be at least 1").with_help("13 is what GPT-3 was checked with")];
        }
        Vec::new()
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let sets = source::read(context.input("benchmarks")?, &[], 0)?;
        let detector = detect(&sets, params.ngram);
        let (rows, hits) = training::search(&detector, context)?;
        if !hits.is_empty() {
            let message = describe(&hits);
            match params.action {
                Action::Fail => return Err(StageError::failed(message)),
                Action::Report => context.say(Level::Warning, message),
            }
        }
        let benchmarks: BTreeMap<_, _> = sets.iter().map(|(set, items)| (set.name.to_string(), items.len())).collect();
        let findings = Findings { rows, items: benchmarks.values().sum(), n: params.ngram, benchmarks, hits };
        let path = context.output("report")?.join(Findings::FILE);
        let text = serde_json::to_string_pretty(&findings).map_err(StageError::failed)?;
        std::fs::write(&path, text + "\n").map_err(StageError::io(&path))?;
        copy(context.input("benchmarks")?, context.output("benchmarks")?)
    }
}

/// Looks for the questions of a folder of benchmarks.
///
/// # Errors
/// Benchmarks that cannot be read.
pub fn detector(folder: &Path, ngram: usize) -> Result<Detector, StageError> {
    Ok(detect(&source::read(folder, &[], 0)?, ngram))
}

fn detect(sets: &[(&'static Benchmark, Vec<Item>)], ngram: usize) -> Detector {
    let mut detector = Detector::new(ngram, left_out());
    sets.iter().for_each(|(benchmark, items)| items.iter().for_each(|item| add(&mut detector, benchmark, item)));
    detector
}

/// The words of all templates, and those that a question is laid out with.
fn left_out() -> std::collections::BTreeSet<String> {
    let templates = synth::template_words();
    template_words(templates.iter().map(String::as_str).chain(["Abstract: Question: Options: Answer:"]))
}

/// Looks for an item under its benchmark's name too, since published ids are numbers.
fn add(detector: &mut Detector, benchmark: &Benchmark, item: &Item) {
    let id =
        if item.id.starts_with(benchmark.name) { item.id.clone() } else { format!("{}/{}", benchmark.name, item.id) };
    if benchmark.synthetic && item.open {
        // What is left of so short a question without its template is the name of a condition.
        return detector.add_exact(&id, &item.question);
    }
    if benchmark.synthetic {
        let vignette = item.question.rsplit_once(". ").map(|(vignette, _)| vignette);
        vignette.into_iter().chain(item.context.as_deref()).for_each(|text| detector.add_exact(&id, text));
    } else if gazal_tasks::words(&item.question).count() < TELLING {
        let context = item.context.as_deref().unwrap_or_default();
        let whole = format!("{context}\n{}\n{}", item.question, item.options.join("\n"));
        return detector.add_ngrams(&id, &whole);
    }
    detector.add(&Item { id, ..item.clone() });
}

fn describe(hits: &[Hit]) -> String {
    let plural = if hits.len() == 1 { "" } else { "s" };
    let mut text = format!("benchmark questions stand in training data ({} hit{plural}):\n", hits.len());
    for hit in hits.iter().take(SHOWN) {
        text += &format!("  {} in {}: \"{}\"\n", hit.item, hit.row, hit.ngram);
    }
    if hits.len() > SHOWN {
        text += &format!("  and {} more\n", hits.len() - SHOWN);
    }
    text + "remove these rows from the training data, or set `action = \"report\"` to see all of them in \
            contamination.json and to go on"
}

/// Copies a folder's files, whatever they are.
fn copy(from: &Path, to: &Path) -> Result<(), StageError> {
    for entry in std::fs::read_dir(from).map_err(StageError::io(from))? {
        let path = entry.map_err(StageError::io(from))?.path();
        let Some(name) = path.file_name() else { continue };
        let target = to.join(name);
        if path.is_dir() {
            std::fs::create_dir(&target).map_err(StageError::io(&target))?;
            copy(&path, &target)?;
        } else {
            // Not `fs::copy`: the input's permissions (read-only) do not belong to the output.
            let bytes = std::fs::read(&path).map_err(StageError::io(&path))?;
            std::fs::write(&target, bytes).map_err(StageError::io(&target))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
