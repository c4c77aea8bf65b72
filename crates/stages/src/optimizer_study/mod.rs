//! `optimizer-study`: what the abstracts of EXAdam (arXiv:2412.20302) say of it, what its author's logs say, and what the
//! trainings of this run say, with intervals over seeds.
//!
//! All numbers are computed here from histories, samples and the published curves, once; the page only writes them down.

mod html;
mod measure;
mod published;
mod raw;
mod table;
#[cfg(test)]
mod tests;
mod trainings;

use std::fs;

use gazal_stage_api::{Context, Declared, InPort, JsonSchema, Kind, OutPort, PortType, Problem, StageError, Traits};
use gazal_tasks::stats::Bootstrap;
use serde::{Deserialize, Serialize};

use crate::comparing::{self, Comparing};
use crate::report::curves::{Curve, Line, slug};
use crate::report::svg;
use measure::{Curves, Measure};
use published::{BASELINES, Finding, Logs, TARGET};
use table::{Compared, GainRow, LabelRow, Study};
use trainings::Training;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    #[serde(default = "title")]
    pub title: String,
    /// Labels beside a baseline, paired by group. The first is what stands beside the published numbers. All labels
    /// beside the first one if it is empty.
    #[serde(default)]
    pub comparisons: Vec<Comparing>,
    /// The training accuracy that epochs are counted to.
    #[serde(default = "accuracy_target")]
    pub accuracy_target: f64,
}

fn title() -> String {
    "EXAdam on images".into()
}

fn accuracy_target() -> f64 {
    TARGET
}

/// Everything that the page shows; `report.json` is this.
#[derive(Debug, Serialize)]
pub struct Report {
    pub title: String,
    /// The share of intervals that contain what they are of.
    pub level: f64,
    pub accuracy_target: f64,
    pub epochs: usize,
    pub groups: Vec<String>,
    pub test_images: usize,
    pub published: Vec<Finding>,
    /// What the first comparison has beside each of these, over Adam and over AdamW.
    pub beside: Vec<[Option<table::Gain>; 2]>,
    pub remarks: Vec<String>,
    pub labels: Vec<LabelRow>,
    pub comparisons: Vec<Compared>,
    pub published_curves: Vec<Curve>,
    pub curves: Vec<Curve>,
}

pub struct OptimizerStudy;

impl Kind for OptimizerStudy {
    type Params = Params;
    const NAME: &'static str = "optimizer-study";
    const REVISION: u32 = 1;
    const DOC: &'static str = "Compares optimizers over seeds, beside what EXAdam's abstracts and logs say.";
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![
            InPort::many("histories", PortType::Files, "of `train-classifier`"),
            InPort::many("samples", PortType::Samples, "of the same trainings"),
        ]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("report", PortType::Report, "`report.html`, `report.json` and the pictures")]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(params.accuracy_target > 0.0 && params.accuracy_target <= 1.0) {
            problems.push(Problem::new("accuracy_target", "must be above 0 and at most 1"));
        }
        problems.extend(comparing::problems(&params.comparisons));
        problems
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let trainings = trainings::read(context.inputs("histories"), context.inputs("samples"))?;
        let report = build(params, &trainings)?;
        let json = serde_json::to_string_pretty(&report).map_err(StageError::failed)? + "\n";
        let mut files = vec![("report.html".to_string(), html::render(&report)), ("report.json".to_string(), json)];
        let curves = report.published_curves.iter().chain(&report.curves);
        files.extend(curves.map(|curve| (curve.file.clone(), svg::file(&svg::lines(curve)))));
        let folder = context.output("report")?;
        files.into_iter().try_for_each(|(name, text)| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(StageError::io(&path))
        })
    }
}

/// Computes every number.
fn build(params: Params, trainings: &[Training]) -> Result<Report, StageError> {
    let study = Study { trainings, target: params.accuracy_target, bootstrap: Bootstrap::default() };
    let comparing = match params.comparisons.is_empty() {
        true => all_beside_the_first(&study),
        false => params.comparisons,
    };
    let mut comparisons = Vec::new();
    for Comparing { title, baseline, labels } in &comparing {
        comparisons.push(study.compare(title, baseline, labels)?);
    }
    let logs = Logs::read()?;
    let published = logs.findings()?;
    let beside =
        published.iter().map(|finding| beside(finding, &study, comparing.first())).collect::<Result<_, _>>()?;
    let mut groups: Vec<String> = Vec::new();
    for training in trainings {
        if !groups.contains(&training.group) {
            groups.push(training.group.clone());
        }
    }
    Ok(Report {
        title: params.title,
        level: table::LEVEL,
        accuracy_target: params.accuracy_target,
        epochs: trainings.iter().map(|training| training.curves.loss.len()).max().unwrap_or_default(),
        groups,
        test_images: trainings.first().map_or(0, |training| training.scores.len()),
        published,
        beside,
        remarks: logs.remarks()?,
        labels: study.labels().into_iter().filter_map(|label| study.label_row(label)).collect(),
        published_curves: published_curves(&logs)?,
        curves: comparing.iter().flat_map(|comparing| curves(&study, comparing)).collect(),
        comparisons,
    })
}

fn all_beside_the_first(study: &Study) -> Vec<Comparing> {
    match study.labels()[..] {
        [first, ref others @ ..] if !others.is_empty() => vec![Comparing {
            title: "All optimizers".into(),
            baseline: first.into(),
            labels: others.iter().map(ToString::to_string).collect(),
        }],
        _ => Vec::new(),
    }
}

/// What the first comparison's trainings of the same optimizers have of a published measure.
fn beside(
    finding: &Finding,
    study: &Study,
    comparing: Option<&Comparing>,
) -> Result<[Option<table::Gain>; 2], StageError> {
    let Some(comparing) = comparing else { return Ok([None, None]) };
    let names: Vec<&String> = comparing.labels.iter().chain([&comparing.baseline]).collect();
    let of = |optim: &str| {
        let label = |name: &&&String| study.trainings.iter().any(|one| one.label == ***name && one.optim == optim);
        names.iter().find(label).map(|name| (*name).clone())
    };
    let at = Measure::ALL.iter().position(|measure| *measure == finding.measure).unwrap_or_default();
    let mut gains = [None, None];
    for (gain, (_, optim)) in gains.iter_mut().zip(BASELINES) {
        if let (Some(own), Some(baseline)) = (of(finding.version.optim()), of(optim)) {
            let mut compared = study.compare("", &baseline, &[own])?;
            *gain = compared.rows.pop().and_then(|row: GainRow| row.gains.into_iter().nth(at).flatten());
        }
    }
    Ok(gains)
}

/// A curve of a training, by its name.
type Shown = (&'static str, fn(&Curves) -> &[f64]);

const SHOWN: [Shown; 2] =
    [("training accuracy", |curves| &curves.accuracy), ("validation accuracy", |curves| &curves.eval_accuracy)];

fn published_curves(logs: &Logs) -> Result<Vec<Curve>, StageError> {
    let lines = logs.lines()?;
    let curves = SHOWN.map(|(name, of)| {
        let points = |curves: &Curves| of(curves).iter().enumerate().map(|(at, y)| ((at + 1) as f64, *y)).collect();
        let lines = lines.iter().map(|(name, curves)| Line { name: name.clone(), points: points(curves) });
        picture("CIFAR-10, the author's logs", name, lines.collect())
    });
    Ok(curves.into())
}

/// Pictures of a comparison, of the baseline and up to four others each, whose names fit above them.
fn curves(study: &Study, comparing: &Comparing) -> Vec<Curve> {
    let mut curves = Vec::new();
    for (name, of) in SHOWN {
        for (part, labels) in comparing.labels.chunks(4).enumerate() {
            let labels = std::iter::once(&comparing.baseline).chain(labels);
            let lines = labels.map(|label| Line { name: label.clone(), points: study.mean_curve(label, of) });
            let title = if part == 0 { name.to_string() } else { format!("{name}, {}", part + 1) };
            curves.push(picture(&comparing.title, &title, lines.collect()));
        }
    }
    curves
}

fn picture(history: &str, title: &str, lines: Vec<Line>) -> Curve {
    let file = format!("{}.svg", slug(&format!("{history} {title}")));
    Curve { history: history.into(), title: title.into(), file, axis: "epoch", lines }
}
