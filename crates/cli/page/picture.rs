//! The graph as a picture. A state is a colour, a mark of its own shape and a word, so that no one of them has to do.

use std::fmt::Write;

use super::facts::{Facts, Stage, Standing};
use super::fold::{Folded, Node, fold};
use super::html::{self, section, short, text};
use super::layout::{BOX, Layout, Point, layout};
use crate::words;

/// Ports that a line's tooltip names.
const LABELS: usize = 8;

/// What the marks look like, in a square of 16.
fn shape(standing: Standing) -> &'static str {
    match standing {
        Standing::Ran => {
            "<circle class=\"full\" cx=\"8\" cy=\"8\" r=\"7\"/><path class=\"cut\" d=\"M4.5 8.2l2.5 2.6l4.6-5.4\"/>"
        }
        Standing::Hit => {
            "<circle class=\"ring\" cx=\"8\" cy=\"8\" r=\"6\"/><path class=\"line\" d=\"M5 6.5h6M5 9.5h6\"/>"
        }
        Standing::Failed => {
            "<path class=\"full\" d=\"M5 1h6l4 4v6l-4 4h-6l-4-4v-6z\"/><path class=\"cut\" d=\"M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6\"/>"
        }
        Standing::Allowed => {
            "<path class=\"ring\" d=\"M5.5 2h5l3.5 3.5v5l-3.5 3.5h-5l-3.5-3.5v-5z\"/><path class=\"line\" d=\"M5.5 5.5l5 5M10.5 5.5l-5 5\"/>"
        }
        Standing::Killed => {
            "<rect class=\"full\" x=\"1.5\" y=\"1.5\" width=\"13\" height=\"13\"/><path class=\"cut\" d=\"M5 5l6 6M11 5l-6 6\"/>"
        }
        Standing::Interrupted => {
            "<circle class=\"full\" cx=\"8\" cy=\"8\" r=\"7\"/><path class=\"cut\" d=\"M6 5v6M10 5v6\"/>"
        }
        Standing::Blocked => {
            "<rect class=\"ring\" x=\"2\" y=\"2\" width=\"12\" height=\"12\"/><path class=\"line\" d=\"M4.5 8h7\"/>"
        }
        Standing::Skipped => "<path class=\"line\" d=\"M3 3.5l4.5 4.5l-4.5 4.5M8.5 3.5l4.5 4.5l-4.5 4.5\"/>",
        Standing::Running => "<path class=\"full\" d=\"M3.5 1.5l11 6.5l-11 6.5z\"/>",
        Standing::Waiting => {
            "<circle class=\"full\" cx=\"3\" cy=\"8\" r=\"1.7\"/><circle class=\"full\" cx=\"8\" cy=\"8\" r=\"1.7\"/><circle class=\"full\" cx=\"13\" cy=\"8\" r=\"1.7\"/>"
        }
    }
}

/// The marks, for the whole page; and the end of a line.
pub(crate) fn marks() -> String {
    let symbol = |standing: Standing| {
        format!(
            "<symbol id=\"mark-{0}\" viewBox=\"0 0 16 16\"><g class=\"{0}\">{1}</g></symbol>\n",
            standing.class(),
            shape(standing)
        )
    };
    let symbols: String = Standing::ALL.into_iter().map(symbol).collect();
    format!("<svg class=\"defs\" width=\"0\" height=\"0\" aria-hidden=\"true\">\n{symbols}</svg>\n")
}

pub(crate) fn show(facts: &Facts) -> String {
    let body = match fold(&facts.stages, &facts.edges) {
        _ if facts.stages.is_empty() => "<p>Nothing is known of its stages.</p>\n".to_string(),
        _ if facts.is_derived && facts.edges.is_empty() && facts.stages.len() > 1 => {
            "<p>Nothing had to run, so the run kept no graph.</p>\n".to_string()
        }
        None => {
            "<p>There are too many stages for a picture: <code>gazal-pipe graph FILE</code> writes them down.</p>\n"
                .into()
        }
        Some(folded) => picture(facts, &folded),
    };
    section("graph", "Graph", &body)
}

fn picture(facts: &Facts, folded: &Folded) -> String {
    let pairs: Vec<(usize, usize)> = folded.edges.keys().copied().collect();
    let laid = layout(folded.nodes.len(), &pairs);
    let (width, height) = laid.size;
    let label = format!("{} stages and what they read", facts.stages.len());
    let mut out = format!(
        "<div class=\"scroll plain\"><svg class=\"graph\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"{label}\">\n<title>{label}</title>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
         <path class=\"tip\" d=\"M0 0.5L8 4L0 7.5z\"/></marker></defs>\n"
    );
    lines(&mut out, folded, &laid);
    for (node, &corner) in folded.nodes.iter().zip(&laid.boxes) {
        out += &self::node(node, corner, &facts.stages);
    }
    out += "</svg></div>\n";
    out + &legend(facts) + &notes(facts)
}

fn lines(out: &mut String, folded: &Folded, laid: &Layout) {
    for (labels, line) in folded.edges.values().zip(&laid.lines) {
        let class = if labels.is_empty() { "edge after" } else { "edge" };
        let shown: Vec<&String> = labels.iter().take(LABELS).collect();
        let mut title = shown.iter().map(|label| text(label)).collect::<Vec<_>>().join("\n");
        if labels.len() > LABELS {
            title += &format!("\nand {} more", labels.len() - LABELS);
        }
        if labels.is_empty() {
            title = "decides whether it runs, or serves it".into();
        }
        let _ = writeln!(
            out,
            "<path class=\"{class}\" marker-end=\"url(#tip)\" d=\"{}\"><title>{title}</title></path>",
            path(line)
        );
    }
}

/// Bends between layers, straight through them.
fn path(line: &[Point]) -> String {
    let mut out = format!("M{:.1} {:.1}", line[0].0, line[0].1);
    for (index, pair) in line.windows(2).enumerate() {
        let [(x, y), (to_x, to_y)] = [pair[0], pair[1]];
        let half = (y + to_y) / 2.0;
        let _ = match index % 2 {
            0 => write!(out, "C{x:.1} {half:.1} {to_x:.1} {half:.1} {to_x:.1} {to_y:.1}"),
            _ => write!(out, "V{to_y:.1}"),
        };
    }
    out
}

fn node(node: &Node, (x, y): Point, stages: &[Stage]) -> String {
    let standing = node.standing(stages);
    let class = standing.class();
    let first = node.members.first().copied().unwrap_or_default();
    let count = node.members.len();
    let (detail, back) = match count {
        1 => (single(&stages[first]), String::new()),
        _ => (several(node, stages), stacked((x, y))),
    };
    let name =
        if count > 1 && !node.name.contains('×') { format!("{} × {count}", node.name) } else { node.name.clone() };
    let (width, height) = BOX;
    format!(
        "<a href=\"#stage-{first}\"><g class=\"node {class}\"><title>{}: {}\n{}</title>{back}\
         <rect class=\"box\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width}\" height=\"{height}\" rx=\"7\"/>\
         <use href=\"#mark-{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"16\" height=\"16\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\">{}</text><text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\">{detail}</text></g></a>\n",
        text(&name),
        text(&node.kind),
        text(&detail),
        x + 10.0,
        y + 14.0,
        x + 34.0,
        y + 19.0,
        short(&name, 18),
        x + 34.0,
        y + 35.0,
    )
}

/// What shows that a node is several.
fn stacked((x, y): Point) -> String {
    let (width, height) = BOX;
    let sheet = |by: f64| {
        format!(
            "<rect class=\"box sheet\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width}\" height=\"{height}\" rx=\"7\"/>",
            x + by,
            y + by
        )
    };
    sheet(6.0) + &sheet(3.0)
}

fn single(stage: &Stage) -> String {
    match stage.seconds.filter(|_| !stage.tries.is_empty() && stage.standing != Standing::Hit) {
        Some(seconds) => format!("{}, {}", stage.standing.word(), words::duration(seconds)),
        None => stage.standing.word().to_string(),
    }
}

/// `3 ran, 1 failed`
fn several(node: &Node, stages: &[Stage]) -> String {
    let counts = Standing::ALL.into_iter().rev().map(|standing| (node.count(stages, standing), standing));
    let counts: Vec<_> = counts.filter(|(count, _)| *count > 0).collect();
    match counts[..] {
        [(_, standing)] if node.seconds(stages) > 0.0 && standing != Standing::Hit => {
            format!("{}, {}", standing.word(), words::duration(node.seconds(stages)))
        }
        [(_, standing)] => format!("all {}", standing.word()),
        _ => counts
            .iter()
            .take(2)
            .map(|(count, standing)| format!("{count} {}", standing.word()))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The states that there are.
fn legend(facts: &Facts) -> String {
    let there = Standing::ALL.into_iter().filter(|standing| facts.count(*standing) > 0);
    let states: String = there.map(|standing| format!("{} ", html::state(standing))).collect();
    format!("<p class=\"legend\">{states}</p>\n")
}

fn notes(facts: &Facts) -> String {
    let mut notes = Vec::new();
    if facts.stages.iter().any(|stage| stage.base != stage.name) {
        notes.push("The points of a matrix are one box.");
    }
    if facts.is_derived {
        notes.push("Nothing had to run, so lines were found by the contents that were read: where two stages made the same, the first stands for both.");
    }
    if notes.is_empty() { String::new() } else { format!("<p class=\"soft\">{}</p>\n", notes.join(" ")) }
}
