//! When each stage waited and ran, as bars over the time of the run.
//!
//! A stage waits from when all that it needs was done. Where there are more stages than one can look at, those with the
//! same name in the file are a row whose height says how many of them ran at once.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use super::facts::{Facts, Stage};
use super::html::{section, short, text};
use super::story::{Ending, Try};
use crate::words;

const WIDTH: f64 = 1030.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 84.0;
const TOP: f64 = 26.0;
const ROW: f64 = 22.0;
const BAR: f64 = 12.0;
/// Rows that can be looked at.
const ROWS: usize = 60;
/// Columns of a row that stands for many.
const COLUMNS: usize = 280;
/// Shorter waits are not worth a bar: the runner looks about itself that long.
const WAIT: f64 = 0.1;

/// A line of the picture.
enum Row<'a> {
    Stage { stage: &'a Stage, since: f64 },
    Several { name: &'a str, stages: Vec<&'a Stage> },
}

impl Row<'_> {
    /// What was spent on it, in seconds.
    fn seconds(&self) -> f64 {
        let of = |stage: &Stage| stage.tries.iter().map(|one| one.end - one.start).sum::<f64>();
        match self {
            Row::Stage { stage, .. } => of(stage),
            Row::Several { stages, .. } => stages.iter().map(|stage| of(stage)).sum(),
        }
    }
}

pub(crate) fn show(facts: &Facts) -> String {
    let is_there = facts.stages.iter().any(|stage| !stage.tries.is_empty());
    let body = if is_there { picture(facts) } else { "<p>Nothing had to run.</p>\n".to_string() };
    section("timeline", "Timeline", &body)
}

/// From seconds to places.
#[derive(Clone, Copy)]
struct Scale {
    end: f64,
}

impl Scale {
    fn at(self, seconds: f64) -> f64 {
        LEFT + (seconds / self.end).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }
}

fn picture(facts: &Facts) -> String {
    let (rows, left_out) = rows(facts);
    let height = TOP + ROW * rows.len() as f64 + 8.0;
    let label = format!("when the stages ran, within {}", words::duration(facts.end));
    let mut canvas = Canvas { out: String::new(), scale: Scale { end: facts.end.max(0.001) }, y: TOP };
    canvas.axis(height);
    rows.iter().for_each(|row| canvas.row(row));
    let mut out = format!(
        "<div class=\"scroll plain\"><svg class=\"time\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{label}\">\n<title>{label}</title>\n{HATCH}{}</svg></div>\n{LEGEND}",
        canvas.out
    );
    if left_out > 0 {
        let _ = writeln!(out, "<p class=\"soft\">{left_out} rows that took less time are left out.</p>");
    }
    out
}

const LEGEND: &str = "<p class=\"soft legend\"><span class=\"key run\"></span> runs <span class=\"key fail\"></span> fails \
    <span class=\"key wait\"></span> could run and waits for its turn <span class=\"key point\"></span> needs not run, or cannot</p>\n";

const HATCH: &str = "<defs><pattern id=\"hatch\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
    <rect class=\"fail\" width=\"5\" height=\"5\"/><rect class=\"stripe\" width=\"2\" height=\"5\"/></pattern></defs>\n";

/// One a stage, or one a name in the file; the longest where those are too many too. And how many are left out.
fn rows(facts: &Facts) -> (Vec<Row<'_>>, usize) {
    let done: HashMap<&str, f64> =
        facts.stages.iter().filter_map(|stage| Some((stage.name.as_str(), stage.done?))).collect();
    let since = |stage: &Stage| {
        let read = stage.reads.iter().flat_map(|input| input.from.iter().map(|(name, _)| name));
        read.chain(&stage.after).filter_map(|name| done.get(name.as_str())).copied().fold(0.0, f64::max)
    };
    let mut rows: Vec<Row> = match facts.stages.len() {
        0..=ROWS => facts.stages.iter().map(|stage| Row::Stage { stage, since: since(stage) }).collect(),
        _ => by_base(facts).into_iter().map(|(name, stages)| Row::Several { name, stages }).collect(),
    };
    let all = rows.len();
    if all > ROWS {
        let mut seconds: Vec<f64> = rows.iter().map(Row::seconds).collect();
        seconds.sort_by(|a, b| b.total_cmp(a));
        rows.retain(|row| row.seconds() >= seconds[ROWS - 1]);
        rows.truncate(ROWS);
    }
    let left_out = all - rows.len();
    (rows, left_out)
}

fn by_base(facts: &Facts) -> Vec<(&str, Vec<&Stage>)> {
    let (mut order, mut groups): (Vec<&str>, BTreeMap<&str, Vec<&Stage>>) = (Vec::new(), BTreeMap::new());
    for stage in facts.stages.iter().filter(|stage| !stage.tries.is_empty()) {
        let group = groups.entry(&stage.base).or_default();
        if group.is_empty() {
            order.push(&stage.base);
        }
        group.push(stage);
    }
    order.into_iter().filter_map(|base| Some((base, groups.remove(base)?))).collect()
}

/// The picture as far as it is drawn.
struct Canvas {
    out: String,
    scale: Scale,
    /// The upper edge of the row to come.
    y: f64,
}

impl Canvas {
    fn axis(&mut self, height: f64) {
        let (step, end) = (step(self.scale.end), self.scale.end);
        let mut tick = 0.0;
        while tick <= end {
            let (x, top) = (self.scale.at(tick), TOP - 6.0);
            let name = if tick == 0.0 { "0".to_string() } else { words::duration(tick) };
            let _ = writeln!(
                self.out,
                "<path class=\"rule\" d=\"M{x:.1} {top}V{height}\"/><text class=\"soft\" x=\"{x:.1}\" y=\"14\" text-anchor=\"middle\">{name}</text>"
            );
            tick += step;
        }
    }

    fn row(&mut self, row: &Row) {
        let (name, title, told) = match row {
            Row::Stage { stage, since } => (stage.name.clone(), title(stage, *since), told(stage)),
            Row::Several { name, stages } if stages.len() > 1 => {
                let title = format!("{name}: {} stages", stages.len());
                (format!("{name} × {}", stages.len()), title, told_of_many(stages, self.scale.end))
            }
            Row::Several { name, stages } => (name.to_string(), name.to_string(), told_of_many(stages, self.scale.end)),
        };
        let _ = writeln!(self.out, "<g><title>{}</title>", text(&title));
        let (foot, base, end) = (self.y + ROW, self.y + 15.0, WIDTH - RIGHT);
        let _ = writeln!(
            self.out,
            "<path class=\"rule\" d=\"M{LEFT} {foot:.1}H{end}\"/><text x=\"{}\" y=\"{base:.1}\" text-anchor=\"end\">{}</text>\
             <text class=\"soft\" x=\"{}\" y=\"{base:.1}\">{told}</text>",
            LEFT - 10.0,
            short(&name, 25),
            end + 8.0
        );
        match row {
            Row::Stage { stage, since } => self.bars(stage, *since),
            Row::Several { stages, .. } => self.area(stages),
        }
        self.out += "</g>\n";
        self.y += ROW;
    }

    /// Tries and the waits before them, or the mark of what had none.
    fn bars(&mut self, stage: &Stage, since: f64) {
        let middle = self.y + ROW / 2.0;
        let mut free = since;
        for one in &stage.tries {
            if one.start - free > WAIT {
                let (from, to) = (self.scale.at(free), self.scale.at(one.start));
                let _ = writeln!(self.out, "<path class=\"wait\" d=\"M{from:.1} {middle}H{to:.1}\"/>");
            }
            self.bar(one);
            free = one.end;
        }
        if stage.tries.is_empty() {
            let (x, class) = (self.scale.at(stage.done.unwrap_or_default()) - 1.0, stage.standing.class());
            let y = middle - 6.0;
            let _ = writeln!(
                self.out,
                "<use href=\"#mark-{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"12\" height=\"12\"/>"
            );
        }
    }

    fn bar(&mut self, one: &Try) {
        let (from, to) = (self.scale.at(one.start), self.scale.at(one.end));
        let class = match one.ending {
            Ending::Well => "run",
            Ending::Open => "run open",
            Ending::Stopped => "run stopped",
            Ending::Failed => "fail",
        };
        let (top, width) = (self.y + (ROW - BAR) / 2.0, (to - from).max(2.0));
        let _ = writeln!(
            self.out,
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>"
        );
    }

    /// How many ran at once, at its highest the height of the row.
    fn area(&mut self, stages: &[&Stage]) {
        let busy = busy(stages, self.scale.end);
        let (most, foot) = (most(&busy), self.y + ROW - 2.0);
        let mut path = format!("M{LEFT} {foot:.1}");
        for (column, busy) in busy.iter().enumerate() {
            let from = self.scale.at(self.scale.end * column as f64 / COLUMNS as f64);
            let _ = write!(path, "H{from:.1}V{:.1}", foot - busy / most * (ROW - 5.0));
        }
        let _ = writeln!(self.out, "<path class=\"run\" d=\"{path}H{:.1}V{foot}z\"/>", self.scale.at(self.scale.end));
    }
}

/// A round time that divides the run into eight parts at most.
fn step(end: f64) -> f64 {
    const ROUND: [f64; 20] = [
        0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
        1800.0, 3600.0,
    ];
    let hours = (end / 8.0 / 3600.0).ceil() * 3600.0;
    ROUND.into_iter().find(|step| end / step <= 8.0).unwrap_or(hours)
}

/// What stands behind a row.
fn told(stage: &Stage) -> String {
    let seconds: f64 = stage.tries.iter().map(|one| one.end - one.start).sum();
    match stage.tries.len() {
        0 => stage.standing.word().into(),
        1 => words::duration(seconds),
        tries => format!("{}, {tries}×", words::duration(seconds)),
    }
}

fn told_of_many(stages: &[&Stage], end: f64) -> String {
    match stages.iter().filter(|stage| !stage.standing.is_success()).count() {
        0 => format!("{:.0} at once", most(&busy(stages, end))),
        bad => format!("{bad} not done"),
    }
}

fn most(busy: &[f64]) -> f64 {
    busy.iter().copied().fold(1.0, f64::max)
}

/// `sft: 3 tries; starts at 2.0 s, takes 1 min 02 s`
fn title(stage: &Stage, since: f64) -> String {
    let mut parts = vec![format!("{}: {}", stage.name, stage.standing.word())];
    if let Some(first) = stage.tries.first() {
        if first.start - since > WAIT {
            parts.push(format!("waited {}", words::duration(first.start - since)));
        }
        let told =
            |one: &Try| format!("from {} for {}", words::duration(one.start), words::duration(one.end - one.start));
        parts.extend(stage.tries.iter().map(told));
    }
    parts.join("\n")
}

/// The mean number of tries at once, in columns of equal time.
fn busy(stages: &[&Stage], end: f64) -> Vec<f64> {
    let column = end / COLUMNS as f64;
    let mut busy = vec![0.0; COLUMNS];
    for one in stages.iter().flat_map(|stage| &stage.tries) {
        let first = ((one.start / column) as usize).min(COLUMNS - 1);
        let last = ((one.end / column) as usize).min(COLUMNS - 1);
        for (index, busy) in busy.iter_mut().enumerate().take(last + 1).skip(first) {
            let (from, to) = (column * index as f64, column * (index + 1) as f64);
            *busy += ((one.end.min(to) - one.start.max(from)) / column).max(0.0);
        }
    }
    busy
}

#[cfg(test)]
mod tests {
    use super::super::tests::stage;
    use super::*;

    #[test]
    fn there_are_at_most_nine_ticks_whatever_the_time() {
        for end in [0.004, 0.03, 1.0, 7.9, 59.0, 3_600.0, 86_400.0, 3e6] {
            let step = step(end);
            assert!(end / step <= 8.0 + 1e-9 && end / step >= 1.0, "{end} in steps of {step}");
        }
    }

    #[test]
    fn the_work_of_many_is_all_counted() {
        let mut stages = [stage("a@x=1"), stage("a@x=2")];
        stages[0].tries = vec![Try { start: 0.0, end: 10.0, ending: Ending::Well }];
        stages[1].tries = vec![Try { start: 5.0, end: 10.0, ending: Ending::Well }];
        let busy = busy(&stages.iter().collect::<Vec<_>>(), 20.0);
        let work: f64 = busy.iter().map(|busy| busy * 20.0 / COLUMNS as f64).sum();
        assert!((work - 15.0).abs() < 1e-9);
        assert!((busy[COLUMNS / 4 + 1] - 2.0).abs() < 1e-9 && busy[COLUMNS - 1] == 0.0);
    }
}
