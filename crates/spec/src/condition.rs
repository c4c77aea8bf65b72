//! Conditions on metrics: `eval.mini_medqa.acc >= 0.5`, `eval@model=sft.mini_medqa.acc > eval@model=base.mini_medqa.acc + 0.02`.
//!
//! A metric is `STAGE.TASK.METRIC`, or `STAGE.METRIC` where the stage's metrics are not by task. On the left a stage
//! with a matrix means all its points, or, in a condition of that very stage, the point itself; on the right it must be
//! one.

use gazal_stage_api::{PortType, Role};

use crate::diagnostic::{Mistake, Origin};
use crate::reference::Directory;
use crate::stage::Draft;

/// What a condition looks like, for messages.
pub(crate) const EXAMPLE: &str = "e.g. `eval.mini_medqa.acc >= 0.5`";

/// A comparison of metrics. It is true when it holds at every point on its left.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// As written.
    pub text: String,
    pub left: Metric,
    pub op: Comparison,
    pub right: Bound,
}

/// A metric of one stage or of several points of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Indices into [`crate::Pipeline::stages`].
    pub stages: Vec<usize>,
    /// Their output of type `metrics`.
    pub output: String,
    /// Where it is in `metrics.json`: task and metric, or the metric alone.
    pub path: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

/// What the left side is compared with: a number, or a metric of one stage plus a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub metric: Option<Metric>,
    pub plus: f64,
}

const COMPARISONS: [(&str, Comparison); 6] = [
    (">=", Comparison::GreaterOrEqual),
    ("<=", Comparison::LessOrEqual),
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    (">", Comparison::Greater),
    ("<", Comparison::Less),
];

impl Comparison {
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::GreaterOrEqual => left >= right,
            Comparison::Greater => left > right,
        }
    }
}

impl Condition {
    /// Every stage whose metrics it reads.
    pub fn stages(&self) -> impl Iterator<Item = usize> + '_ {
        self.left.stages.iter().chain(self.right.metric.iter().flat_map(|metric| &metric.stages)).copied()
    }

    /// At a point of a matrix, the stage's own name means that point alone.
    pub(crate) fn seen_from(mut self, stage: usize) -> Condition {
        if self.left.stages.contains(&stage) {
            self.left.stages = vec![stage];
        }
        self
    }

    /// The same condition over stages with other indices; `None` where one is gone.
    pub(crate) fn renumbered(mut self, rank: &[Option<usize>]) -> Option<Condition> {
        let sides = std::iter::once(&mut self.left).chain(self.right.metric.as_mut());
        for stage in sides.flat_map(|metric| metric.stages.iter_mut()) {
            *stage = rank[*stage]?;
        }
        Some(self)
    }
}

/// A condition as written, for all that can be said of it before the stages are known.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub text: String,
    pub origin: Origin,
}

/// Reads a condition against the stages of the file.
pub(crate) fn resolve(text: &str, drafts: &[Box<Draft>], directory: &Directory) -> Result<Condition, Mistake> {
    let wrong = |message: String| Mistake { message, help: Some(EXAMPLE.to_string()) };
    let found = split(text);
    let (left, op, right) =
        found.ok_or_else(|| wrong(format!("`{text}` compares nothing: it has no `>=`, `<`, `==`, …")))?;
    let left = metric(left, drafts, directory)?;
    Ok(Condition { text: text.to_string(), left, op, right: bound(right, drafts, directory)? })
}

/// The first comparison that stands between two spaces, since names of matrix points may hold `<` and `=`; without
/// any, the first one.
fn split(text: &str) -> Option<(&str, Comparison, &str)> {
    let first = |spaces: &str| {
        let found = COMPARISONS.iter().filter_map(|(sign, op)| {
            let sign = format!("{spaces}{sign}{spaces}");
            Some((text.find(&sign)?, sign.len(), *op))
        });
        found.min_by_key(|(at, length, _)| (*at, std::cmp::Reverse(*length)))
    };
    let (at, length, op) = first(" ").or_else(|| first(""))?;
    Some((text[..at].trim(), op, text[at + length..].trim()))
}

fn bound(text: &str, drafts: &[Box<Draft>], directory: &Directory) -> Result<Bound, Mistake> {
    if let Ok(plus) = text.parse::<f64>() {
        return finite(plus, text).map(|plus| Bound { metric: None, plus });
    }
    let (name, plus) = match text.rsplit_once(" + ").map(|(name, plus)| (name, plus, 1.0)) {
        Some(split) => Some(split),
        None => text.rsplit_once(" - ").map(|(name, plus)| (name, plus, -1.0)),
    }
    .map_or((text, Ok(0.0)), |(name, plus, sign)| (name, plus.trim().parse::<f64>().map(|plus| sign * plus)));
    let plus = plus
        .map_err(|_| Mistake { message: format!("`{text}` does not end in a number"), help: Some(EXAMPLE.into()) })?;
    let metric = metric(name.trim(), drafts, directory)?;
    if metric.stages.len() != 1 {
        let message = format!("`{name}` is a metric of {} stages: on the right there must be one", metric.stages.len());
        return Err(Mistake { message, help: Some("select one point of the matrix: `stage@axis=value`".into()) });
    }
    Ok(Bound { metric: Some(metric), plus: finite(plus, text)? })
}

fn finite(number: f64, text: &str) -> Result<f64, Mistake> {
    let message = format!("`{text}` is not a finite number");
    if number.is_finite() { Ok(number) } else { Err(Mistake { message, help: None }) }
}

/// `STAGE.TASK.METRIC` or `STAGE.METRIC`; a stage's selection may hold dots, so the longest name that is one counts.
fn metric(text: &str, drafts: &[Box<Draft>], directory: &Directory) -> Result<Metric, Mistake> {
    let dots: Vec<usize> = text.match_indices('.').map(|(at, _)| at).collect();
    let mut first_miss = None;
    for &at in dots.iter().rev().take(2) {
        match directory.find(&text[..at]) {
            Ok(found) if found.output.is_none() => {
                let path = text[at + 1..].split('.').map(str::to_string).collect();
                return Ok(Metric {
                    output: metrics_output(&text[..at], &found.points, drafts)?,
                    stages: found.points,
                    path,
                });
            }
            Ok(_) => {}
            Err(miss) => first_miss = Some(miss),
        }
    }
    Err(first_miss.unwrap_or_else(|| Mistake {
        message: format!("`{text}` names no metric: a metric is STAGE.TASK.METRIC"),
        help: Some(EXAMPLE.to_string()),
    }))
}

/// The only value output of type `metrics` that all these stages have.
fn metrics_output(name: &str, points: &[usize], drafts: &[Box<Draft>]) -> Result<String, Mistake> {
    let mut found = String::new();
    for draft in points.iter().map(|&at| &drafts[at]) {
        let Some(outputs) = draft.ports.as_ref().and_then(|ports| ports.outputs.as_ref()) else { continue };
        let mut metrics =
            outputs.iter().filter(|output| output.kind == PortType::Metrics && output.role == Role::Value);
        let Some(output) = metrics.next() else {
            let message = format!("the stage `{name}` has no metrics: it is of the kind `{}`", kind_name(draft));
            return Err(Mistake { message, help: None });
        };
        found.clone_from(&output.name);
    }
    Ok(found)
}

fn kind_name(draft: &Draft) -> &str {
    draft.kind.map_or("?", |kind| kind.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_is_found_beside_the_signs_of_names() {
        assert_eq!(split("a.b >= 0.5"), Some(("a.b", Comparison::GreaterOrEqual, "0.5")));
        assert_eq!(split("a.b<0.5"), Some(("a.b", Comparison::Less, "0.5")));
        assert_eq!(split("a@x=1.t.m == 2"), Some(("a@x=1.t.m", Comparison::Equal, "2")));
        assert_eq!(split("a@x=<1.t.m != b@x==2.t.m"), Some(("a@x=<1.t.m", Comparison::NotEqual, "b@x==2.t.m")));
        assert_eq!(split("a.b"), None);
    }

    #[test]
    fn comparisons_are_what_they_say() {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        let holding =
            |left, right| [Less, LessOrEqual, Equal, NotEqual, GreaterOrEqual, Greater].map(|op| op.holds(left, right));
        assert_eq!(holding(1.0, 2.0), [true, true, false, true, false, false]);
        assert_eq!(holding(2.0, 2.0), [false, true, true, false, true, false]);
        assert_eq!(holding(3.0, 2.0), [false, false, false, true, true, true]);
        assert_eq!(holding(f64::NAN, 2.0), [false, false, false, true, false, false]);
    }
}
