//! The study as one page.

use std::fmt::Write;

use gazal_tasks::symmetry::published::{Quantity, Row, Value, Verdict};
use gazal_tasks::symmetry::{ConfirmatoryOutcome, Contrast, Family, Hypothesis, Outcome, Preregistered, Rate};

use super::{Averaging, Report};
use crate::page::{self, Grid, escape, missing, tag};
use crate::report::svg;

/// The whole page.
pub fn render(report: &Report) -> String {
    let mut out = page::opening(&report.title);
    let _ = writeln!(
        out,
        "<p>{} networks, {} seeds of each combination, {:.1e} operations in forward passes as the study counts them. A family \
         needs so many samples as bring three seeds of five to 80% of validation accuracy; its rate is the slope of what it \
         saves, in powers of two, over the group's size.</p>",
        report.runs,
        report.seeds.len(),
        report.flops as f64
    );
    published(&mut out, report);
    outcomes(&mut out, report);
    targets(&mut out, report);
    rates(&mut out, report);
    noise(&mut out, report);
    out += "<h2>Pictures</h2>\n";
    out += &svg::figures(&report.curves);
    out + page::CLOSING
}

fn published(out: &mut String, report: &Report) {
    *out += "<h2>Published, and this run</h2>\n";
    let rows =
        report.published.iter().map(|row| ("model", quantity(row.published.quantity)[0].to_string(), cells(row)));
    let head = ["published", "this run", "verdict"].map(String::from).into();
    *out += &Grid { head, rows: rows.collect(), marked: false }.render();
    *out += "<ul class=\"soft\">\n";
    for row in &report.published {
        let [name, meaning] = quantity(row.published.quantity);
        let _ = writeln!(out, "<li><b>{name}</b>: {meaning} ({})</li>", escape(row.published.source));
    }
    *out += "</ul>\n";
    if let Some(Averaging { compared, equal }) = report.averaging {
        let _ = writeln!(
            out,
            "<p>Augmentation that is averaged in evaluation is the architecture under another name: {equal} of {compared} \
             pairs of curves are equal to the bit, epoch by epoch. That is a property of the definition and no finding about \
             augmentation by random rotations.</p>"
        );
    }
}

fn cells(row: &Row) -> Vec<String> {
    let (class, words) = match row.verdict {
        Verdict::Agrees => ("up", "agrees"),
        Verdict::Differs => ("down", "differs"),
        Verdict::Untold => ("noise", "cannot be told"),
    };
    let is_claim = matches!(row.published.quantity, Quantity::Augmentation | Quantity::Averaging);
    let [theirs, ours] = match is_claim {
        true => [String::from("claimed"), String::new()],
        false => [value(row.published.value), value(row.ours)],
    };
    vec![theirs, ours, tag(class, words, None)]
}

fn quantity(quantity: Quantity) -> [&'static str; 2] {
    match quantity {
        Quantity::Rate => ["rate", "with the single-level interval"],
        Quantity::TwoLevelRate => ["rate, two-level", "with the interval that resamples seeds too"],
        Quantity::FinerRate => ["rate, finer grid", "on the grid of samples that are a factor of √2 apart"],
        Quantity::WrongGroup => ["over wrong group", "the rate beside the wrong group"],
        Quantity::Robustness => ["left with noise", "the least and the largest share of the rate"],
        Quantity::Augmentation => ["augmentation", "fails by itself at 3 petals and more"],
        Quantity::Averaging => ["with averaging", "augmentation is the architecture, to the bit"],
    }
}

fn value(value: Value) -> String {
    let estimate = value.estimate.map(|estimate| format!("<b>{estimate:+.2}</b>"));
    let interval = value.interval.map(|(low, high)| format!("<small>[{low:+.2}, {high:+.2}]</small>"));
    let text: String = estimate.into_iter().chain(interval).collect();
    if text.is_empty() { missing() } else { text }
}

fn outcomes(out: &mut String, report: &Report) {
    let analysis = &report.analysis;
    *out += "<h2>What it is called</h2>\n<ul>\n";
    for (by, outcome) in [
        ("By the study's programs", outcome(analysis.outcome)),
        (
            "By the first preregistration, which looks at slopes of samples themselves",
            preregistered(analysis.preregistered),
        ),
        ("By the preregistration of the replication", confirmatory(analysis.confirmatory.outcome)),
    ] {
        let _ = writeln!(out, "<li>{by}: <b>{}</b></li>", escape(outcome));
    }
    *out += "</ul>\n<h3>The three tests</h3>\n";
    let rows = analysis.estimates.hypotheses.iter().map(|hypothesis: &Hypothesis| {
        let (class, words) = if hypothesis.is_supported { ("up", "supported") } else { ("noise", "not supported") };
        let numbers = [hypothesis.p, hypothesis.adjusted_p].map(probability);
        ("model", contrast(&hypothesis.contrast), numbers.into_iter().chain([tag(class, words, None)]).collect())
    });
    let head = ["p", "Bonferroni's", "verdict"].map(String::from).into();
    *out += &Grid { head, rows: rows.collect(), marked: false }.render();
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::InsufficientData => "not enough data for a rate",
        Outcome::A => "A: the interval contains zero",
        Outcome::ANegative => "A, negative: symmetry costs data",
        Outcome::E => "E: the wrong group is as good",
        Outcome::Aug => "AUG: augmentation is as good",
        Outcome::Signal { matches_theory: true } => "SIGNAL, as theory says",
        Outcome::Signal { matches_theory: false } => "SIGNAL, not at the rate that theory says",
        Outcome::SignalNeedsWrongGroup { .. } => "SIGNAL, if the wrong group were known",
        Outcome::Ambiguous => "AMBIGUOUS",
    }
}

fn preregistered(outcome: Preregistered) -> &'static str {
    match outcome {
        Preregistered::InsufficientData => "not enough data for a slope",
        Preregistered::A => "A: the interval contains zero",
        Preregistered::E => "E: the wrong group falls as fast",
        Preregistered::D => "D: brittle with noise",
        Preregistered::Signal => "SIGNAL",
        Preregistered::Unnamed => "no name: the slope rises, since the task gets harder with more petals",
    }
}

fn confirmatory(outcome: ConfirmatoryOutcome) -> &'static str {
    match outcome {
        ConfirmatoryOutcome::Undefined => "undefined: too few sizes of groups reach the target",
        ConfirmatoryOutcome::Signal => "SIGNAL",
        ConfirmatoryOutcome::SignalShifted => "SIGNAL_SHIFTED: above zero, and not 1",
        ConfirmatoryOutcome::Ambiguous => "AMBIGUOUS",
        ConfirmatoryOutcome::FailureA => "FAILURE_A: the interval contains zero",
        ConfirmatoryOutcome::FailureE => "FAILURE_E: no better than the wrong group",
        ConfirmatoryOutcome::FailureAug => "FAILURE_AUG: no better than augmentation",
        ConfirmatoryOutcome::Unnamed => "no name: the interval is below zero",
    }
}

fn targets(out: &mut String, report: &Report) {
    *out += "<h2>Samples that are needed</h2>\n<p class=\"soft\">The least number of the grid with which three seeds reach the \
        target. A dash: none does.</p>\n";
    let head = report.groups.iter().map(|n| format!("n = {n}")).collect();
    let estimates = &report.analysis.estimates;
    let rows = report.families.iter().map(|&family| {
        let cell = |&n: &u32| estimates.target(family, n).map_or_else(missing, |samples| format!("<b>{samples}</b>"));
        ("model", family.name().to_string(), report.groups.iter().map(cell).collect())
    });
    *out += &Grid { head, rows: rows.collect(), marked: false }.render();
    let _ = writeln!(
        out,
        "<p class=\"soft\">{} combinations were not run. {} runs would be left out by the preregistrations (no loss that is a \
         number, or a group of runs at chance), and are in here, as in the published analysis.</p>",
        report.gaps,
        report.exclusions.len()
    );
}

fn rates(out: &mut String, report: &Report) {
    let estimates = &report.analysis.estimates;
    let _ = write!(
        out,
        "<h2>Rates</h2>\n<p class=\"soft\">A slope with its 95% interval of {} resamples: single-level ones of sizes of groups, \
         two-level ones of these and of seeds within each. Slopes of a family alone are of the samples that it needs, which \
         rise with the difficulty of the task.</p>\n",
        report.resamples
    );
    let single = estimates.rates.iter().map(|rate| ("model", contrast(&rate.contrast), rate_cells(rate)));
    let double = estimates
        .two_level
        .iter()
        .map(|rate| ("difference", format!("{}, two-level", contrast(&rate.contrast)), rate_cells(rate)));
    let finer = report
        .finer
        .iter()
        .flat_map(|finer| &finer.rates)
        .map(|rate| ("difference", format!("{}, finer grid", contrast(&rate.contrast)), rate_cells(rate)));
    let head = ["slope", "p", "sizes of groups", "resamples without a slope"].map(String::from).into();
    *out += &Grid { head, rows: single.chain(double).chain(finer).collect(), marked: false }.render();
}

fn rate_cells(rate: &Rate) -> Vec<String> {
    let interval = rate.spread.map(|spread| format!("<small>[{:+.2}, {:+.2}]</small>", spread.low, spread.high));
    let slope = format!("<b>{:+.2}</b>{}", rate.slope, interval.unwrap_or_default());
    let p = rate.spread.map_or_else(missing, |spread| probability(spread.p));
    let lost = rate.spread.map_or_else(missing, |spread| format!("{:.1}%", 100.0 * spread.discarded()));
    vec![slope, p, rate.points.len().to_string(), lost]
}

fn noise(out: &mut String, report: &Report) {
    let robustness = &report.analysis.estimates.robustness;
    if robustness.is_empty() {
        return;
    }
    *out += "<h2>With noise that breaks the symmetry</h2>\n";
    let rows = robustness.iter().map(|at| {
        let slope = at.rate.as_ref().map_or_else(missing, |rate| rate_cells(rate)[0].clone());
        let share = at.share.map_or_else(missing, |share| format!("{:.0}%", 100.0 * share));
        ("model", format!("{:.0}% of labels", 100.0 * at.noise), vec![slope, share])
    });
    let head = ["rate", "of the rate without noise"].map(String::from).into();
    *out += &Grid { head, rows: rows.collect(), marked: false }.render();
}

/// `equivariant over vanilla`, or a family alone.
pub fn contrast(contrast: &Contrast) -> String {
    let name = |family: Family| family.name();
    match contrast.baseline {
        Some(baseline) => format!("{} over {}", name(contrast.treatment), name(baseline)),
        None => name(contrast.treatment).to_string(),
    }
}

/// Of 10,000 resamples, none says less than one in 5,000.
fn probability(p: f64) -> String {
    if p < 2e-4 { "&lt; 0.0002".into() } else { format!("{p:.4}") }
}
