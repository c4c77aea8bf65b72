//! `symmetry-study`: how much data a symmetry is worth, as the study (arXiv:2606.01090) estimates it, beside what it
//! publishes.
//!
//! All estimates are [`gazal_tasks::symmetry`]'s, of the runs alone; the page only writes them down.

mod html;

use std::collections::{BTreeMap, BTreeSet};

use gazal_stage_api::{Context, Declared, InPort, JsonSchema, Kind, OutPort, PortType, Problem, StageError, Traits};
use gazal_tasks::symmetry::published::{Ours, Row};
use gazal_tasks::symmetry::{Analysis, Estimates, Exclusion, Family, PRIMARY, Plan, Study};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::report::curves::{self, Line, slug};
use crate::report::svg;
use crate::rows::read_split;
use crate::symmetry::{Curve, Ended};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    #[serde(default = "title")]
    pub title: String,
    /// Bootstrap resamples of each interval.
    #[serde(default = "resamples")]
    pub resamples: usize,
}

fn title() -> String {
    "What a symmetry is worth in data".into()
}

fn resamples() -> usize {
    Plan::default().resamples
}

/// Everything that the page shows; `report.json` is this.
#[derive(Debug, Serialize)]
pub struct Report {
    pub title: String,
    pub resamples: usize,
    pub runs: usize,
    pub groups: BTreeSet<u32>,
    pub samples: BTreeSet<usize>,
    pub seeds: BTreeSet<u64>,
    pub families: BTreeSet<Family>,
    /// Forward passes as the study counts them, in operations.
    pub flops: u64,
    pub analysis: Analysis,
    /// Of the finer grid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finer: Option<Estimates>,
    /// Whether augmentation with averaging in evaluation has the curves of the architecture, to the bit.
    pub averaging: Option<Averaging>,
    pub published: Vec<Row>,
    pub exclusions: Vec<Exclusion>,
    /// Combinations that were not run.
    pub gaps: usize,
    pub curves: Vec<curves::Curve>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Averaging {
    /// Pairs of curves.
    pub compared: usize,
    pub equal: usize,
}

pub struct SymmetryStudy;

impl Kind for SymmetryStudy {
    type Params = Params;
    const NAME: &'static str = "symmetry-study";
    // 2: curves name no training.
    const REVISION: u32 = 2;
    const DOC: &'static str = "Estimates what a symmetry is worth in data, beside what the study publishes.";
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![
            InPort::many("runs", PortType::Dataset, "of `symmetry`"),
            InPort::any("finer", PortType::Dataset, "runs on the grid of samples that are a factor of √2 apart"),
            InPort::any("curves", PortType::Dataset, "of the same runs, to compare families that must be equal"),
        ]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("report", PortType::Report, "`report.html`, `report.json` and the pictures"),
            OutPort::value("metrics", PortType::Metrics, "`metrics.json`: {rate: {metric: number}}"),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        if params.resamples < 100 {
            return vec![Problem::new("resamples", format!("is {}, must be at least 100", params.resamples))];
        }
        Vec::new()
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let (runs, finer): (Vec<Ended>, Vec<Ended>) =
            (read_split(context.inputs("runs"), "train")?, read_split(context.inputs("finer"), "train")?);
        let report = build(params, &runs, &finer, &read_split(context.inputs("curves"), "train")?)?;
        let json = |value: &serde_json::Value| format!("{value:#}\n");
        let folder = context.output("report")?;
        let mut files = vec![
            (folder.join("report.html"), html::render(&report)),
            (folder.join("report.json"), json(&json!(report))),
            (context.output("metrics")?.join("metrics.json"), json(&json!(metrics(&report)))),
        ];
        let pictures = report.curves.iter().map(|curve| (folder.join(&curve.file), svg::file(&svg::lines(curve))));
        files.extend(pictures);
        files.into_iter().try_for_each(|(path, text)| std::fs::write(&path, text).map_err(StageError::io(&path)))
    }
}

/// Computes every number.
fn build(params: Params, runs: &[Ended], finer: &[Ended], told: &[Curve]) -> Result<Report, StageError> {
    let plan = Plan { resamples: params.resamples, ..Plan::default() };
    let study = |ended: &[Ended]| Study::new(ended.iter().map(|one| one.run).collect()).map_err(StageError::failed);
    let analysed = study(runs)?;
    let analysis =
        analysed.analysis(&plan).ok_or_else(|| StageError::failed("there is no run: nothing was trained"))?;
    let finer = study(finer)?.analysis(&plan).map(|analysis| analysis.estimates);
    let averaging = averaging(told);
    let is_averaging_equal = averaging.map(|averaging| averaging.equal == averaging.compared);
    let published = Ours { estimates: &analysis.estimates, finer: finer.as_ref(), is_averaging_equal }.rows();
    Ok(Report {
        title: params.title,
        resamples: params.resamples,
        runs: runs.len(),
        groups: runs.iter().map(|one| one.run.cell.n).collect(),
        samples: runs.iter().map(|one| one.run.cell.samples).collect(),
        seeds: runs.iter().map(|one| one.run.cell.seed).collect(),
        families: analysed.families(),
        flops: runs.iter().map(|one| one.flops).sum(),
        published,
        averaging,
        exclusions: analysed.exclusions(),
        gaps: analysed.gaps().len(),
        curves: pictures(&analysis.estimates),
        analysis,
        finer,
    })
}

/// Curves of the two families that are one, cell by cell.
fn averaging(told: &[Curve]) -> Option<Averaging> {
    let of = |family: Family| told.iter().filter(move |curve| curve.family == family);
    let mut averaging = Averaging { compared: 0, equal: 0 };
    for curve in of(Family::AugmentedTta) {
        for other in of(Family::Equivariant).filter(|other| other.cell == curve.cell) {
            let is_equal = (&curve.epochs, &curve.val_loss, &curve.val_accuracy)
                == (&other.epochs, &other.val_loss, &other.val_accuracy);
            averaging.compared += 1;
            averaging.equal += usize::from(is_equal);
        }
    }
    (averaging.compared > 0).then_some(averaging)
}

/// How many samples each family needs, and the points that the rate is the slope of; both by powers of two.
fn pictures(estimates: &Estimates) -> Vec<curves::Curve> {
    let families: BTreeSet<Family> = estimates.targets.iter().map(|target| target.family).collect();
    let line = |family: &Family| {
        let own = estimates.targets.iter().filter(|target| target.family == *family);
        let points = own.filter_map(|target| Some((f64::from(target.n).log2(), (target.samples? as f64).log2())));
        Line { name: family.name().into(), points: points.collect() }
    };
    let lines: Vec<Line> = families.iter().map(line).filter(|line| !line.points.is_empty()).collect();
    let mut all = vec![picture("Samples that are needed, log2", lines)];
    if let Some(rate) = estimates.rate(PRIMARY) {
        let points: Vec<(f64, f64)> = rate.points.iter().map(|point| (f64::from(point.n).log2(), point.y)).collect();
        let count = points.len().max(1) as f64;
        let (x, y) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0 / count, sum.1 + point.1 / count));
        let fitted = points.iter().map(|point| (point.0, y + rate.slope * (point.0 - x))).collect();
        let lines = vec![Line { name: "saved".into(), points }, Line { name: "fitted".into(), points: fitted }];
        all.push(picture("Samples that symmetry saves, log2 of the factor", lines));
    }
    all
}

fn picture(title: &str, lines: Vec<Line>) -> curves::Curve {
    let file = format!("{}.svg", slug(title));
    curves::Curve { history: String::new(), title: title.into(), file, axis: "log2 n", lines }
}

/// `{contrast: {slope, low, high, p}}`, for gates and `diff`.
fn metrics(report: &Report) -> BTreeMap<String, BTreeMap<&'static str, f64>> {
    let single = report.analysis.estimates.rates.iter().map(|rate| (String::new(), rate));
    let double = report.analysis.estimates.two_level.iter().map(|rate| ("two_level.".to_string(), rate));
    let told = single.chain(double).map(|(level, rate)| {
        let mut numbers = BTreeMap::from([("slope", rate.slope)]);
        if let Some(spread) = rate.spread {
            numbers.extend([("low", spread.low), ("high", spread.high), ("p", spread.p)]);
        }
        (format!("{level}{}", html::contrast(&rate.contrast)), numbers)
    });
    told.collect()
}

#[cfg(test)]
mod tests;
