//! `report`: what the models of a run can do, with intervals, as a page, as numbers and as text.
//!
//! All numbers come from samples and histories alone and are computed once (`table`, `curves`); the forms (`html`,
//! `text`, `svg` and the JSON of [`Report`] itself) only write them down. There are no times in it: equal inputs give
//! equal bytes.

mod baseline;
mod card;
mod contamination;
pub(crate) mod curves;
mod examples;
mod html;
mod metric;
mod published;
mod scores;
pub(crate) mod svg;
mod table;
mod text;
mod words;

use gazal_data::rows;
use gazal_stage_api::{Context, Declared, InPort, JsonSchema, Kind, OutPort, PortType, Problem, StageError, Traits};
use gazal_tasks::Benchmark;
use gazal_tasks::stats::Bootstrap;
use serde::{Deserialize, Serialize};

use crate::comparing::{self, Comparing};
use crate::eval::{Protocol, Sample};
use baseline::Questions;
use contamination::Contamination;
use curves::Curve;
use examples::Examples;
use metric::Metric;
use published::Published;
use table::{Plan, Table};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    #[serde(default = "title")]
    pub title: String,
    /// Labels of `eval`, each compared with the one before; all, in order of appearance, if empty.
    #[serde(default)]
    pub models: Vec<String>,
    /// Labels beside a baseline: these are compared then, and not each model with the one before.
    #[serde(default)]
    pub comparisons: Vec<Comparing>,
    /// Says that nothing here is for clinical use.
    #[serde(default = "yes")]
    pub disclaimer: bool,
    /// Shows Gazal-R1's published table, with intervals, beside what was measured.
    #[serde(default)]
    pub published: bool,
    /// Bootstrap resamples of each interval.
    #[serde(default = "resamples")]
    pub resamples: usize,
    /// Questions that the page shows with what the first and the last model wrote, or the first comparison's baseline
    /// and its first label; drawn, not picked.
    #[serde(default = "examples")]
    pub examples: usize,
    /// Names of the `histories` in their order; `training 1`, … for those without.
    #[serde(default)]
    pub history_names: Vec<String>,
}

fn title() -> String {
    "Results".into()
}

fn yes() -> bool {
    true
}

fn resamples() -> usize {
    10_000
}

fn examples() -> usize {
    6
}

/// Everything that a report shows; `report.json` is this.
#[derive(Debug, Serialize)]
pub struct Report {
    pub title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disclaimer: Option<&'static str>,
    /// The share of resamples in an interval.
    pub level: f64,
    pub resamples: usize,
    pub models: Vec<String>,
    /// Seeds, or nothing.
    pub groups: Vec<String>,
    /// What belongs together of the tables' differences, if that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub comparisons: Vec<Comparing>,
    pub benchmarks: Vec<About>,
    pub tables: Vec<Table>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<Examples>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contamination: Option<Contamination>,
    pub curves: Vec<Curve>,
}

/// A benchmark of the report.
#[derive(Debug, Serialize)]
pub struct About {
    pub name: String,
    pub title: String,
    pub synthetic: bool,
    pub questions: usize,
}

impl About {
    /// Everything but the name.
    pub fn describe(&self) -> String {
        let origin = if self.synthetic { format!(", {}", words::SYNTHETIC) } else { String::new() };
        format!("{}, {} questions{origin}", self.title, self.questions)
    }
}

impl Report {
    /// The tables of each protocol.
    pub fn by_protocol(&self) -> Vec<(Protocol, Vec<&Table>)> {
        let of =
            |protocol| (protocol, self.tables.iter().filter(|table| table.protocol == protocol).collect::<Vec<_>>());
        PROTOCOLS.map(of).into_iter().filter(|(_, tables)| !tables.is_empty()).collect()
    }
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Loglikelihood, Protocol::GenerateCot];

pub struct ReportKind;

impl Kind for ReportKind {
    type Params = Params;
    const NAME: &'static str = "report";
    // 3: what models wrote, side by side, and what the gate between training data and benchmarks found.
    // 4: leaks in the gate's own words; no most frequent answer to open questions.
    const REVISION: u32 = 4;
    const DOC: &'static str = "Compares scored models, with intervals and learning curves, as HTML, JSON and text.";
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![
            InPort::many("samples", PortType::Samples, "scored items of all models, from `eval`"),
            InPort::any("histories", PortType::Files, "folders with `trainer_state.json`, for the learning curves"),
            InPort::optional("contamination", PortType::Files, "the `report` of `contamination`, to be shown"),
        ]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("report", PortType::Report, "`report.html`, `report.json`, `report.txt` and the pictures"),
            OutPort::value("metrics", PortType::Metrics, "`metrics.json`: {task: {metric: number}}"),
            OutPort::value("card", PortType::Files, "`README.md`: a model card, for `get --with-card`"),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let mut problems = Vec::new();
        if params.resamples < 100 {
            problems.push(Problem::new("resamples", format!("is {}, must be at least 100", params.resamples)));
        }
        for (field, names) in [("models", &params.models), ("history_names", &params.history_names)] {
            let twice = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
            problems.extend(twice.map(|(_, name)| Problem::new(field, format!("names `{name}` twice"))));
        }
        problems.extend(comparing::problems(&params.comparisons));
        problems
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let samples = read(context)?;
        let curves = curves(&params, context)?;
        let mut report = build(&params, &samples, curves, context)?;
        report.examples = examples::choose(&samples, &before_and_after(&report), params.examples);
        report.contamination = context.optional("contamination").map(contamination::read).transpose()?;
        let folder = context.output("report")?;
        let mut files = vec![
            ("report.html".to_string(), html::render(&report)),
            ("report.txt".to_string(), text::render(&report)),
            ("report.json".to_string(), json(&report)?),
        ];
        files.extend(report.curves.iter().map(|curve| (curve.file.clone(), svg::file(&svg::lines(curve)))));
        let mut files: Vec<_> = files.into_iter().map(|(name, text)| (folder.join(name), text)).collect();
        files.push((context.output("card")?.join("README.md"), card::render(&report)));
        files.push((context.output("metrics")?.join("metrics.json"), json(&table::metrics(&report.tables))?));
        files.iter().try_for_each(|(path, text)| std::fs::write(path, text).map_err(StageError::io(path)))
    }
}

/// The models whose texts are shown: the first of these and the last.
fn before_and_after(report: &Report) -> Vec<String> {
    let first = report.comparisons.first().map(|comparing| comparing.names().take(2).cloned().collect());
    first.unwrap_or_else(|| report.models.clone())
}

fn json(value: &impl Serialize) -> Result<String, StageError> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(StageError::failed)
}

/// All samples, in the order of the pipeline.
fn read(context: &Context) -> Result<Vec<Sample>, StageError> {
    let mut samples = Vec::new();
    for folder in context.inputs("samples") {
        for path in rows::files_in(folder).map_err(StageError::failed)? {
            samples.extend(rows::read_all::<Sample>(&path).map_err(StageError::failed)?);
        }
    }
    if samples.is_empty() {
        return Err(StageError::failed("there is no sample in the input `samples`: nothing was evaluated"));
    }
    Ok(samples)
}

fn curves(params: &Params, context: &Context) -> Result<Vec<Curve>, StageError> {
    let (histories, names) = (context.inputs("histories"), &params.history_names);
    if names.len() > histories.len() {
        let message = format!("names {} histories, but {} are connected", names.len(), histories.len());
        return Err(StageError::Params("history_names".into(), message));
    }
    let mut curves = Vec::new();
    for (index, folder) in histories.iter().enumerate() {
        let number = index + 1;
        let name = names.get(index).cloned().unwrap_or_else(|| format!("training {number}"));
        curves.extend(curves::read(folder, number, &name)?);
    }
    Ok(curves)
}

/// Computes every number.
fn build(params: &Params, samples: &[Sample], curves: Vec<Curve>, context: &mut Context) -> Result<Report, StageError> {
    let models = models(params, samples)?;
    let comparisons = comparisons(params, &models)?;
    let bootstrap = Bootstrap { resamples: params.resamples, ..Bootstrap::default() };
    let plan = Plan { samples, models: &models, comparisons: &comparisons, bootstrap };
    let wanted: Vec<(Protocol, Metric)> = PROTOCOLS
        .iter()
        .flat_map(|&protocol| Metric::of(protocol).iter().map(move |&metric| (protocol, metric)))
        .collect();
    let mut tables = Vec::new();
    for (index, &(protocol, metric)) in wanted.iter().enumerate() {
        tables.extend(plan.table(protocol, metric)?);
        context.progress(index as u64 + 1, wanted.len() as u64, "tables", &[]);
        if context.cancelled() {
            return Err(StageError::Cancelled);
        }
    }
    let labels: Vec<&str> = models.iter().map(String::as_str).collect();
    let named: Vec<String> = table::groups(samples, &labels).into_iter().map(String::from).collect();
    let groups = if named == [""] { Vec::new() } else { named };
    let benchmarks = about(samples, &labels);
    let disclaimer = params.disclaimer.then_some(words::DISCLAIMER);
    let (title, level, resamples) = (params.title.clone(), bootstrap.level, bootstrap.resamples);
    let published = params.published.then(published::table);
    let (examples, contamination) = (None, None);
    Ok(Report {
        title,
        disclaimer,
        level,
        resamples,
        models,
        groups,
        comparisons,
        benchmarks,
        tables,
        published,
        examples,
        contamination,
        curves,
    })
}

/// The labels to compare, in order.
fn models(params: &Params, samples: &[Sample]) -> Result<Vec<String>, StageError> {
    let mut found: Vec<String> = Vec::new();
    for sample in samples {
        if !found.contains(&sample.label) {
            found.push(sample.label.clone());
        }
    }
    match params.models.iter().find(|name| !found.contains(name)) {
        Some(unknown) => {
            let message = format!("`{unknown}` is no label of the samples; they have {}", found.join(", "));
            Err(StageError::Params("models".into(), message))
        }
        None if params.models.is_empty() => Ok(found),
        None => Ok(params.models.clone()),
    }
}

/// The comparisons, if all their models are in the report.
fn comparisons(params: &Params, models: &[String]) -> Result<Vec<Comparing>, StageError> {
    let mut named = params.comparisons.iter().flat_map(Comparing::names);
    match named.find(|name| !models.contains(name)) {
        Some(unknown) => {
            let message = format!("`{unknown}` is no model of this report; it has {}", models.join(", "));
            Err(StageError::Params("comparisons".into(), message))
        }
        None => Ok(params.comparisons.clone()),
    }
}

fn about(samples: &[Sample], models: &[&str]) -> Vec<About> {
    let questions = Questions::of(samples, models);
    let asked = samples.iter().filter(|sample| models.contains(&sample.label.as_str()));
    let names = table::in_order(asked.map(|sample| sample.benchmark.as_str()));
    let about = names.into_iter().map(|name| About {
        name: name.into(),
        title: table::title(name).into(),
        synthetic: Benchmark::named(name).is_some_and(|benchmark| benchmark.synthetic),
        questions: questions.count(name),
    });
    about.collect()
}

#[cfg(test)]
mod tests;
