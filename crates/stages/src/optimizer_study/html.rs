//! The study as one page.

use std::fmt::Write;

use gazal_tasks::stats::{Interval, Verdict};

use super::Report;
use super::measure::Measure;
use super::published::{BASELINES, Finding, Follows, Logged, TARGET};
use super::table::{Compared, Gain, GainRow, Mean};
use crate::page::{self, Grid, escape, missing, tag};
use crate::report::curves::Curve;
use crate::report::svg;

/// The whole page.
pub fn render(report: &Report) -> String {
    let mut out = page::opening(&report.title);
    let (level, seeds) = (100.0 * report.level, report.groups.len());
    let _ = writeln!(
        out,
        "<p>Trainings of {} epochs, {seeds} seeds of each, tested on {} images. Means are over seeds with Student's \
         {level:.0}% intervals; differences are paired by seed.</p>",
        report.epochs, report.test_images
    );
    published(&mut out, report);
    ours(&mut out, report);
    for compared in &report.comparisons {
        comparison(&mut out, compared, report);
    }
    reading(&mut out, report);
    out + page::CLOSING
}

fn published(out: &mut String, report: &Report) {
    *out += "<h2>The abstracts, the logs, and this run</h2>\n<p class=\"soft\">Every number that the two abstracts state of \
        CIFAR-10, beside each measure that it may be: recomputed from the logs of the author's notebooks (in brackets what \
        their rounding leaves open), and what this run gives for the same measure.</p>\n<ul class=\"soft\">\n";
    for measure in Measure::ALL {
        let _ = writeln!(out, "<li><b>{}</b>: {}</li>", measure.short(), escape(&measure.gain_name(TARGET)));
    }
    *out += "</ul>\n";
    let mut head = vec!["stated".to_string()];
    head.extend(BASELINES.map(|(name, _)| format!("logs, over {name}")));
    head.extend(["verdict".to_string(), "this run, over Adam".into(), "this run, over AdamW".into()]);
    let rows = report
        .published
        .iter()
        .zip(&report.beside)
        .map(|(finding, beside)| ("model", finding.measure.short().to_string(), finding_cells(finding, beside)));
    *out += &Grid { head, rows: rows.collect(), marked: false }.render();
    *out += "<ul>\n";
    for remark in &report.remarks {
        let _ = writeln!(out, "<li>{}</li>", escape(remark));
    }
    *out += "</ul>\n<h3>The author's logs</h3>\n";
    *out += &svg::figures(&report.published_curves);
}

fn finding_cells(finding: &Finding, beside: &[Option<Gain>; 2]) -> Vec<String> {
    let class = match finding.verdict {
        Follows::FromAdam => "up",
        Follows::FromAdamw => "noise",
        Follows::No => "down",
    };
    let mut cells = vec![format!("<b>{}</b><small>{}</small>", finding.stated, finding.version.name())];
    cells.extend(finding.logged.iter().map(logged));
    cells.push(tag(class, finding.verdict.words(), None));
    cells.extend(beside.iter().map(|gain| gain.as_ref().map_or_else(missing, self::gain)));
    cells
}

fn logged(logged: &Logged) -> String {
    let range = match logged.high - logged.low > 1e-9 {
        true => format!("<small>[{:.2}, {:.2}]</small>", logged.low, logged.high),
        false => String::new(),
    };
    let number = format!("{:+.2}", logged.value);
    if logged.is_stated { format!("<b>{number}</b>{range}") } else { format!("{number}{range}") }
}

fn ours(out: &mut String, report: &Report) {
    *out += "<h2>Every training of this run</h2>\n";
    let mut head = vec!["learning rate".to_string()];
    head.extend(Measure::ALL.map(|measure| measure.name(report.accuracy_target)));
    let rows = report.labels.iter().map(|row| {
        let means = Measure::ALL.iter().zip(&row.means);
        let means = means.map(|(measure, mean)| mean.as_ref().map_or_else(missing, |mean| level(*measure, mean)));
        let rate = format!("{}<small>{}</small>", row.learning_rate, escape(&row.optim));
        ("model", row.label.clone(), std::iter::once(rate).chain(means).collect())
    });
    *out += &Grid { head, rows: rows.collect(), marked: false }.render();
}

fn level(measure: Measure, mean: &Mean) -> String {
    let decimals = if measure == Measure::TrainLoss { 3 } else { 1 };
    let some = match mean.seeds {
        [found, all] if found < all => format!("<small>{found} of {all} seeds</small>"),
        _ => String::new(),
    };
    format!("<b>{:.decimals$}</b>{}{some}", mean.mean, interval(mean.interval.as_ref(), decimals, false))
}

fn comparison(out: &mut String, compared: &Compared, report: &Report) {
    let _ = write!(
        out,
        "<h2>{}</h2>\n<p class=\"soft\">What each gains over <b>{}</b>, seed by seed; above zero is better.</p>\n",
        escape(&compared.title),
        escape(&compared.baseline)
    );
    let mut head: Vec<String> = Measure::ALL.map(|measure| measure.gain_name(report.accuracy_target)).into();
    head.push("test accuracy, over images".into());
    let rows = compared.rows.iter().map(|row| {
        let gains = row.gains.iter().map(|one| one.as_ref().map_or_else(missing, gain));
        ("difference", row.label.clone(), gains.chain([images(row)]).collect())
    });
    *out += &Grid { head, rows: rows.collect(), marked: true }.render();
    *out += "<h3>Means over seeds</h3>\n";
    let pictured = |curve: &&Curve| curve.history == compared.title;
    *out += &svg::figures(&report.curves.iter().filter(pictured).cloned().collect::<Vec<_>>());
}

fn gain(gain: &Gain) -> String {
    let tag = gain.verdict.map_or_else(String::new, |verdict| tagged(verdict, gain.p_adjusted));
    let some = match gain.mean.seeds {
        [found, all] if found < all => format!("<small>{found} of {all} seeds</small>"),
        _ => String::new(),
    };
    let (mean, within) = (gain.mean.mean, gain.mean.interval.as_ref());
    let decimals = if mean.abs() < 10.0 { 2 } else { 1 };
    format!("<b>{mean:+.decimals$}</b>{}{some}{tag}", interval(within, decimals, true))
}

fn images(row: &GainRow) -> String {
    let (Some(compared), Some(verdict)) = (&row.images, row.images_verdict) else { return missing() };
    let Interval { mean, low, high, .. } = compared.interval;
    let [mean, low, high] = [mean, low, high].map(|share| format!("{:+.2}", 100.0 * share));
    format!("<b>{mean}</b><small>[{low}, {high}]</small>{}", tagged(verdict, Some(compared.test.p)))
}

fn tagged(verdict: Verdict, p: Option<f64>) -> String {
    let (class, words) = match verdict {
        Verdict::Better => ("up", "▲ above zero"),
        Verdict::Worse => ("down", "▼ below zero"),
        Verdict::WithinNoise => ("noise", "within noise"),
    };
    tag(class, words, p)
}

fn interval(interval: Option<&Interval>, decimals: usize, signed: bool) -> String {
    let number = |value: f64| if signed { format!("{value:+.decimals$}") } else { format!("{value:.decimals$}") };
    interval.map_or_else(String::new, |interval| {
        format!("<small>[{}, {}]</small>", number(interval.low), number(interval.high))
    })
}

fn reading(out: &mut String, report: &Report) {
    let level = 100.0 * report.level;
    let _ = write!(
        out,
        "<h2>How to read the numbers</h2>\n<ul>\n<li>An interval over seeds says what other seeds would give: other initial \
         weights, other held-out images, another order. The last column of a comparison says what other test images would \
         give of these seeds (sign flips by image; 95% intervals).</li>\n<li>Differences over seeds are tested by Student's \
         paired test, p corrected by Holm's method over the rows of a comparison; \"within noise\" means that p is above \
         {:.0}%. Of a few seeds the test assumes that differences are about normal.</li>\n<li>Epochs to an accuracy are of \
         those seeds that reach it.</li>\n<li>Small images and a small network are no CIFAR-10: what carries over is in which \
         direction, and how much of it is the length of steps, not the size of a gain.</li>\n</ul>\n",
        100.0 - level
    );
}
