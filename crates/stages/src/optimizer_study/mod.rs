//! `optimizer-study`: what the abstracts of EXAdam (arXiv:2412.20302) say of it, what its author's logs say, and what the
//! trainings of this run say, with intervals over seeds. The trainings are all of images or all of text.
//!
//! All numbers are computed here from histories, samples and the published curves, once; the page only writes them down.

mod html;
mod measure;
mod published;
mod raw;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod trainings;

use std::fs;

use gazal_stage_api::{Context, Declared, InPort, JsonSchema, Kind, OutPort, PortType, Problem, StageError, Traits};
use gazal_tasks::stats::Bootstrap;
use serde::{Deserialize, Serialize};

use crate::comparing::{self, Comparing};
use crate::report::curves::{Curve, Line, slug};
use crate::report::svg;
use measure::{Curves, Measure, Sort};
use published::{BASELINES, Finding, Logs, TARGET, Version};
use table::{Compared, Gain, LabelRow, Study};
use text::{BASELINE, Logged, LoggedGain};
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
    /// The training accuracy that epochs are counted to, of images.
    #[serde(default = "accuracy_target")]
    pub accuracy_target: f64,
}

fn title() -> String {
    "EXAdam beside other optimizers".into()
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
    pub groups: Vec<String>,
    #[serde(flatten)]
    pub subject: Subject,
    pub labels: Vec<LabelRow>,
    pub comparisons: Vec<Compared>,
    pub published_curves: Vec<Curve>,
    pub curves: Vec<Curve>,
}

/// What is told of trainings of one sort alone.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Subject {
    Images(Images),
    Text(Text),
}

impl Subject {
    pub fn sort(&self) -> Sort {
        match self {
            Subject::Images(_) => Sort::Images,
            Subject::Text(_) => Sort::Text,
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Images {
    pub epochs: usize,
    pub test_images: usize,
    pub published: Vec<Finding>,
    /// What the first comparison has beside each of these, over Adam and over AdamW.
    pub beside: Vec<[Option<Gain>; 2]>,
    pub remarks: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Text {
    pub steps: f64,
    pub published: Vec<Logged>,
    pub published_gains: Vec<LoggedGain>,
    /// What the first comparison has beside each of these gains.
    pub beside: Vec<Option<Gain>>,
    pub remarks: Vec<String>,
}

pub struct OptimizerStudy;

impl Kind for OptimizerStudy {
    type Params = Params;
    const NAME: &'static str = "optimizer-study";
    // 2: text.
    const REVISION: u32 = 2;
    const DOC: &'static str = "Compares optimizers over seeds, beside what EXAdam's abstracts and logs say.";
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![
            InPort::many("histories", PortType::Files, "of `train-classifier`, or of `train-character-model`"),
            InPort::any("samples", PortType::Samples, "of the same trainings by `train-classifier`"),
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
    let sort = trainings.first().map_or(Sort::Images, |training| training.sort);
    let study = Study { trainings, sort, target: params.accuracy_target, bootstrap: Bootstrap::default() };
    let comparing = match params.comparisons.is_empty() {
        true => all_beside_the_first(&study),
        false => params.comparisons,
    };
    let mut comparisons = Vec::new();
    for Comparing { title, baseline, labels } in &comparing {
        comparisons.push(study.compare(title, baseline, labels)?);
    }
    let (subject, published_curves) = match sort {
        Sort::Images => of_images(&study, comparing.first())?,
        Sort::Text => of_text(&study, comparing.first())?,
    };
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
        groups,
        subject,
        labels: study.labels().into_iter().filter_map(|label| study.label_row(label)).collect(),
        comparisons,
        published_curves,
        curves: comparing.iter().flat_map(|comparing| curves(&study, comparing)).collect(),
    })
}

/// What is told of images, and the published curves.
fn of_images(study: &Study, comparing: Option<&Comparing>) -> Result<(Subject, Vec<Curve>), StageError> {
    let logs = Logs::read()?;
    let published = logs.findings()?;
    let over = |finding: &Finding, baseline: &str| {
        beside(study, comparing, [finding.version.optim(), baseline], finding.measure)
    };
    let mut found = Vec::new();
    for finding in &published {
        let [(_, adam), (_, adamw)] = BASELINES;
        found.push([over(finding, adam)?, over(finding, adamw)?]);
    }
    let images = Images {
        epochs: study.trainings.iter().map(|training| training.curves.loss.len()).max().unwrap_or_default(),
        test_images: study.trainings.first().map_or(0, |training| training.scores.len()),
        published,
        beside: found,
        remarks: logs.remarks()?,
    };
    let lines = logs.lines()?;
    let lines: Vec<(&str, &Curves)> = lines.iter().map(|(name, curves)| (name.as_str(), *curves)).collect();
    Ok((Subject::Images(images), pictures(Sort::Images, "CIFAR-10, the author's logs", &lines)))
}

/// What is told of text, and the published curves.
fn of_text(study: &Study, comparing: Option<&Comparing>) -> Result<(Subject, Vec<Curve>), StageError> {
    let logs = text::Logs::read()?;
    let published_gains = logs.gains();
    let over = |one: &LoggedGain| beside(study, comparing, [one.version.optim(), BASELINE.1], one.measure);
    let text = Text {
        steps: study.trainings.iter().filter_map(|training| training.curves.steps.last()).copied().fold(0.0, f64::max),
        published: logs.trainings(),
        beside: published_gains.iter().map(over).collect::<Result<_, _>>()?,
        published_gains,
        remarks: logs.remarks(),
    };
    let notebooks = [(Version::V1, "February 2025"), (Version::V2, "April 2025")];
    let curves = notebooks.into_iter().flat_map(|(version, name)| {
        pictures(Sort::Text, &format!("Tiny Shakespeare, the author's logs of {name}"), &logs.lines(version))
    });
    Ok((Subject::Text(text), curves.collect()))
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

/// What the first comparison's trainings by an optimizer gain over those by another.
fn beside(
    study: &Study,
    comparing: Option<&Comparing>,
    optimizers: [&str; 2],
    measure: Measure,
) -> Result<Option<Gain>, StageError> {
    let Some(comparing) = comparing else { return Ok(None) };
    let names: Vec<&String> = comparing.labels.iter().chain([&comparing.baseline]).collect();
    let of = |optim: &str| {
        let label = |name: &&&String| study.trainings.iter().any(|one| one.label == ***name && one.optim == optim);
        names.iter().find(label).map(|name| (*name).clone())
    };
    let [Some(own), Some(baseline)] = optimizers.map(of) else { return Ok(None) };
    let at = study.sort.measures().iter().position(|one| *one == measure).unwrap_or_default();
    let row = study.compare("", &baseline, &[own])?.rows.pop();
    Ok(row.and_then(|row| row.gains.into_iter().nth(at).flatten()))
}

/// A curve of a training, by its name.
type Shown = (&'static str, fn(&Curves) -> &[f64]);

impl Sort {
    fn shown(self) -> [Shown; 2] {
        match self {
            Sort::Images => [
                ("training accuracy", |curves| &curves.accuracy),
                ("validation accuracy", |curves| &curves.eval_accuracy),
            ],
            Sort::Text => [("training loss", |curves| &curves.loss), ("held-out loss", |curves| &curves.eval_loss)],
        }
    }

    /// What curves are over.
    fn axis(self) -> &'static str {
        match self {
            Sort::Images => "epoch",
            Sort::Text => "step",
        }
    }
}

/// Pictures of published curves.
fn pictures(sort: Sort, history: &str, lines: &[(&str, &Curves)]) -> Vec<Curve> {
    let picture = |(title, of): Shown| {
        let points = |curves: &Curves| of(curves).iter().enumerate().map(|(at, y)| (curves.x(at), *y)).collect();
        let lines = lines.iter().map(|(name, curves)| Line { name: (*name).into(), points: points(curves) });
        picture(sort, history, title, lines.collect())
    };
    sort.shown().map(picture).into()
}

/// Pictures of a comparison, of the baseline and up to four others each, whose names fit above them.
fn curves(study: &Study, comparing: &Comparing) -> Vec<Curve> {
    let mut curves = Vec::new();
    for (name, of) in study.sort.shown() {
        for (part, labels) in comparing.labels.chunks(4).enumerate() {
            let labels = std::iter::once(&comparing.baseline).chain(labels);
            let lines = labels.map(|label| Line { name: label.clone(), points: study.mean_curve(label, of) });
            let title = if part == 0 { name.to_string() } else { format!("{name}, {}", part + 1) };
            curves.push(picture(study.sort, &comparing.title, &title, lines.collect()));
        }
    }
    curves
}

fn picture(sort: Sort, history: &str, title: &str, lines: Vec<Line>) -> Curve {
    let file = format!("{}.svg", slug(&format!("{history} {title}")));
    Curve { history: history.into(), title: title.into(), file, axis: sort.axis(), lines }
}
