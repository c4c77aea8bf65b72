//! Pictures. Their colours are variables of the style sheet.

use std::fmt::Write;

use super::curves::{Curve, Line};
use super::table::Table;
use crate::page::{PICTURE_STYLE, escape};

const COLOURS: usize = 6;
const WIDTH: f64 = 560.0;
/// Points that a line is drawn with; more are averaged.
const POINTS: usize = 240;
/// Lines of fewer points are drawn as they are, with their points.
const FEW: usize = 32;

/// A picture as a file of its own.
pub fn file(picture: &str) -> String {
    let head = "<svg xmlns=\"http://www.w3.org/2000/svg\" ";
    let styled = picture.replacen("<svg ", head, 1).replacen('>', &format!(">\n<style>\n{PICTURE_STYLE}</style>"), 1);
    styled + "\n"
}

/// From values to places.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// Covers all values, a little more if they are all the same.
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Scale {
        let values = values.filter(|value| value.is_finite());
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        let room = if high > low { (high - low) * 0.04 } else { high.abs().max(1.0) * 0.1 };
        Scale { low: low - room, high: high + room, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// At most eight round values in the range, and the decimals to write them with.
    fn ticks(&self) -> (Vec<f64>, usize) {
        let rough = (self.high - self.low) / 7.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough);
        let step = step.unwrap_or(power);
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        ((first..=last).map(|index| index as f64 * step).collect(), decimals)
    }
}

/// A learning curve: as logged (faint) and as a moving average.
pub fn lines(curve: &Curve) -> String {
    const HEIGHT: f64 = 270.0;
    let drawn: Vec<(Points, Points)> = curve.lines.iter().map(smoothed).collect();
    let raw = || drawn.iter().flat_map(|(raw, _)| raw);
    let x = Scale { ..Scale::over(raw().map(|point| point.0), 54.0, WIDTH - 14.0) };
    let y = Scale::over(raw().map(|point| point.1), HEIGHT - 40.0, 36.0);
    let mut out = open(HEIGHT, &curve.caption());
    axes(&mut out, &x, &y, curve.axis);
    let mut left = x.from;
    for (index, (line, (raw, smooth))) in curve.lines.iter().zip(&drawn).enumerate() {
        let colour = index % COLOURS + 1;
        if line.points.len() >= FEW {
            let _ = writeln!(out, "<path class=\"line raw s{colour}\" d=\"{}\"/>", path(raw, &x, &y));
        } else {
            for point in raw {
                let _ = writeln!(
                    out,
                    "<circle class=\"s{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"/>",
                    x.at(point.0),
                    y.at(point.1)
                );
            }
        }
        let _ = writeln!(out, "<path class=\"line s{colour}\" d=\"{}\"/>", path(smooth, &x, &y));
        let _ = writeln!(out, "<path class=\"line s{colour}\" d=\"M{left:.1} 16h16\"/>");
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"20\">{}</text>", left + 21.0, escape(&line.name));
        left += 40.0 + 6.6 * line.name.chars().count() as f64;
    }
    out + "</svg>"
}

/// Pictures beside one another, for a page.
pub fn figures(curves: &[Curve]) -> String {
    let mut out = String::from("<div class=\"pictures\">\n");
    for curve in curves {
        let caption = escape(&curve.caption());
        let _ = writeln!(out, "<figure><figcaption>{caption}</figcaption>\n{}</figure>", lines(curve));
    }
    out + "</div>\n"
}

fn open(height: f64, label: &str) -> String {
    let label = escape(label);
    format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">\n<title>{label}</title>\n"
    )
}

fn axes(out: &mut String, x: &Scale, y: &Scale, axis: &str) {
    let (ticks, decimals) = y.ticks();
    for tick in ticks {
        let at = y.at(tick);
        let _ = writeln!(out, "<path class=\"rule\" d=\"M{:.1} {at:.1}H{:.1}\"/>", x.from, x.to);
        let _ = writeln!(
            out,
            "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            x.from - 6.0,
            at + 4.0,
            number(tick, decimals)
        );
    }
    let (ticks, decimals) = x.ticks();
    for tick in ticks {
        let _ = writeln!(
            out,
            "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x.at(tick),
            y.from + 17.0,
            number(tick, decimals)
        );
    }
    let _ = writeln!(
        out,
        "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{axis}</text>",
        x.to,
        y.from + 33.0
    );
}

/// Without the sign of a zero.
fn number(value: f64, decimals: usize) -> String {
    format!("{:.decimals$}", if value == 0.0 { 0.0 } else { value })
}

fn path(points: &[(f64, f64)], x: &Scale, y: &Scale) -> String {
    let mut out = String::new();
    for (index, point) in points.iter().enumerate() {
        let _ = write!(out, "{}{:.1} {:.1}", if index == 0 { 'M' } else { 'L' }, x.at(point.0), y.at(point.1));
    }
    out
}

type Points = Vec<(f64, f64)>;

/// A line's points, averaged to at most [`POINTS`], and their moving average.
fn smoothed(line: &Line) -> (Points, Points) {
    let bucket = line.points.len().div_ceil(POINTS).max(1);
    let raw: Vec<_> = line.points.chunks(bucket).filter_map(middle).collect();
    let half = if line.points.len() < FEW { 0 } else { raw.len() / 24 };
    let around = |index: usize| {
        // As many points after as before, so that the steep beginning does not bend; fewer where the line ends.
        let before = half.min(index);
        let after = before.min(raw.len() - 1 - index);
        Some((raw[index].0, middle(&raw[index - before..=index + after])?.1))
    };
    let smooth = (0..raw.len()).filter_map(around).collect();
    (raw, smooth)
}

fn middle(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    (!points.is_empty()).then(|| (x / count, y / count))
}

/// The last column of a table of shares: a dot with its interval a model, small ones for seeds, baselines as lines.
pub fn dots(table: &Table) -> String {
    const ROW: f64 = 30.0;
    const TOP: f64 = 30.0;
    let rows: Vec<_> =
        table.models.iter().filter_map(|row| Some((row, &row.cells.last()?.as_ref()?.interval))).collect();
    let bottom = TOP + ROW * rows.len() as f64;
    let highest = rows.iter().fold(0.1_f64, |highest, (_, interval)| highest.max(interval.high));
    let x = Scale { low: 0.0, high: (highest * 11.0).ceil().min(10.0) / 10.0, from: 110.0, to: WIDTH - 60.0 };
    let mut out = open(bottom + 26.0, &format!("{} with 95% intervals", table.metric.title()));
    for tick in x.ticks().0 {
        let at = x.at(tick);
        let _ = writeln!(out, "<path class=\"rule\" d=\"M{at:.1} {TOP}V{bottom}\"/>");
        let _ = writeln!(
            out,
            "<text class=\"soft\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0}</text>",
            bottom + 17.0,
            tick * 100.0
        );
    }
    baselines(&mut out, table, &x, TOP, bottom);
    for (index, (row, interval)) in rows.iter().enumerate() {
        let (y, colour) = (TOP + ROW * (index as f64 + 0.5), index % COLOURS + 1);
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            x.from - 12.0,
            y + 4.0,
            escape(&row.model)
        );
        let _ = writeln!(
            out,
            "<path class=\"line s{colour}\" d=\"M{:.1} {y}H{:.1}\"/>",
            x.at(interval.low),
            x.at(interval.high)
        );
        let place = table.models.iter().position(|model| model.model == row.model);
        for group in table.groups.iter().filter_map(|group| group.models.get(place?)?.as_ref()) {
            let _ = writeln!(
                out,
                "<circle class=\"seed s{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"/>",
                x.at(group.mean),
                y + 9.0
            );
        }
        let _ = writeln!(out, "<circle class=\"s{colour}\" cx=\"{:.1}\" cy=\"{y}\" r=\"4.5\"/>", x.at(interval.mean));
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - 8.0,
            y + 4.0,
            table.metric.show(interval.mean)
        );
    }
    out + "</svg>"
}

/// Dashed lines, the lower one named on its left.
fn baselines(out: &mut String, table: &Table, x: &Scale, top: f64, bottom: f64) {
    let last = table.baselines.iter().filter_map(|baseline| Some((baseline.name, (*baseline.cells.last()?)?)));
    let mut values: Vec<_> = last.collect();
    values.sort_by(|a, b| a.1.total_cmp(&b.1));
    for (index, (name, value)) in values.into_iter().enumerate() {
        let at = x.at(value);
        let (anchor, gap) = if index == 0 { ("end", -4.0) } else { ("start", 4.0) };
        let _ = writeln!(out, "<path class=\"base\" d=\"M{at:.1} {:.1}V{bottom}\"/>", top - 14.0);
        let _ = writeln!(
            out,
            "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{name}</text>",
            at + gap,
            top - 8.0
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let scale = |low, high| Scale { low, high, from: 0.0, to: 1.0 };
        assert_eq!(scale(0.0, 1.0).ticks(), (vec![0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0], 1));
        assert_eq!(scale(-3.0, 412.0).ticks(), (vec![0.0, 100.0, 200.0, 300.0, 400.0], 0));
        assert!((Scale::over([2.0, 2.0].into_iter(), 0.0, 1.0).at(2.0) - 0.5).abs() < 1e-9);
        assert_eq!(Scale::over(std::iter::empty(), 0.0, 1.0).ticks().1, 1);
    }

    #[test]
    fn long_lines_are_thinned_and_keep_their_ends() {
        let points = (0..1000).map(|step| (f64::from(step), 1.0)).collect();
        let (raw, smooth) = smoothed(&Line { name: String::new(), points });
        assert_eq!((raw.len(), smooth.len()), (200, 200));
        assert_eq!(raw[0], smooth[0]);
        assert!(smoothed(&Line { name: String::new(), points: Vec::new() }).1.is_empty());
    }
}
