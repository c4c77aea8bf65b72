//! What was measured: the numbers of every `metrics.json`, with their intervals where they have some.
//!
//! Numbers are found by name: `acc` has an interval where `acc_low` and `acc_high` are beside it, and an error where
//! `acc_stderr` is (lm-eval writes `acc,none` and `acc_stderr,none`).

use std::collections::{BTreeMap, BTreeSet};

use gazal_engine::read_metrics;
use gazal_stage_api::PortType;
use serde_json::Value;

use super::facts::{Facts, Stage};
use super::html::{folded, section, some, table, text};
use crate::words;

/// Rows of a table, and tables, that can be looked at.
const ROWS: usize = 200;
const TABLES: usize = 40;
/// Points of one matrix that are compared.
const POINTS: usize = 50;
/// A longer table is opened when it is asked for.
const LONG: usize = 30;

/// Metric to task to number.
type Numbers = BTreeMap<String, BTreeMap<String, f64>>;

/// One stage's numbers, or those of the points of a matrix.
struct Group<'a> {
    name: &'a str,
    output: String,
    points: Vec<(&'a str, Numbers)>,
}

pub(crate) fn show(facts: &Facts) -> String {
    let groups = groups(facts);
    if groups.is_empty() {
        return section("metrics", "Metrics", "<p>No stage of this run measured anything.</p>\n");
    }
    let (shown, more) = some(&groups, TABLES);
    let mut body: String = shown.iter().map(render).collect();
    if more > 0 {
        body += &format!("<p class=\"soft\">Numbers of {more} more stages are in the store.</p>\n");
    }
    section("metrics", "Metrics", &body)
}

fn groups(facts: &Facts) -> Vec<Group<'_>> {
    let mut groups: Vec<Group> = Vec::new();
    for stage in &facts.stages {
        for (output, numbers) in measured(facts, stage) {
            match groups.iter_mut().find(|group| group.name == stage.base && group.output == output) {
                Some(group) if group.points.len() < POINTS => group.points.push((&stage.name, numbers)),
                Some(_) => {}
                None => groups.push(Group { name: &stage.base, output, points: vec![(&stage.name, numbers)] }),
            }
        }
    }
    groups
}

/// By the name of the output.
fn measured(facts: &Facts, stage: &Stage) -> Vec<(String, Numbers)> {
    let outputs = stage.receipt.iter().flat_map(|receipt| &receipt.outputs);
    let outputs = outputs.filter(|(_, output)| output.kind == PortType::Metrics.name());
    let read = |artifact| read_metrics(&facts.store, artifact).ok();
    outputs.filter_map(|(name, output)| Some((name.clone(), numbers(&read(&output.artifact)?)))).collect()
}

/// Tasks are the outer names, metrics the rest; a number outside of any task has the task of no name.
fn numbers(value: &Value) -> Numbers {
    let mut numbers = Numbers::new();
    for (task, inner) in value.as_object().into_iter().flatten() {
        match inner.as_f64() {
            Some(number) => drop(numbers.entry(task.clone()).or_default().insert(String::new(), number)),
            None => gather(inner, "", task, &mut numbers),
        }
    }
    numbers
}

fn gather(value: &Value, name: &str, task: &str, into: &mut Numbers) {
    if let Some(number) = value.as_f64() {
        into.entry(name.to_string()).or_default().insert(task.to_string(), number);
    }
    for (inner, value) in value.as_object().into_iter().flatten() {
        let name = if name.is_empty() { inner.clone() } else { format!("{name}.{inner}") };
        gather(value, &name, task, into);
    }
}

/// The name of a companion: `acc,none` with `_stderr` is `acc_stderr,none`.
fn beside(metric: &str, what: &str) -> String {
    let (name, filter) = metric.split_at(metric.find(',').unwrap_or(metric.len()));
    format!("{name}{what}{filter}")
}

/// Metrics that only say how sure another one is.
fn companions(numbers: &Numbers) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for metric in numbers.keys() {
        let [low, high, error] = ["_low", "_high", "_stderr"].map(|what| beside(metric, what));
        if numbers.contains_key(&low) && numbers.contains_key(&high) {
            found.extend([low, high]);
        }
        found.extend(numbers.contains_key(&error).then_some(error));
    }
    found
}

/// `0.853` with `[0.801, 0.902]` or `± 0.021` below it.
fn cell(metric: &str, task: &str, numbers: &Numbers) -> String {
    let find = |metric: &str| numbers.get(metric).and_then(|tasks| tasks.get(task)).copied();
    let Some(value) = find(metric) else { return "–".into() };
    let sure = match (find(&beside(metric, "_low")), find(&beside(metric, "_high")), find(&beside(metric, "_stderr"))) {
        (Some(low), Some(high), _) => format!("<small>[{}, {}]</small>", words::number(low), words::number(high)),
        (_, _, Some(error)) => format!("<small>± {}</small>", words::number(error)),
        _ => String::new(),
    };
    format!("<b>{}</b>{sure}", words::number(value))
}

fn render(group: &Group) -> String {
    let tasks = group.points.iter().flat_map(|(_, numbers)| numbers.values().flat_map(BTreeMap::keys));
    let tasks: Vec<&String> = tasks.collect::<BTreeSet<_>>().into_iter().collect();
    let several = group.points.len() > 1;
    let mut head = vec!["Metric".to_string()];
    head.extend(several.then(|| "Point".to_string()));
    head.extend(tasks.iter().map(|task| if task.is_empty() { "Value".to_string() } else { text(task) }));
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let rows = rows(group, &tasks);
    let (shown, more) = some(&rows, ROWS);
    let more = if more > 0 { format!("<p class=\"soft\">And {more} more rows.</p>\n") } else { String::new() };
    let title = format!("<code>{}.{}</code>", text(group.name), text(&group.output));
    let class = if several { "numbers several" } else { "numbers" };
    folded(&title, &(table(class, &head, shown) + &more), rows.len() <= LONG)
}

/// Metric by metric the points of the matrix.
fn rows(group: &Group, tasks: &[&String]) -> Vec<String> {
    let hidden: Vec<BTreeSet<String>> = group.points.iter().map(|(_, numbers)| companions(numbers)).collect();
    let shown = group
        .points
        .iter()
        .zip(&hidden)
        .flat_map(|((_, numbers), hidden)| numbers.keys().filter(|metric| !hidden.contains(*metric)));
    let mut rows = Vec::new();
    for metric in shown.collect::<BTreeSet<_>>() {
        for (index, (point, numbers)) in group.points.iter().enumerate() {
            let (class, name) = if index == 0 { ("first", text(metric)) } else { ("", String::new()) };
            let point = format!("<th scope=\"row\">{}</th>", text(short_name(point)));
            let point = if group.points.len() > 1 { point } else { String::new() };
            let cells: String = tasks.iter().map(|task| format!("<td>{}</td>", cell(metric, task, numbers))).collect();
            rows.push(format!("<tr class=\"{class}\"><th scope=\"row\">{name}</th>{point}{cells}</tr>"));
        }
    }
    rows
}

/// `model=base` of `eval@model=base`.
fn short_name(point: &str) -> &str {
    point.split_once('@').map_or(point, |(_, values)| values)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn intervals_and_errors_stand_with_their_number() {
        let numbers = numbers(&json!({
            "qa": {"acc": 0.5, "acc_low": 0.4, "acc_high": 0.6, "f1,none": 0.25, "f1_stderr,none": 0.01, "acc_low_limit": 7, "high": 1},
            "loss": 2.0,
        }));
        let hidden: Vec<String> = companions(&numbers).into_iter().collect();
        assert_eq!(hidden, ["acc_high", "acc_low", "f1_stderr,none"]);
        assert_eq!(cell("acc", "qa", &numbers), "<b>0.500</b><small>[0.400, 0.600]</small>");
        assert_eq!(cell("f1,none", "qa", &numbers), "<b>0.250</b><small>± 0.010</small>");
        assert_eq!((cell("loss", "", &numbers), cell("loss", "qa", &numbers)), ("<b>2.000</b>".into(), "–".into()));
    }

    #[test]
    fn a_low_without_a_high_is_a_number_of_its_own() {
        let numbers = numbers(&json!({"qa": {"acc": 0.5, "acc_low": 0.4}}));
        assert!(companions(&numbers).is_empty());
    }
}
