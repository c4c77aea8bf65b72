//! The study as one page.

use std::fmt::Write;

use gazal_tasks::stats::{Interval, Verdict};

use super::measure::{Measure, Sort};
use super::published::{BASELINES, Finding, Follows, Logged, TARGET, Version};
use super::table::{Compared, Gain, GainRow, Mean};
use super::{Images, Report, Subject, Text};
use crate::page::{self, Grid, escape, missing, tag};
use crate::report::curves::Curve;
use crate::report::svg;

/// The whole page.
pub fn render(report: &Report) -> String {
    let mut out = page::opening(&report.title);
    let (level, seeds) = (100.0 * report.level, report.groups.len());
    let what = match &report.subject {
        Subject::Images(images) => {
            format!(
                "Trainings of {} epochs, {seeds} seeds of each, tested on {} images.",
                images.epochs, images.test_images
            )
        }
        Subject::Text(text) => format!(
            "Trainings of {} steps, {seeds} seeds of each. Losses are nats a character, without dropout.",
            text.steps
        ),
    };
    let _ = writeln!(
        out,
        "<p>{what} Means are over seeds with Student's {level:.0}% intervals; differences are paired by seed.</p>"
    );
    match &report.subject {
        Subject::Images(images) => published(&mut out, images),
        Subject::Text(text) => published_text(&mut out, text),
    }
    out += &svg::figures(&report.published_curves);
    ours(&mut out, report);
    for compared in &report.comparisons {
        comparison(&mut out, compared, report);
    }
    reading(&mut out, report);
    out + page::CLOSING
}

fn published(out: &mut String, images: &Images) {
    *out += "<h2>The abstracts, the logs, and this run</h2>\n<p class=\"soft\">Every number that the two abstracts state of \
        CIFAR-10, beside each measure that it may be: recomputed from the logs of the author's notebooks (in brackets what \
        their rounding leaves open), and what this run gives for the same measure.</p>\n";
    measures(out, Sort::Images);
    let mut head = vec!["stated".to_string()];
    head.extend(BASELINES.map(|(name, _)| format!("logs, over {name}")));
    head.extend(["verdict".to_string(), "this run, over Adam".into(), "this run, over AdamW".into()]);
    let rows = images
        .published
        .iter()
        .zip(&images.beside)
        .map(|(finding, beside)| ("model", finding.measure.short().to_string(), finding_cells(finding, beside)));
    *out += &Grid { head, rows: rows.collect(), marked: false }.render();
    remarks(out, &images.remarks);
    *out += "<h3>The author's logs</h3>\n";
}

/// What short names stand for.
fn measures(out: &mut String, sort: Sort) {
    *out += "<ul class=\"soft\">\n";
    for measure in sort.measures() {
        let _ = writeln!(out, "<li><b>{}</b>: {}</li>", measure.short(), escape(&measure.gain_name(TARGET)));
    }
    *out += "</ul>\n";
}

fn remarks(out: &mut String, remarks: &[String]) {
    *out += "<ul>\n";
    for remark in remarks {
        let _ = writeln!(out, "<li>{}</li>", escape(remark));
    }
    *out += "</ul>\n";
}

fn published_text(out: &mut String, text: &Text) {
    *out += "<h2>EXAdam over Adam: the logs, and this run</h2>\n<p class=\"soft\">What the author's notebook printed of a \
        model of 14,335,553 parameters on Tiny Shakespeare, once with each version of EXAdam, and what this run gives for the \
        same measure; above zero is better. No number of the abstracts is of this model.</p>\n";
    measures(out, Sort::Text);
    let versions = [Version::V1, Version::V2];
    let head = versions.iter().flat_map(|version| [format!("{}, logs", version.name()), "this run".into()]);
    let rows = Measure::TEXT.iter().map(|measure| {
        let gains = text.published_gains.iter().zip(&text.beside).filter(|(logged, _)| logged.measure == *measure);
        let cells = gains.flat_map(|(logged, beside)| {
            let number = |gain: f64| {
                let decimals = measure.gain_decimals(gain);
                format!("<b>{gain:+.decimals$}</b>")
            };
            [logged.gain.map_or_else(missing, number), beside.as_ref().map_or_else(missing, |one| gain(*measure, one))]
        });
        ("model", measure.short().to_string(), cells.collect())
    });
    *out += &Grid { head: head.collect(), rows: rows.collect(), marked: false }.render();
    remarks(out, &text.remarks);
    for (version, name) in versions.into_iter().zip(["February 2025", "April 2025"]) {
        let _ = writeln!(out, "<h3>The author's logs of {name}</h3>");
        let head = Measure::TEXT.map(|measure| measure.name(TARGET)).into();
        let rows = text.published.iter().filter(|logged| logged.version == version).map(|logged| {
            let values = Measure::TEXT.iter().zip(&logged.measures);
            let cell = |(measure, value): (&Measure, &Option<f64>)| {
                let decimals = measure.decimals();
                value.map_or_else(missing, |value| format!("<b>{value:.decimals$}</b>"))
            };
            ("model", logged.optimizer.to_string(), values.map(cell).collect())
        });
        *out += &Grid { head, rows: rows.collect(), marked: false }.render();
    }
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
    cells.extend(beside.iter().map(|one| one.as_ref().map_or_else(missing, |one| gain(finding.measure, one))));
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
    let measures = report.subject.sort().measures();
    head.extend(measures.iter().map(|measure| measure.name(report.accuracy_target)));
    let rows = report.labels.iter().map(|row| {
        let means = measures.iter().zip(&row.means);
        let means = means.map(|(measure, mean)| mean.as_ref().map_or_else(missing, |mean| level(*measure, mean)));
        let rate = format!("{}<small>{}</small>", row.learning_rate, escape(&row.optim));
        ("model", row.label.clone(), std::iter::once(rate).chain(means).collect())
    });
    *out += &Grid { head, rows: rows.collect(), marked: false }.render();
}

fn level(measure: Measure, mean: &Mean) -> String {
    let decimals = measure.decimals();
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
    let sort = report.subject.sort();
    let names = sort.measures().iter().map(|measure| measure.gain_name(report.accuracy_target));
    let over_images = (sort == Sort::Images).then(|| "test accuracy, over images".to_string());
    let rows = compared.rows.iter().map(|row| {
        let gains = sort.measures().iter().zip(&row.gains);
        let gains = gains.map(|(measure, one)| one.as_ref().map_or_else(missing, |one| gain(*measure, one)));
        let over_images = over_images.is_some().then(|| images(row));
        ("difference", row.label.clone(), gains.chain(over_images).collect())
    });
    let marked = over_images.is_some();
    *out += &Grid { head: names.chain(over_images.clone()).collect(), rows: rows.collect(), marked }.render();
    *out += "<h3>Means over seeds</h3>\n";
    let pictured = |curve: &&Curve| curve.history == compared.title;
    *out += &svg::figures(&report.curves.iter().filter(pictured).cloned().collect::<Vec<_>>());
}

fn gain(measure: Measure, gain: &Gain) -> String {
    let tag = gain.verdict.map_or_else(String::new, |verdict| tagged(verdict, gain.p_adjusted));
    let some = match gain.mean.seeds {
        [found, all] if found < all => format!("<small>{found} of {all} seeds</small>"),
        _ => String::new(),
    };
    let (mean, within) = (gain.mean.mean, gain.mean.interval.as_ref());
    let decimals = measure.gain_decimals(mean);
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
    let noise = 100.0 - 100.0 * report.level;
    let [drawn, counted, carried] = match report.subject.sort() {
        Sort::Images => [
            "other initial weights, other held-out images, another order. The last column of a comparison says what other \
             test images would give of these seeds (sign flips by image; 95% intervals).",
            "Epochs to an accuracy are of those seeds that reach it.",
            "Small images and a small network are no CIFAR-10: what carries over is in which direction, and how much of it \
             is the length of steps, not the size of a gain.",
        ],
        Sort::Text => [
            "other initial weights, other batches, other dropout. Of another text it says nothing.",
            "The lowest held-out loss is chosen among the evaluations that it is told of, which makes it a little too low \
             for all. Steps are those of evaluations, and to another's lowest loss they are of those seeds that reach it.",
            "A small model that is trained for a short while does not come to know its text by heart, as the author's does: \
             its last held-out loss is then its lowest. What carries over is how much of a gain is the length of steps, not \
             the size of a gain.",
        ],
    };
    let _ = write!(
        out,
        "<h2>How to read the numbers</h2>\n<ul>\n<li>An interval over seeds says what other seeds would give: {drawn}</li>\n\
         <li>Differences over seeds are tested by Student's paired test, p corrected by Holm's method over the rows of a \
         comparison; \"within noise\" means that p is above {noise:.0}%. Of a few seeds the test assumes that differences are \
         about normal.</li>\n<li>{counted}</li>\n<li>{carried}</li>\n</ul>\n"
    );
}
