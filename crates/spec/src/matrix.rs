//! A stage with a `matrix` becomes one stage a point: the product of the axes in the order of the file, the
//! first axis slowest.
//!
//! An axis holds scalars, or tables with a `name` and the same fields, of which `${matrix.x.field}` reads one.

use std::collections::HashSet;

use serde_json::Value;

use crate::diagnostic::Report;
use crate::raw::{Data, Entry, Node, Table};

/// As many stages as there is memory for on an ordinary machine: 2 GB.
const MOST_POINTS: usize = 1_000_000;

/// One point: axis to value.
pub(crate) type Point = Table;

/// The points of a matrix; `None` when there is a mistake in it, which is in the report.
pub(crate) fn expand(matrix: &Entry, report: &mut Report) -> Option<Vec<Point>> {
    let axes = crate::keys::expect_table(matrix, report)?;
    if axes.len() == 0 {
        report.error(&matrix.origin, "this matrix has no axis").help("leave it out".to_string());
        return None;
    }
    let all_fine = axes.iter().filter(|axis| !check_axis(axis, report)).count() == 0;
    (all_fine && check_count(matrix, axes, report)).then(|| product(axes))
}

/// A few axes too many are more points than there is memory, which has to be said before it is taken.
fn check_count(matrix: &Entry, axes: &Table, report: &mut Report) -> bool {
    let lengths = axes.iter().map(|axis| if let Data::Array(values) = &axis.node.data { values.len() } else { 1 });
    let count = lengths.fold(1, usize::saturating_mul);
    if count > MOST_POINTS {
        let message = format!("this matrix has {count} points, and at most {MOST_POINTS} are possible");
        report.error(&matrix.origin, message).help("leave out axes or values".to_string());
    }
    count <= MOST_POINTS
}

fn product(axes: &Table) -> Vec<Point> {
    let mut points = vec![Table::default()];
    for axis in axes.iter() {
        let Data::Array(values) = &axis.node.data else { continue };
        points = points.iter().flat_map(|point| values.iter().map(|value| with(point, axis, value))).collect();
    }
    points
}

fn with(point: &Point, axis: &Entry, value: &Node) -> Point {
    let mut longer = point.clone();
    longer.insert(Entry { name: axis.name.clone(), origin: axis.origin.clone(), node: value.clone() });
    longer
}

fn check_axis(axis: &Entry, report: &mut Report) -> bool {
    if !axis.name.chars().all(is_plain) {
        report.error(&axis.origin, format!("`{}` cannot be the name of an axis", axis.name));
        return false;
    }
    match &axis.node.data {
        Data::Array(values) if values.is_empty() => {
            report.error(&axis.node.origin, format!("the axis `{}` has no values", axis.name));
            false
        }
        Data::Array(values) => {
            let fine = values.iter().filter(|value| check_value(axis, value, report)).count() == values.len();
            fine && check_twins(axis, values, report) && check_fields(axis, values, report)
        }
        Data::Broken => false,
        _ => {
            let message = format!("the axis `{}` must be an array, not {}", axis.name, axis.node.type_name());
            report.error(&axis.node.origin, message);
            false
        }
    }
}

fn check_value(axis: &Entry, value: &Node, report: &mut Report) -> bool {
    if value.broken() {
        return false;
    }
    let Some(text) = label(&value.to_value()) else {
        let message = format!("a value of the axis `{}` is a scalar, or a table with a `name`", axis.name);
        report.error(&value.origin, message);
        return false;
    };
    let fits = !text.is_empty() && text.chars().all(|c| is_plain(c) || c == '.' || c == '+');
    if !fits {
        let help = format!("use a table: `{{ name = \"…\", value = … }}`, and `${{matrix.{}.value}}`", axis.name);
        report.error(&value.origin, format!("`{text}` cannot be part of a stage's name")).help(help);
    }
    fits
}

fn check_twins(axis: &Entry, values: &[Node], report: &mut Report) -> bool {
    let mut labels = HashSet::new();
    let twin = values.iter().find(|value| !labels.insert(label(&value.to_value())));
    if let Some(twin) = twin {
        let text = label(&twin.to_value()).unwrap_or_default();
        report.error(&twin.origin, format!("the axis `{}` has `{text}` twice", axis.name));
    }
    twin.is_none()
}

/// All values of an axis have the same fields, so that `${matrix.x.field}` means something at every point.
fn check_fields(axis: &Entry, values: &[Node], report: &mut Report) -> bool {
    let fields = |value: &Node| {
        let mut names: Vec<String> = value.as_table().into_iter().flat_map(Table::names).map(str::to_string).collect();
        names.sort();
        names
    };
    let first = fields(&values[0]);
    let odd = values.iter().find(|value| fields(value) != first);
    if let Some(odd) = odd {
        let message = format!("the values of the axis `{}` have different fields", axis.name);
        let say = |fields: &[String]| if fields.is_empty() { "none".into() } else { fields.join(", ") };
        let help = format!("the first has {}; this one has {}", say(&first), say(&fields(odd)));
        report.error(&odd.origin, message).help(help);
    }
    odd.is_none()
}

/// What a value is called in the name of a point.
pub(crate) fn label(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Object(fields) => fields.get("name").filter(|name| !name.is_object()).and_then(label),
        Value::Array(_) | Value::Null => None,
    }
}

/// `group=1,seed=0`.
pub(crate) fn point_name(base: &str, point: &Point) -> String {
    let assign = |axis: &Entry| format!("{}={}", axis.name, label(&axis.node.to_value()).unwrap_or_default());
    let assignments: Vec<String> = point.iter().map(assign).collect();
    if assignments.is_empty() { base.into() } else { format!("{base}@{}", assignments.join(",")) }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}
